"""`clnf_torch.fitting.fitter`: the scales of a fit, against one face and one scale after the other."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from types import SimpleNamespace

import pytest
import torch

from clnf_torch.fitting.config import FitConfig
from clnf_torch.fitting.fitter import FitState, LandmarkFitter, _rows_together
from clnf_torch.fitting.images import ImageBatch
from clnf_torch.fitting.initialise import params_from_box
from clnf_torch.fitting.mean_shift import UNSEEN
from clnf_torch.fitting.responses import ResponseField
from clnf_torch.geometry.similarity import invert_similarity, similarity_between
from clnf_torch.models.landmark_model import LandmarkModel
from clnf_torch.models.numerics import EXACT, OPENFACE, Numerics
from clnf_torch.models.pdm import ShapeParams
from tests.factories import CONFIG, N, V, make_boxes, make_experts, make_images, make_model, make_pdm
from tests.fitting.test_nu_rlms import naive_nu_rlms, same


@dataclass(frozen=True)
class NaiveFit:
    """What `CLNF::Fit` leaves behind for one face."""

    params: ShapeParams
    success: bool
    likelihood: float
    landmark_likelihoods: torch.Tensor
    view: int


def naive_fit(
    model: LandmarkModel, image: torch.Tensor, params: ShapeParams, config: FitConfig, numerics: Numerics
) -> NaiveFit:
    """One face, scale after scale, as section 6 of OpenFace's description has it."""
    scales = [experts.scale for experts in model.experts]
    likelihood, lhoods, view = -math.inf, torch.full((N,), UNSEEN, dtype=torch.float64), 0
    for k, experts in enumerate(model.experts):
        window = config.window_sizes[k]
        if not window:
            continue
        finer = math.log2(scales[min(k, 2)] / 0.25)
        settings = replace(
            config.at_scale(k, tuple(scales)),
            sigma=config.sigma + 0.25 * finer,
            regularisation=config.regularisation - 15 * finer if config.regularisation - 15 * finer > 0 else 0.001,
        )
        view = min(
            range(V), key=lambda v, e=experts, p=params: (p.rotation[0] - e.view_centers[v]).square().sum().item()
        )
        base = model.pdm.landmarks(params)
        to_reference = similarity_between(base, model.pdm.reference_landmarks(params.local, experts.scale))
        to_image = invert_similarity(to_reference)
        images = ImageBatch(image[None], torch.zeros(1, dtype=torch.int64))
        areas = images.cut_areas(base, to_image, window + experts.support - 1, numerics.sample_on_32nds)
        responses, visible = experts.respond(areas, view, numerics), experts.visible[view]
        factor = config.weight_factor * (1 + 2 * finer)
        weight = visible * (factor * experts.confidence[view] if config.weight_factor else 1.0)
        field = ResponseField(
            responses=responses, base=base, to_reference=to_reference, to_image=to_image, weight=weight[None].double()
        )
        params, _, _ = naive_nu_rlms(model.pdm, params, field, settings, True, numerics.kernel_step)
        small = params.scale.item() < 0.30
        params, offsets, _ = naive_nu_rlms(model.pdm, params, field, settings, False, numerics.kernel_step)
        if k + 1 == len(scales) or config.window_sizes[k + 1] == 0 or small:
            lhoods = torch.full((N,), UNSEEN, dtype=torch.float64)
            cells = torch.arange(window, dtype=torch.float64)
            for n in visible.nonzero().flatten().tolist():
                squared = (offsets[n, 1] - cells)[:, None].square() + (offsets[n, 0] - cells).square()
                lhoods[n] = (responses[0, n] * (-0.5 * squared / settings.sigma**2).exp()).sum()
            likelihood = (lhoods[visible] + 1e-8).log().mean().item()
        if params.scale.item() < 0.25:
            return NaiveFit(params, False, likelihood, lhoods, view)
    return NaiveFit(params, True, likelihood, lhoods, view)


def start_at(boxes: torch.Tensor, yaws: torch.Tensor | None = None) -> ShapeParams:
    """Faces in boxes, turned sideways."""
    rotation = torch.zeros(boxes.shape[0], 3, dtype=torch.float64)
    rotation[:, 1] = torch.linspace(-0.8, 0.8, boxes.shape[0], dtype=torch.float64) if yaws is None else yaws
    return params_from_box(make_pdm(), boxes, rotation)


