"""How well confidence tells fits that succeeded from fits that failed."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from clnf_torch.detection.validator import build_validator, is_face
from clnf_torch.models.landmark_model import LandmarkModel
from clnf_torch.pipeline import LandmarkDetector
from clnf_torch.training.data.crops import FaceCrops
from clnf_torch.training.metrics import FAILED, face_errors
from clnf_torch.training.validator_samples import STARTS, fit_from, half_faces


@dataclass(frozen=True, kw_only=True)
class ValidatorScores:
    """The verdicts on many fits in a few numbers; NaN where they cannot be told."""

    fits: int
    failed: float  # share of the fits whose error is not below the limit
    area: float  # under the ROC curve: how often a good fit is more certain than a failed one, ties counted half
    accuracy: float  # share of the fits with the right verdict
    true_positive_rate: float  # share of the good fits that are taken for faces
    false_positive_rate: float  # share of the failed ones


def validator_scores(confidence: Tensor, errors: Tensor, limit: float = FAILED) -> ValidatorScores:
    """How well confidences (B,) separate errors (B,) below a limit from the others, at the runtime's boundary."""
    good, passed = errors < limit, is_face(confidence)
    return ValidatorScores(
        fits=len(errors),
        failed=_share(~good),
        area=roc_auc(confidence, good),
        accuracy=_share(passed == good),
        true_positive_rate=_share(passed[good]),
        false_positive_rate=_share(passed[~good]),
    )


def roc_auc(confidence: Tensor, good: Tensor) -> float:
    """How often one of the good is more certain than one of the others, ties counted half; NaN where there are none."""
    levels, level = confidence.unique(return_inverse=True)
    of_good = level[good].bincount(minlength=len(levels)).double()
    of_others = level[~good].bincount(minlength=len(levels)).double()
    less_certain = of_others.cumsum(0) - of_others / 2
    return float((of_good * less_certain).sum() / (of_good.sum() * of_others.sum()))


def evaluate_validator(
    model: LandmarkModel,
    record: Mapping[str, Any],
    faces: FaceCrops,
    seed: int = 1,
    limit: float = FAILED,
    report: Callable[[str, ValidatorScores], None] = lambda *_: None,
) -> dict[str, ValidatorScores]:
    """How well a validator judges the fits of a model on faces that neither was trained on.

    Args:
        model: The model.
        record: The validator of a bundle.
        faces: Annotated faces.
        seed: Decides where the fits start.
        limit: The error from which on a fit has failed.
        report: Told about each kind of start as soon as it is judged.

    Returns:
        By kind of start, and for ``"all"`` together.
    """
    detector, generator = LandmarkDetector(model, "exact", build_validator(record)), torch.Generator().manual_seed(seed)
    judged, confidences, errors = {}, [], []
    for name, begin in {**STARTS, "half faces": half_faces}.items():
        landmarks, confidence = fit_from(detector, faces, begin, generator)
        confidences.append(confidence)
        errors.append(face_errors(landmarks, faces.landmarks))
        judged[name] = validator_scores(confidence, errors[-1], limit)
        report(name, judged[name])
    judged["all"] = validator_scores(torch.cat(confidences), torch.cat(errors), limit)
    report("all", judged["all"])
    return judged


def _share(which: Tensor) -> float:
    """Share of the true ones among bools (B,); NaN of none."""
    return float(which.double().mean())
