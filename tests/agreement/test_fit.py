"""Whole fits against OpenFace's: settings, starts, each scale from OpenFace's own state, from image to landmarks."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace

import pytest
import torch

from clnf_torch import OPENFACE, FitConfig, LandmarkModel, ShapeParams
from clnf_torch.fitting.fitter import FitState, LandmarkFitter
from clnf_torch.fitting.hypotheses import MULTI_VIEW as ROTATIONS
from clnf_torch.fitting.images import ImageBatch
from clnf_torch.fitting.initialise import params_from_box
from clnf_torch.geometry.records import join_rows
from tests.agreement.golden import scale_index, traces
from tests.agreement.measure import Agreement
from tests.agreement.photographs import (
    CHAOTIC,
    FREE,
    FRONTAL,
    MULTI_VIEW,
    WILD,
    config_of,
    distances,
    each,
    last_view,
    preset_of,
    run,
    winner,
)  # fmt: skip

FITS = [*FREE, *FRONTAL, *MULTI_VIEW, WILD]
# Pixels. Images are read on a lattice and kernels centred on a grid, so the last bit of a float32 moves landmarks:
# two builds of OpenFace differ by up to 0.3 px with these experts, by 0.6 px with the wild preset. We were up to 0.3 px
# from OpenFace (mean 0.045); another processor's rounding may lead elsewhere, but no further than:
MEAN, LARGEST = 0.1, 0.6


@each([*FRONTAL, *MULTI_VIEW, WILD, CHAOTIC])
def test_presets_are_openfaces(fit, golden):
    theirs, ours = config_of(golden(fit.file)), preset_of(fit)
    assert theirs.sigma == pytest.approx(ours.sigma) and theirs.regularisation == pytest.approx(ours.regularisation)
    same = replace(ours, sigma=theirs.sigma, regularisation=theirs.regularisation, multi_view=fit.multi_view)
    assert theirs == same


@each([*FITS, CHAOTIC])
def test_starts(fit, golden, detector, agree: Agreement):
    values = golden(fit.file)
    starts = list(values.groups(r"hyp\d+(?:/first)?(?=/init_global)"))
    pdm = detector(fit.model).model.pdm
    rotations = torch.tensor(ROTATIONS[: len(starts)])
    ours = params_from_box(pdm, values["bbox"].expand(len(starts), -1), rotations)
    theirs = torch.cat([start["init_global"] for start in starts])
    agree.params("start from the box", ours, ShapeParams.from_globals(theirs, ours.local), within=2e-6)


@each(FITS)
def test_each_scale_from_openfaces_state(fit, golden, detector, read_image, agree: Agreement):
    values, model = golden(fit.file), detector(fit.model).model
    found = defaultdict(list)
    for trace in traces(values):
        found[scale_index(trace)].append(trace)
    for scale, scale_traces in found.items():
        start = join_rows(*(trace.params("global_in", "local_in") for trace in scale_traces))
        end = join_rows(*(trace.params("global_nonrigid", "local_nonrigid") for trace in scale_traces))
        ours = fit_scale(model, config_of(values), scale, read_image(fit.image), start)
        assert ours.view.tolist() == [int(trace.number("view_id")) for trace in scale_traces]
        apart = distances(model.pdm.landmarks(ours.params), model.pdm.landmarks(end))
        agree.holds("one scale: mean distance, px", apart.mean(-1).max().item(), within=MEAN)
        agree.holds("one scale: largest distance, px", apart.max().item(), within=LARGEST)


def fit_scale(model: LandmarkModel, config: FitConfig, scale: int, image, start: ShapeParams) -> FitState:
    """One scale alone for faces in the same image."""
    windows = tuple(window if index == scale else 0 for index, window in enumerate(config.window_sizes))
    fitter = LandmarkFitter(model, replace(config, window_sizes=windows), OPENFACE)
    images = ImageBatch(image, torch.zeros(len(start), dtype=torch.int64))
    return fitter.fit(images, FitState.at(start, model.pdm.num_landmarks))


@each(FITS)
def test_from_image_to_landmarks(fit, golden, detector, read_image, agree: Agreement):
    values = golden(fit.file)
    result, kept = run(detector(fit.model), values, read_image(fit.image)), winner(values)
    apart = distances(result.landmarks, kept.points("landmarks_after_fit"))
    agree.holds(f"whole fit: mean distance, px ({fit.preset})", apart.mean().item(), within=MEAN)
    agree.holds(f"whole fit: largest distance, px ({fit.preset})", apart.max().item(), within=LARGEST)
    assert result.view.item() == last_view(values)
    assert result.hypothesis.item() == values.number("chosen_hypothesis")
    assert result.success.item() == kept.number("fit_success")
    agree.absolute("whole fit: likelihood", result.likelihood, values["model_likelihood"], within=0.02)