def fit(model, images, image_index, start, config=CONFIG, numerics=EXACT, known=None) -> FitState:
    fitter = LandmarkFitter(model, config, numerics)
    return fitter.fit(ImageBatch(images, image_index), FitState.at(start, N, **(known or {})))


CONFIGS = {
    "default": CONFIG,
    "weighted": replace(CONFIG, weight_factor=2.5),
    "first scale": replace(CONFIG, window_sizes=(5, 0)),
    "second scale": replace(CONFIG, window_sizes=(0, 5)),
    "one cell": replace(CONFIG, window_sizes=(3, 1)),
}


@pytest.mark.parametrize("numerics", [OPENFACE, EXACT], ids=lambda numerics: numerics.name)
@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_faces_one_at_a_time(numerics, config):
    model, images, start = make_model(), make_images(2), start_at(make_boxes(7))
    image_index = torch.tensor([0, 1, 1, 0, 1, 0, 0])
    state = fit(model, images, image_index, start, config, numerics)
    for i in range(7):
        expected = naive_fit(model, images[image_index[i]], start[i : i + 1], config, numerics)
        same(state.params[i : i + 1], expected.params, atol=1e-7, rtol=1e-6)
        assert state.active[i].item() == expected.success and state.view[i].item() == expected.view
        assert state.likelihood[i].item() == pytest.approx(expected.likelihood, abs=1e-6)
        torch.testing.assert_close(state.landmark_likelihoods[i], expected.landmark_likelihoods, atol=1e-7, rtol=1e-6)
    assert len(state.view.unique()) == V  # all views took part


def test_small_faces_fail_at_the_scale_where_they_are_too_small():
    """Faces from 0.2 to 0.5 pixels per millimetre: too small, small enough to be judged early, and large enough."""
    model, image = make_model(), make_images()
    sizes = torch.linspace(13, 32, 20, dtype=torch.float64)
    boxes = torch.stack((30 + 0 * sizes, 25 + 0 * sizes, sizes, sizes), -1)
    start = start_at(boxes, torch.zeros(20, dtype=torch.float64))
    state = fit(model, image, torch.zeros(20).long(), start)
    successes = set()
    for i in range(20):
        expected = naive_fit(model, image[0], start[i : i + 1], CONFIG, EXACT)
        successes.add(expected.success)
        same(state.params[i : i + 1], expected.params, atol=1e-7, rtol=1e-6)
        assert state.active[i].item() == expected.success
        assert state.likelihood[i].item() == pytest.approx(expected.likelihood, abs=1e-6)
    assert successes == {True, False}


def test_a_face_that_failed_keeps_how_far_it_came():
    model, image = make_model(), make_images()
    boxes = torch.tensor([[30.0, 25.0, 12.0, 12.0]], dtype=torch.float64)
    start = start_at(boxes, torch.zeros(1, dtype=torch.float64))
    whole = fit(model, image, torch.zeros(1).long(), start)
    first = fit(model, image, torch.zeros(1).long(), start, replace(CONFIG, window_sizes=(5, 0)))
    assert not whole.active.any()
    same(whole.params, first.params)
    torch.testing.assert_close(whole.likelihood, first.likelihood)


def test_the_first_scale_and_the_rest_make_the_whole():
    model, images, start = make_model(), make_images(), start_at(make_boxes(5))
    fitter, image_index = LandmarkFitter(model, CONFIG, OPENFACE), torch.zeros(5, dtype=torch.int64)
    whole = fitter.fit(ImageBatch(images, image_index), FitState.at(start, N))
    first = fitter.first_scale().fit(ImageBatch(images, image_index), FitState.at(start, N))
    assert first.likelihood.isfinite().all()
    found = fitter.after_first_scale().fit(ImageBatch(images, image_index), first)
    same(found.params, whole.params)
    torch.testing.assert_close(found.likelihood, whole.likelihood)


