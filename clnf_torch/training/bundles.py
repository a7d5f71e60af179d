"""What was trained here, as a bundle that `clnf_torch.load` reads."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import torch

from clnf_torch.models.archive import save_archive
from clnf_torch.models.bundle import bundle_of
from clnf_torch.models.landmark_model import LandmarkModel
from clnf_torch.models.patch_experts.base import Experts
from clnf_torch.models.patch_experts.heatmap import HeatmapExperts
from clnf_torch.models.pdm import PDM

RESEARCH_USE = (
    "For research use only: the model was trained on annotated photographs whose terms allow research alone. "
    "It holds none of them."
)


def save_bundle(
    path: Path,
    model: LandmarkModel,
    writer: str,
    sources: Sequence[Mapping[str, Any]],
    licence: str = RESEARCH_USE,
    validator: Mapping[str, Any] | None = None,
    face_detector: Mapping[str, Any] | None = None,
) -> None:
    """Writes a bundle of heatmap experts, their weights in float16; the file has its name only once it is complete.

    Args:
        path: Where to.
        model: The model.
        writer: The program, and its version.
        sources: What it was made from: records with a ``name``.
        licence: The terms of its use.
        validator: The record of a validator; see converters/README.md.
        face_detector: The record of a face detector.
    """
    bundle = bundle_of(
        model_record(model),
        writer=writer,
        licence=licence,
        numerics="exact",
        sources=sources,
        validator=validator,
        face_detector=face_detector,
    )
    save_archive(bundle, path)


def model_record(model: LandmarkModel) -> dict[str, Any]:
    """A model of heatmap experts as a bundle's ``model``; experts that are asked twice are written once."""
    scales = [model.experts_at(index) for index in range(model.num_scales)]
    first = [next(k for k, earlier in enumerate(scales) if earlier is experts) for experts in scales]
    rules = model.early_termination
    return {
        "pdm": pdm_record(model.pdm),
        "triangulations": list(model.triangulations),
        "early_termination": None if rules is None else {name: value.double() for name, value in vars(rules).items()},
        "experts": [
            _experts_record(experts) if number == index else {"family": "repeat", "of": number}
            for index, (experts, number) in enumerate(zip(scales, first, strict=True))
        ],
        "parts": [],
    }


def pdm_record(pdm: PDM) -> dict[str, torch.Tensor]:
    """A shape model as a bundle's ``pdm``."""
    return {name: getattr(pdm, name).detach().double() for name in ("mean", "modes", "variances")}


def _experts_record(experts: Experts) -> dict[str, Any]:
    """The record of a scale."""
    joint = cast(HeatmapExperts, experts)
    network = joint.network
    return {
        "family": "joint",
        "scale": joint.scale,
        "view_centers": joint.view_centers.double(),
        "visible": joint.visible,
        "confidence": joint.confidence.double(),
        "width": joint.width,
        "widths": list(cast(tuple[int, ...], network.widths)),
        "network": {name: value.detach().half() for name, value in network.state_dict().items()},
    }
