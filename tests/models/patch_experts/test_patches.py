"""`clnf_torch.models.patch_experts.patches`: cutting and laying out, against loops over cells."""

from __future__ import annotations

import math

import pytest
import torch

from clnf_torch.models.patch_experts.patches import cut_patches, lay_out

WINDOWS = [1, 3, 5, 11]


def looked_at(window: int, checkerboard: bool) -> list[tuple[int, int]]:
    """Cells (y, x) that an expert looks at; on the checkerboard those whose index x * W + y is odd."""
    cells = [(y, x) for y in range(window) for x in range(window)]
    return [(y, x) for y, x in cells if (x * window + y) % 2] if checkerboard else cells


def naive_patch(area: torch.Tensor, y: int, x: int, support: int) -> list[float]:
    pixels = [area[y + j, x + i].item() for j in range(support) for i in range(support)]
    mean = sum(pixels) / len(pixels)
    length = math.sqrt(sum((pixel - mean) ** 2 for pixel in pixels))
    return [(pixel - mean) / (length or 1) for pixel in pixels]


def naive_fill(answers: dict[tuple[int, int], float], window: int) -> list[list[float]]:
    """Cells without an answer get the mean of their neighbours."""

    def cell(y: int, x: int) -> float:
        around = [(y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)]
        known = [answers[place] for place in around if place in answers]
        return answers[y, x] if (y, x) in answers else sum(known) / max(len(known), 1)

    return [[cell(y, x) for x in range(window)] for y in range(window)]


@pytest.mark.parametrize("checkerboard", [True, False])
@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("support", [1, 3, 4])
def test_patches_cell_by_cell(rng, window, support, checkerboard):
    width = window + support - 1
    areas = 255 * torch.rand(2, width, width, generator=rng, dtype=torch.float64)
    patches = cut_patches(areas, support, checkerboard)
    cells = looked_at(window, checkerboard)
    assert patches.shape == (2, len(cells), support * support)
    expected = {tuple(round(v, 9) for v in naive_patch(areas[1], y, x, support)) for y, x in cells}
    assert {tuple(round(v, 9) for v in patch) for patch in patches[1].tolist()} == expected


@pytest.mark.parametrize("checkerboard", [True, False])
@pytest.mark.parametrize("window", WINDOWS)
def test_answers_land_where_their_patch_was_cut(rng, window, checkerboard):
    support = 2
    areas = 255 * torch.rand(3, window + 1, window + 1, generator=rng, dtype=torch.float64)
    answers = cut_patches(areas, support, checkerboard)[..., 1]  # the second pixel stands for an expert's answer
    maps = lay_out(answers, checkerboard)
    assert maps.shape == (3, window, window)
    for area, found in zip(areas, maps, strict=True):
        known = {(y, x): naive_patch(area, y, x, support)[1] for y, x in looked_at(window, checkerboard)}
        torch.testing.assert_close(found, torch.tensor(naive_fill(known, window), dtype=torch.float64))


def test_constant_patches_become_zero():
    assert (cut_patches(torch.full((1, 1, 5, 5), 77.0), 3, False) == 0).all()


def test_patches_have_unit_length_whatever_the_contrast(rng, dtype):
    areas = torch.rand(4, 7, 7, generator=rng, dtype=torch.float64).to(dtype)
    patches = cut_patches(200 * areas, 3, False)
    torch.testing.assert_close(patches.square().sum(-1), torch.ones(4, 25, dtype=dtype))
    torch.testing.assert_close(cut_patches(20 * areas + 9, 3, False), patches, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("shape", [(0,), (1,), (2, 0, 3), (2, 5)])
@pytest.mark.parametrize("checkerboard", [True, False])
def test_any_leading_shape(shape, checkerboard, device, dtype):
    areas = torch.zeros(*shape, 7, 7, device=device, dtype=dtype)
    patches = cut_patches(areas, 3, checkerboard)
    maps = lay_out(patches.sum(-1), checkerboard)
    assert patches.shape == (*shape, 12 if checkerboard else 25, 9) and maps.shape == (*shape, 5, 5)
    assert maps.dtype == dtype and maps.device.type == device.type


@pytest.mark.parametrize("checkerboard", [True, False])
def test_gradients(rng, checkerboard):
    areas = torch.rand(1, 5, 5, generator=rng, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda a: cut_patches(a, 3, checkerboard), (areas,))
    answers = torch.rand(2, 4 if checkerboard else 9, generator=rng, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda a: lay_out(a, checkerboard), (answers,))


def test_constant_patches_have_a_finite_gradient():
    areas = torch.full((1, 5, 5), 9.0, dtype=torch.float64, requires_grad=True)
    cut_patches(areas, 3, False).sum().backward()
    assert areas.grad.isfinite().all()
