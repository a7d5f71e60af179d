"""`clnf_torch.fitting.kernels.cpu.fit`: whole fits as compiled loops, against the torch form, which defines them."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from clnf_torch.compilation.conditions import load_kernels
from clnf_torch.fitting import compiled
from clnf_torch.fitting.config import FitConfig
from clnf_torch.fitting.fitter import FitState, LandmarkFitter
from clnf_torch.fitting.images import ImageBatch
from clnf_torch.fitting.initialise import params_from_box
from clnf_torch.models.numerics import EXACT, OPENFACE
from clnf_torch.models.pdm import ShapeParams
from tests.factories import CONFIG, N, make_boxes, make_images, make_model, make_pdm, seeded
from tests.fitting.test_compiled import both

pytest.importorskip("numba", reason="the compiled loops need numba")

FACES = 7
# Pixels of faces of 40. Measured: 2e-4; both forms round to float32, each in its order
WITHIN = 2e-3
CONFIGS = {
    "default": CONFIG,
    "weighted": replace(CONFIG, weight_factor=2.5),
    "any size": replace(CONFIG, any_size=True),
    "first scale": replace(CONFIG, window_sizes=(5, 0)),
    "second scale": replace(CONFIG, window_sizes=(0, 5)),
    "one cell": replace(CONFIG, window_sizes=(3, 1)),
}


def start_at(boxes: torch.Tensor) -> ShapeParams:
    """Faces in boxes, each turned sideways another way."""
    rotation = torch.zeros(len(boxes), 3)
    rotation[:, 1] = torch.linspace(-0.8, 0.8, len(boxes))
    return params_from_box(make_pdm(torch.float32), boxes, rotation)


def fit(start: ShapeParams, config: FitConfig = CONFIG, numerics=EXACT, images=None, **known) -> FitState:
    fitter = LandmarkFitter(make_model(torch.float32), config, numerics)
    gray = make_images(2).float() if images is None else images
    index = torch.arange(len(start)) % 2
    return fitter.fit(ImageBatch(gray, index), FitState.at(start, N, **known))


def same(found: FitState, expected: FitState) -> None:
    for name in ("active", "view", "visible", "hypothesis"):
        assert torch.equal(getattr(found, name), getattr(expected, name)), name
    pdm = make_pdm(torch.float32)
    torch.testing.assert_close(
        pdm.landmarks(found.params), pdm.landmarks(expected.params), atol=WITHIN, rtol=0, equal_nan=True
    )
    for name in ("likelihood", "landmark_likelihoods"):
        torch.testing.assert_close(getattr(found, name), getattr(expected, name), atol=1e-3, rtol=1e-3, equal_nan=True)


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_every_setting(monkeypatch, config):
    start = start_at(make_boxes(FACES).float())
    found, expected = both(monkeypatch, lambda: fit(start, config))
    same(found, expected)
    assert len(found.view.unique()) == 3 and found.likelihood.isfinite().all()
    assert (found.params.scale != start.scale).all()


def test_what_is_known_beforehand(monkeypatch):
    rng = seeded(4)
    known = {
        "landmark_weight": 0.5 + torch.rand(FACES, N, generator=rng),
        "hidden": torch.arange(N) == torch.arange(FACES)[:, None],
        "regularisation": 10 + 40 * torch.rand(FACES, generator=rng),
    }
    start = start_at(make_boxes(FACES).float())
    found, expected = both(monkeypatch, lambda: fit(start, **known))
    same(found, expected)
    assert not found.visible[known["hidden"]].any()


def test_rows_that_fail_keep_what_they_had(monkeypatch):
    start = start_at(make_boxes(FACES).float())
    start.scale[1], start.translation[2], start.scale[4] = 0.1, torch.nan, 0.28
    images = make_images(2).float()
    images[1, 30:] = torch.nan
    found, expected = both(monkeypatch, lambda: fit(start, images=images))
    same(found, expected)
    assert not found.active[1:4].any() and found.active[0]
    assert torch.equal(found.params.scale[3], start.scale[3]) and found.params.translation[2].isnan().all()


@pytest.mark.parametrize("numerics", [OPENFACE, EXACT], ids=lambda numerics: numerics.name)
def test_faces_in_a_batch_do_not_see_each_other(numerics):
    start, gray = start_at(make_boxes(FACES).float()), make_images(1).to(torch.uint8)
    together = fit(start, numerics=numerics, images=gray.expand(2, -1, -1))
    for row in range(FACES):
        alone = fit(start[row : row + 1], numerics=numerics, images=gray)
        for name in ("scale", "rotation", "translation", "local"):
            assert torch.equal(getattr(alone.params, name)[0], getattr(together.params, name)[row])
        assert torch.equal(alone.likelihood[0], together.likelihood[row])


def test_the_start_is_left_as_it_was_and_the_loops_did_run(monkeypatch):
    loops, calls = load_kernels("clnf_torch.fitting.kernels.cpu.fit"), []
    original = loops.fit_scales
    monkeypatch.setattr(loops, "fit_scales", lambda *given: calls.append(1) or original(*given))
    start = start_at(make_boxes(FACES).float())
    copy = start[list(range(FACES))]
    fit(start)
    assert calls and compiled.usable(start.scale)
    for name, value in vars(start).items():
        assert torch.equal(value, getattr(copy, name))


def test_the_torch_form_runs_where_images_are_recorded():
    start, images = start_at(make_boxes(2).float()), make_images(2).float().requires_grad_()
    fit(start, images=images).likelihood.sum().backward()
    assert images.grad is not None and images.grad.abs().sum() > 0


@pytest.mark.parametrize("learned", ["experts", "regularisation"])
def test_what_is_learned_is_fitted_in_torch(learned):
    model, prior = make_model(torch.float32), torch.full((2,), 5.0)
    wanted = prior.requires_grad_() if learned == "regularisation" else model.experts[0].stacks[0].weights[0]
    wanted.requires_grad_()
    state = FitState.at(start_at(make_boxes(2).float()), N, regularisation=prior)
    images = ImageBatch(make_images(2).float(), torch.arange(2))
    found = LandmarkFitter(model, CONFIG, EXACT).fit(images, state)
    (gradient,) = torch.autograd.grad(model.pdm.landmarks(found.params).square().sum(), wanted)
    assert bool(gradient.isfinite().all()) and bool(gradient.any())
    with torch.no_grad():
        without = LandmarkFitter(model, CONFIG, EXACT).fit(images, state)
    same(without, found)