def test_one_scale_alone_has_no_rest():
    model = make_model()
    assert LandmarkFitter(model, replace(CONFIG, window_sizes=(0, 3)), EXACT).after_first_scale() is None


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_images_that_are_no_numbers_fail_their_own_faces_alone(value):
    model, images, start = make_model(), make_images(2), start_at(make_boxes(4))
    image_index = torch.tensor([0, 1, 0, 1])
    expected = fit(model, images, image_index, start)
    images[1] = value
    state = fit(model, images, image_index, start)
    assert state.active.tolist() == [True, False, True, False]
    same(state.params[::2], expected.params[::2])
    same(state.params[1::2], start[1::2])
    assert (state.likelihood[1::2] == -math.inf).all() and (state.landmark_likelihoods[1::2] == UNSEEN).all()


def test_starts_that_are_no_numbers_spare_the_others():
    model, images, start = make_model(), make_images(), start_at(make_boxes(4))
    image_index = torch.zeros(4, dtype=torch.int64)
    expected = fit(model, images, image_index, start)
    start.rotation[1], start.local[2] = math.nan, math.inf
    state = fit(model, images, image_index, start)
    assert state.active.tolist() == [True, False, False, True]
    same(state.params[::3], expected.params[::3])
    assert state.params.rotation[1].isnan().all()


def test_what_is_known_beforehand_belongs_to_its_rows():
    known = {
        "landmark_weight": torch.arange(15.0).reshape(3, 5),
        "hidden": ~torch.eye(3, 5).bool(),
        "regularisation": torch.arange(3.0),
    }
    start = start_at(make_boxes(3))
    rows = FitState.at(start, N, **known)[torch.tensor([2, 0, 2])]
    assert rows.landmark_weight[:, 0].tolist() == [10, 0, 10] and rows.regularisation.tolist() == [2, 0, 2]
    assert rows.hidden[0].tolist() == [True, True, False, True, True]
    assert FitState.at(start, N)[:1].hidden is None


def test_hidden_landmarks_do_not_matter():
    """Hiding a landmark is the same as experts that cannot see it."""
    model, images, start = make_model(), make_images(), start_at(make_boxes(3), torch.zeros(3, dtype=torch.float64))
    visible = torch.ones(3, N, dtype=torch.bool)
    visible[:, 4] = False
    state = fit(model, images, torch.zeros(3).long(), start, known={"hidden": ~visible})
    for experts in model.experts:
        experts.visible[:, 4] = False
    expected = fit(model, images, torch.zeros(3).long(), start)
    same(state.params, expected.params)
    torch.testing.assert_close(state.likelihood, expected.likelihood)
    assert (state.landmark_likelihoods[:, 4] == UNSEEN).all() and not state.visible[:, 4].any()


@pytest.mark.parametrize("windows", [(5,), (0, 0, 5)])
def test_windows_that_do_not_suit_the_model_are_refused(windows):
    with pytest.raises(ValueError, match="do not suit a model of 2 scales; give one window per scale"):
        LandmarkFitter(make_model(), replace(CONFIG, window_sizes=windows), EXACT)


def test_more_windows_than_scales_are_left_over():
    model, images, start = make_model(), make_images(), start_at(make_boxes(2))
    expected = fit(model, images, torch.zeros(2).long(), start)
    more = fit(model, images, torch.zeros(2).long(), start, replace(CONFIG, window_sizes=(5, 3, 11)))
    same(more.params, expected.params)
    torch.testing.assert_close(more.likelihood, expected.likelihood)


def test_a_model_of_one_scale():
    model = LandmarkModel(make_pdm(), [make_experts()])
    state = fit(model, make_images(), torch.zeros(2).long(), start_at(make_boxes(2)), FitConfig(window_sizes=(5,)))
    assert state.likelihood.isfinite().all()


@pytest.mark.parametrize(("free", "kept", "used", "rows"), [(8, 2, 1, 1152), (0, 3, 1, 256), (0, 1, 1, 32)])
def test_a_card_fits_as_many_rows_together_as_its_free_memory_holds(monkeypatch, free, kept, used, rows):
    """Gigabytes that the driver has, that torch has of it, and that are in use; a row takes 4 MiB of half of them."""
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: False)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free << 30, 80 << 30))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: kept << 30)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: used << 30)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(total_memory=80 << 30))
    assert _rows_together(torch.device("cuda", 1)) == rows


def test_captures_ask_no_driver_for_free_memory(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(total_memory=8 << 30))
    assert _rows_together(torch.device("cuda", 1)) == 1024
