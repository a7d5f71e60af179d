"""Evaluation on annotated faces: landmarks that a detector finds, and verdicts of a validator on fits."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from clnf_torch.detection.validator import DetectionValidator, is_face
from clnf_torch.fitting.config import FitConfig
from clnf_torch.geometry.gray import to_gray
from clnf_torch.geometry.landmarks68 import NUM_LANDMARKS
from clnf_torch.models.landmark_model import LandmarkModel
from clnf_torch.pipeline import LandmarkDetector
from clnf_torch.training.augmentation.pen_marks import draw_pen_marks
from clnf_torch.training.data.crops import FaceCrops
from clnf_torch.training.data.trial_fits import STARTS, fit_from, half_occluded_faces
from clnf_torch.training.evaluation.metrics import FAILED, face_errors, roc_auc

Reader = Callable[[int], Tensor]
"""Reads the image of a face by its row: RGB, uint8, shape (3, H, W)."""


@dataclass(frozen=True, kw_only=True)
class FoundFaces:
    """Landmarks that a detector finds, one face per row."""

    landmarks: Tensor  # (F, 68, 2) float32 pixels (x, y) on the CPU; NaN where there was no box
    success: Tensor  # (F,) bool: whether the detector itself takes it for a face


def find_landmarks(
    detector: LandmarkDetector,
    read: Reader,
    boxes: Tensor,
    *,
    batch: int = 16,
    preset: str | FitConfig = "default",
    multi_view: bool | None = None,
    done: Callable[[int], None] | None = None,
) -> FoundFaces:
    """Fits one face in each image, several images together.

    Args:
        detector: Of 68 landmarks.
        read: Gives the images.
        boxes: x, y, width, height in pixels, shape (F, 4); a row with NaN stands for a face without a box.
        batch: Images that are worked on together.
        preset: As for `LandmarkDetector.fit`.
        multi_view: As for `LandmarkDetector.fit`.
        done: Told after each batch how many more are done.

    Returns:
        F rows.
    """
    landmarks, success = [torch.zeros(0, NUM_LANDMARKS, 2)], [torch.zeros(0, dtype=torch.bool)]
    for first in range(0, len(boxes), batch):
        some = boxes[first : first + batch]
        frames = stack_padded([to_gray(read(first + row)[None])[0] for row in range(len(some))])[:, None]
        with torch.inference_mode():
            result = detector.fit(frames, some, torch.arange(len(some)), preset=preset, multi_view=multi_view)
        landmarks.append(result.landmarks.float().cpu())
        success.append(result.success.cpu())
        if done:
            done(len(some))
    return FoundFaces(landmarks=torch.cat(landmarks), success=torch.cat(success))


def stack_padded(images: Sequence[Tensor]) -> Tensor:
    """Images (H, W) of several sizes as one tensor, black to the right of and below the smaller ones.

    No fit changes by this: what lies outside an image counts as black anyway.
    """
    height, width = (max(image.shape[axis] for image in images) for axis in range(2))
    return torch.stack([F.pad(one, (0, width - one.shape[1], 0, height - one.shape[0])) for one in images])


def with_pen_marks(read: Reader, landmarks: Tensor, seed: int) -> Reader:
    """The same images with pen marks on the faces.

    Args:
        read: Gives the images.
        landmarks: Of the faces, pixels, shape (F, 68, 2).
        seed: With the row it decides what is drawn, so a face is marked alike in every run.
    """

    def read_marked(row: int) -> Tensor:
        generator = torch.Generator().manual_seed(seed * 1_000_003 + row)
        return draw_pen_marks(read(row)[None], landmarks[row][None], generator)[0]

    return read_marked


@dataclass(frozen=True, kw_only=True)
class ValidatorScores:
    """How well a validator separates good fits from failures; NaN where it cannot be told."""

    fits: int
    failure_rate: float  # share of the fits whose error is not below the limit
    roc_auc: float  # see `roc_auc`
    accuracy: float  # share of the fits that are classified correctly
    true_positive_rate: float  # share of the good fits that are accepted as faces
    false_positive_rate: float  # share of the failed ones


def validator_scores(confidence: Tensor, errors: Tensor, limit: float = FAILED) -> ValidatorScores:
    """How well confidences (B,) separate errors (B,) below a limit from the others, at the runtime's threshold."""
    good, passed = errors < limit, is_face(confidence)
    return ValidatorScores(
        fits=len(errors),
        failure_rate=_share(~good),
        roc_auc=roc_auc(confidence, good),
        accuracy=_share(passed == good),
        true_positive_rate=_share(passed[good]),
        false_positive_rate=_share(passed[~good]),
    )


def evaluate_validator(
    model: LandmarkModel,
    record: Mapping[str, Any],
    faces: FaceCrops,
    seed: int = 1,
    limit: float = FAILED,
    report: Callable[[str, ValidatorScores], None] = lambda *_: None,
) -> dict[str, ValidatorScores]:
    """Evaluates a validator on fits of a model, on faces that neither was trained on.

    Args:
        model: The model, on the device that judges.
        record: The validator of a bundle.
        faces: Annotated faces.
        seed: Of the random starts.
        limit: The error (NME) from which on a fit has failed.
        report: Told about each kind of start.

    Returns:
        By kind of start, and for ``"all"`` together.
    """
    validator = DetectionValidator.from_record(record).to(model.pdm.mean.device)
    detector = LandmarkDetector(model, "exact", validator)
    generator = torch.Generator().manual_seed(seed)
    judged, confidences, errors = {}, [], []
    for name, begin in {**STARTS, "half faces": half_occluded_faces}.items():
        landmarks, confidence = fit_from(detector, faces, begin, generator)
        confidences.append(confidence)
        errors.append(face_errors(landmarks, faces.landmarks.to(landmarks.device)))
        judged[name] = validator_scores(confidence, errors[-1], limit)
        report(name, judged[name])
    judged["all"] = validator_scores(torch.cat(confidences), torch.cat(errors), limit)
    report("all", judged["all"])
    return judged


def _share(which: Tensor) -> float:
    """Share of the true ones among bools (B,); NaN of none."""
    return float(which.double().mean())
