"""`clnf_torch.fitting.compiled` and its loops: against the torch forms, which define what they compute."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from clnf_torch.compilation.conditions import SWITCH
from clnf_torch.fitting import compiled
from clnf_torch.fitting.config import PRESETS, FitConfig
from clnf_torch.fitting.images import ImageBatch
from clnf_torch.fitting.initialise import params_from_landmarks
from clnf_torch.fitting.nu_rlms import search_responses
from clnf_torch.fitting.responses import ResponseField
from clnf_torch.geometry.sampling import cells_at, cells_at_32nds
from clnf_torch.geometry.warp import triangle_maps, warp_positions
from clnf_torch.models.pdm import PDM, ShapeParams
from tests.factories import seeded
from tests.fitting.random_searches import make_pdm, make_search

pytest.importorskip("numba", reason="the compiled loops need numba")

# Pixels of faces that are 100 pixels wide. Measured: 2e-4 at most. Both forms are rounded to float32, each in its order
WITHIN = 1e-3
# Likewise where kernels are centred on multiples of 0.1 cells: one that lies close to half-way may be centred on the
# next. Measured: 0.07
WITHIN_STEPPED = 0.2


def both(monkeypatch, run):
    """What a function gives with the compiled loops, and what without."""
    with monkeypatch.context() as patch:
        patch.setattr(compiled, "kernels", lambda device: None)
        torch_form = run()
    assert compiled.kernels("cpu") is not None
    return run(), torch_form


def same(pdm: PDM, found: ShapeParams, expected: ShapeParams, within: float = WITHIN) -> None:
    torch.testing.assert_close(pdm.landmarks(found), pdm.landmarks(expected), atol=within, rtol=0, equal_nan=True)
    for name, value in vars(found).items():
        torch.testing.assert_close(value.isnan(), getattr(expected, name).isnan())


CONFIGS = {name: preset.at_scale(0, (0.25,)) for name, preset in PRESETS.items()} | {
    "every step": FitConfig(iterations=12, tolerance=0),
    "sharp": FitConfig(iterations=8, sigma=0.3, regularisation=1.0),
    "loose": FitConfig(iterations=8, sigma=4.0, regularisation=1e-3, tolerance=0.5),
    "prior of each face": FitConfig(regularisation=torch.tensor([0.1, 5.0, 25.0, 100.0, 1000.0])),
}


@pytest.mark.parametrize("step", [None, 0.1])
@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_searches(monkeypatch, config, step):
    pdm = make_pdm(68, 34)
    start, field = make_search(pdm, 5, 11)
    (rigid, found, positions), (rigid_there, expected, there) = both(
        monkeypatch, lambda: search_responses(pdm, start, field, config, step)
    )
    within = WITHIN if step is None else WITHIN_STEPPED
    same(pdm, found, expected, within)
    torch.testing.assert_close(positions, there, atol=within, rtol=0)
    torch.testing.assert_close(rigid, rigid_there)
    assert (found.scale != start.scale).all()


@pytest.mark.parametrize(
    ("landmarks", "modes", "window"), [(28, 10, 3), (5, 1, 5), (33, 7, 9), (68, 34, 41), (1, 1, 1)]
)
def test_any_number_of_landmarks_modes_and_cells(monkeypatch, landmarks, modes, window):
    pdm = make_pdm(landmarks, modes)
    start, field = make_search(pdm, 3, window)
    config = FitConfig(iterations=6)
    (_, found, _), (_, expected, _) = both(monkeypatch, lambda: search_responses(pdm, start, field, config, None))
    same(pdm, found, expected)


@pytest.mark.parametrize("spoil", ["no weight", "nan weight", "nan map", "empty map", "nan start", "infinite base"])
def test_rows_that_cannot_be_solved(monkeypatch, spoil):
    pdm = make_pdm(20, 6)
    start, field = make_search(pdm, 3, 7)
    _, plain, _ = search_responses(pdm, start, field, FitConfig(), 0.1)
    values = {
        "no weight": (field.weight, 0.0),
        "nan weight": (field.weight, torch.nan),
        "nan map": (field.responses, torch.nan),
        "empty map": (field.responses, 0.0),
        "nan start": (start.translation, torch.nan),
        "infinite base": (field.base, torch.inf),
    }
    tensor, value = values[spoil]
    tensor[1] = value
    (_, found, _), (_, expected, _) = both(monkeypatch, lambda: search_responses(pdm, start, field, FitConfig(), 0.1))
    same(pdm, found, expected)
    for name, kept in vars(found).items():
        torch.testing.assert_close(kept[::2], getattr(plain, name)[::2], rtol=0, atol=0)


def test_a_shape_beyond_the_limits_is_clamped_by_the_rigid_search_already(monkeypatch):
    pdm = make_pdm(9, 3)
    start, field = make_search(pdm, 5, 5)
    start = replace(start, local=4 * pdm.variances.sqrt().repeat(5, 1))
    (rigid, found, _), (rigid_there, expected, _) = both(
        monkeypatch, lambda: search_responses(pdm, start, field, FitConfig(), None)
    )
    same(pdm, found, expected)
    torch.testing.assert_close(rigid, rigid_there)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_a_face_is_the_same_alone_in_a_batch_and_with_any_number_of_threads(threads):
    pdm, before = make_pdm(68, 34), torch.get_num_threads()
    start, field = make_search(pdm, 17, 11)
    alone = [
        search_responses(
            pdm,
            start[i : i + 1],
            ResponseField(**{name: value[i : i + 1] for name, value in vars(field).items()}),
            FitConfig(),
            None,
        )[1]
        for i in range(17)
    ]
    try:
        torch.set_num_threads(threads)
        _, together, _ = search_responses(pdm, start, field, FitConfig(), None)
    finally:
        torch.set_num_threads(before)
    for name, value in vars(together).items():
        assert torch.equal(value, torch.cat([getattr(one, name) for one in alone]))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
@pytest.mark.parametrize("on_32nds", [True, False])
def test_areas(monkeypatch, dtype, on_32nds):
    pdm = make_pdm(30, 4)
    _, field = make_search(pdm, 6, 3)
    gray = (255 * torch.rand(2, 70, 90, generator=seeded(3))).to(dtype)
    images = ImageBatch(gray, torch.tensor([0, 1, 1, 0, 1, 0]))
    # Inside, across the border, far away, and nowhere
    centres = field.base - field.base.mean(1, keepdim=True) + torch.tensor([45.0, 35.0])
    centres[1] += 60
    centres[2], centres[3], centres[4, 0] = 1e7, torch.nan, torch.inf
    found, expected = both(monkeypatch, lambda: images.cut_areas(centres, field.to_image, 13, on_32nds))
    # Products of 8-bit numbers and of 32nds are exact; other ones torch rounds once with the sum, on some processors
    exact = dtype == torch.uint8 and on_32nds
    torch.testing.assert_close(found, expected, rtol=0, atol=0 if exact else 1e-4, equal_nan=True)
    assert (found[0] > 0).any() and (found[2] == 0).all()


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
@pytest.mark.parametrize("on_32nds", [True, False])
@pytest.mark.parametrize("trimmed", [True, False])
def test_warps(monkeypatch, dtype, on_32nds, trimmed):
    rng, faces = seeded(2), 5
    gray = (255 * torch.rand(2, 60, 50, generator=rng)).to(dtype)
    images = ImageBatch(gray, torch.tensor([0, 1, 1, 0, 1]))
    images = images.without_last_pixels() if trimmed else images
    landmarks = 60 * torch.rand(faces, 9, 2, generator=rng) - 5
    landmarks[3, 0], landmarks[4, 1] = torch.nan, 1e8
    corner = landmarks.nan_to_num().amin(1).trunc()
    triangles = torch.randint(9, (6, 3), generator=rng)
    alpha, beta = torch.rand(2, 6, 3, generator=rng) * torch.tensor([0.3, 0.05, 0.05])
    pixels, triangle = torch.rand(200, 2, generator=rng) * 12, torch.randint(6, (200,), generator=rng)

    def torch_form():
        positions = warp_positions(triangle_maps(landmarks, triangles, alpha, beta), pixels, triangle)
        column, row, right, down = (cells_at_32nds if on_32nds else cells_at)(positions)
        across, along = corner.to(column.dtype)[..., None].unbind(1)
        return images.read((column + across, row + along, right, down), torch.float32)

    found = images.read_warped(landmarks, corner, (triangles, alpha, beta, pixels, triangle), on_32nds)
    exact = dtype == torch.uint8 and on_32nds
    torch.testing.assert_close(found, torch_form(), rtol=0, atol=0 if exact else 1e-3, equal_nan=True)
    assert (found[:3] > 0).any() and (found[:3] == 0).any()
    monkeypatch.setattr(compiled, "kernels", lambda device: None)
    assert images.read_warped(landmarks, corner, (triangles, alpha, beta, pixels, triangle), on_32nds) is None


def test_any_layout_in_memory():
    pdm = make_pdm(12, 4)
    start, field = make_search(pdm, 2, 5)
    other = ResponseField(**{name: value.mT.contiguous().mT for name, value in vars(field).items()})
    other = replace(other, base=field.base.mT.contiguous().mT, weight=field.weight.repeat_interleave(2, 1)[:, ::2])
    _, expected, there = search_responses(pdm, start, field, FitConfig(), None)
    _, found, positions = search_responses(pdm, start, other, FitConfig(), None)
    assert torch.equal(found.local, expected.local) and torch.equal(positions, there)


def test_the_arguments_are_left_as_they_were():
    pdm = make_pdm(12, 4)
    start, field = make_search(pdm, 2, 5)
    copies = [value.clone() for value in (*vars(start).values(), *vars(field).values())]
    search_responses(pdm, start, field, FitConfig(), None)
    for value, copy in zip((*vars(start).values(), *vars(field).values()), copies, strict=True):
        assert torch.equal(value, copy)


@pytest.mark.parametrize(("landmarks", "modes"), [(68, 34), (28, 10), (6, 2)])
def test_parameters_from_landmarks(monkeypatch, landmarks, modes):
    pdm = make_pdm(landmarks, modes)
    start, _ = make_search(pdm, 9, 3)
    target = pdm.landmarks(start) + torch.randn(9, landmarks, 2, generator=seeded(8))
    known = torch.rand(9, landmarks, generator=seeded(9)) > 0.2
    known[3], target[4, 0] = False, torch.nan
    target[~known] = torch.nan
    found, expected = both(monkeypatch, lambda: params_from_landmarks(pdm, target, known))
    same(pdm, found, expected)


def test_the_torch_forms_run_where_something_is_recorded_or_traced():
    pdm = make_pdm(12, 4)
    start, field = make_search(pdm, 2, 5)
    assert compiled.usable(start.scale, pdm.mean)
    assert not compiled.usable(start.scale.double()) and not compiled.usable(start.scale.to("meta"))
    asking = start.scale.clone().requires_grad_()
    assert not compiled.usable(asking)
    with torch.no_grad():
        assert compiled.usable(asking)
    with torch.autograd.forward_ad.dual_level():
        assert not compiled.usable(start.scale)
    assert torch.func.vmap(lambda scale: scale * (2 if compiled.usable(scale) else 1))(start.scale).equal(start.scale)
    _, found, _ = search_responses(pdm, replace(start, scale=asking), field, FitConfig(), None)
    assert found.scale.requires_grad


def test_the_switch():
    code = "from clnf_torch.fitting import compiled; print(compiled.kernels('cpu'))"
    environment = {SWITCH: "0", "PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "None"
