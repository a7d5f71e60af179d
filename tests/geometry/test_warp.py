"""`clnf_torch.geometry.warp`: against weights solved one by one; fused arithmetic against fractions."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
import torch

from clnf_torch.geometry.warp import _fused, triangle_maps
from tests.validators import make_warp_frame, warped


def frame(dtype=torch.float64) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Corners in the frame of reference and its table."""
    corners, table = make_warp_frame()
    return corners.to(dtype), {name: t.to(dtype) if t.is_floating_point() else t for name, t in table.items()}


def test_corners_go_to_their_landmarks(rng, dtype):
    corners, table = frame(dtype)
    landmarks = 50 * torch.rand(4, len(corners), 2, generator=rng, dtype=torch.float64).to(dtype)
    for k in range(3):
        at_corners = {
            **table,
            "pixels": corners[table["triangles"][:, k]],
            "triangle": torch.arange(len(table["triangles"])),
        }
        positions = warped(landmarks, at_corners)
        torch.testing.assert_close(positions, landmarks[:, table["triangles"][:, k]], rtol=1e-4, atol=1e-4)


def test_the_frame_itself_stays_where_it_is():
    corners, table = frame()
    torch.testing.assert_close(warped(corners[None], table)[0], table["pixels"])


def test_an_affine_face_is_an_affine_warp(rng):
    corners, table = frame()
    linear = torch.randn(3, 2, 2, generator=rng, dtype=torch.float64)
    shift = 20 * torch.randn(3, 1, 2, generator=rng, dtype=torch.float64)
    torch.testing.assert_close(warped(corners @ linear.mT + shift, table), table["pixels"] @ linear.mT + shift)


def test_weights_solved_one_by_one(rng):
    corners, table = frame()
    landmarks = 50 * torch.rand(1, len(corners), 2, generator=rng, dtype=torch.float64)
    positions = warped(landmarks, table)[0]
    for pixel, number, position in zip(table["pixels"], table["triangle"], positions, strict=True):
        triangle = table["triangles"][number]
        system = torch.cat((corners[triangle].mT, torch.ones(1, 3, dtype=torch.float64)))
        weights = torch.linalg.solve(system, torch.cat((pixel, torch.ones(1, dtype=torch.float64))))
        torch.testing.assert_close(weights @ landmarks[0, triangle], position)


def test_maps_say_what_a_step_gains(rng):
    corners, table = frame()
    landmarks = 50 * torch.rand(2, len(corners), 2, generator=rng, dtype=torch.float64)
    maps = triangle_maps(landmarks, table["triangles"], table["alpha"], table["beta"])
    assert maps.shape == (2, len(table["triangles"]), 3, 2)
    step = torch.tensor([1.0, 0.0], dtype=torch.float64)
    gained = warped(landmarks, {**table, "pixels": table["pixels"] + step}) - warped(landmarks, table)
    torch.testing.assert_close(gained, maps[:, table["triangle"], 1])


def test_faces_in_a_batch_do_not_see_each_other(rng, device, dtype):
    corners, table = frame(dtype)
    table = {name: t.to(device) for name, t in table.items()}
    landmarks = 50 * torch.rand(5, len(corners), 2, generator=rng, dtype=torch.float64).to(device, dtype)
    landmarks[1] = math.nan
    together = warped(landmarks, table)
    assert together.shape == (5, len(table["pixels"]), 2) and together.dtype == dtype
    for i in (0, 2, 3, 4):
        assert torch.equal(warped(landmarks[i : i + 1], table)[0], together[i])
    assert warped(landmarks[:0], table).shape == (0, len(table["pixels"]), 2)


def test_gradient(rng):
    corners, table = frame()
    landmarks = torch.rand(2, len(corners), 2, generator=rng, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda points: warped(points, table), (landmarks,))


@pytest.mark.parametrize("seed", range(3))
def test_fused_products_and_sums_are_rounded_once(seed):
    a, b, c = torch.randn(3, 500, generator=torch.Generator().manual_seed(seed)).unbind()
    exact = [Fraction(x) * Fraction(y) + Fraction(z) for x, y, z in zip(*(t.tolist() for t in (a, b, c)), strict=True)]
    expected = torch.tensor([float(value) for value in exact], dtype=torch.float64).float()
    assert torch.equal(_fused(a, b, c), expected)
    assert not torch.equal(a * b + c, expected)
