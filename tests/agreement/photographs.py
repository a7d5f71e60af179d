"""The photographs that OpenFace fitted, with the model and the settings it was given."""

from __future__ import annotations

from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from clnf_torch import PRESETS, FitConfig, FitResult, LandmarkDetector
from clnf_torch.models.patch_experts.cen import CENExperts
from tests.agreement.golden import Golden, traces


class Fit(NamedTuple):
    """One fit of OpenFace."""

    file: str  # golden file
    model: str
    image: str
    preset: str
    multi_view: bool


FREE = [
    Fit("fit", "free", "image", "default", False),
    Fit("fit_weighted", "free", "image", "default", False),  # with weights from confidences and ten iterations
]
FRONTAL = [
    Fit(f"fit_cen_derived_{kind}_{image}", "standin", image, "default", False)
    for kind, images in {
        "plain": ("lenna", "obama"),
        "default": ("astronaut", "biden", "breakingbad", "lenna", "obama", "obama2", "takeo"),
    }.items()
    for image in images
]
MULTI_VIEW = [
    Fit(f"fit_cen_derived_multiview_{image}", "standin", image, "default", True) for image in ("breakingbad", "lenna")
]
WILD = Fit("fit_cen_derived_wild_obama2", "standin", "obama2", "wild", True)
CHAOTIC = Fit("fit_cen_derived_wild_breakingbad", "standin", "breakingbad", "wild", True)  # see test_chaos.py

EVERY = [*FREE, *FRONTAL, *MULTI_VIEW, WILD, CHAOTIC]
MAPPED = [FREE[0], *(fit for fit in FRONTAL if "plain" in fit.file)]  # their response maps are stored


def each(fits: list[Fit]) -> pytest.MarkDecorator:
    """Runs a test for each of these fits."""
    return pytest.mark.parametrize("fit", fits, ids=[fit.file for fit in fits])


def config_of(golden: Golden) -> FitConfig:
    """The settings that OpenFace ran with, adapted to CE-CLM already."""
    params = golden.below("params")
    return FitConfig(
        window_sizes=tuple(int(window) for window in params.numbers("window_sizes_init")),
        iterations=int(params.number("n_iter")),
        sigma=params.number("sigma"),
        regularisation=params.number("reg_factor"),
        weight_factor=params.number("weight_factor"),
        adapt=bool(params.number("refine_parameters")),
        multi_view=bool(params.number("multi_view")),
    )


def preset_of(fit: Fit) -> FitConfig:
    """Our settings of that name for CE-CLM."""
    return PRESETS[fit.preset].for_family(CENExperts)


def winner(golden: Golden) -> Golden:
    """What OpenFace wrote down of the hypothesis it kept, at the end of its fit, before parts and validation."""
    kept = f"hyp{int(golden.number('chosen_hypothesis'))}"
    *_, last = golden.groups(rf"{kept}/(?:rest/)?main(?=/landmarks_after_fit)")
    return last


def last_view(golden: Golden) -> int:
    """The view of the kept hypothesis at its last scale."""
    kept = winner(golden).prefix
    return int([trace for trace in traces(golden) if trace.prefix.startswith(kept)][-1].number("view_id"))


def run(detector: LandmarkDetector, golden: Golden, image: Tensor) -> FitResult:
    """Our fit of the whole face alone from OpenFace's box with OpenFace's settings."""
    config = config_of(golden)
    with torch.inference_mode():
        return detector.fit(image, golden["bbox"], preset=config, parts=False, validate=False)


def distances(ours: Tensor, theirs: Tensor) -> Tensor:
    """Distance of each landmark, pixels, shape (..., N)."""
    return (ours.double() - theirs.double()).norm(dim=-1)
