"""`clnf_torch.geometry.sampling`: against `grid_sample`, and on the 1/32-pixel lattice against whole-number Python."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn.functional import grid_sample

from clnf_torch.geometry.sampling import (
    affine_cells,
    affine_cells_32nds,
    cells_at,
    cells_at_32nds,
    pad_with_black,
    read_bilinear,
)

HEIGHT, WIDTH, SIDE = 13, 17, 6


def random_maps(rng, *shape):
    """Affine maps whose windows lie partly outside the image."""
    matrix = torch.randn(*shape, 2, 3, generator=rng, dtype=torch.float64)
    matrix[..., 2] = 8 + 8 * matrix[..., 2]
    return matrix


def read(images, image_index, matrix, cells_of, dtype=torch.float64):
    return read_bilinear(pad_with_black(images), image_index, cells_of(matrix, SIDE), dtype)


def naive_32nds(image: list[list[float]], matrix: list[list[float]]) -> list[list[float]]:
    """OpenCV 4's fixed-point ``warpAffine`` with whole numbers, pixel by pixel."""

    def pixel(row: int, column: int) -> float:
        return image[row][column] if 0 <= row < HEIGHT and 0 <= column < WIDTH else 0.0

    def position(row: list[float], u: int, v: int) -> tuple[int, float]:
        first = round(row[0] * u * 1024) + round((row[1] * v + row[2]) * 1024) + 16
        return first >> 5 >> 5, ((first >> 5) & 31) / 32

    area = []
    for v in range(SIDE):
        area.append([])
        for u in range(SIDE):
            (x, right), (y, down) = position(matrix[0], u, v), position(matrix[1], u, v)
            above = pixel(y, x) * (1 - right) + pixel(y, x + 1) * right
            below = pixel(y + 1, x) * (1 - right) + pixel(y + 1, x + 1) * right
            area[-1].append(above * (1 - down) + below * down)
    return area


def test_exact_reading_agrees_with_grid_sample(rng):
    images = 255 * torch.rand(3, HEIGHT, WIDTH, generator=rng, dtype=torch.float64)
    image_index, matrix = torch.tensor([2, 0, 1, 2]), random_maps(rng, 4)
    v, u = torch.meshgrid(*[torch.arange(SIDE, dtype=torch.float64)] * 2, indexing="ij")
    positions = torch.einsum("bij,vuj->bvui", matrix, torch.stack((u, v, torch.ones_like(u)), -1))
    positions = 2 * positions / torch.tensor([WIDTH - 1, HEIGHT - 1]) - 1
    expected = grid_sample(images[image_index, None], positions, padding_mode="zeros", align_corners=True)[:, 0]
    torch.testing.assert_close(read(images, image_index, matrix, affine_cells), expected)


def test_lattice_reading_agrees_with_whole_numbers(rng):
    images = 255 * torch.rand(2, HEIGHT, WIDTH, generator=rng, dtype=torch.float64)
    image_index, matrix = torch.tensor([0, 1, 1] * 5), random_maps(rng, 15)
    expected = [naive_32nds(images[f].tolist(), m) for f, m in zip(image_index.tolist(), matrix.tolist(), strict=True)]
    torch.testing.assert_close(
        read(images, image_index, matrix, affine_cells_32nds), torch.tensor(expected, dtype=torch.float64)
    )


def test_lattice_positions_are_within_a_64th_of_the_exact_ones(rng):
    matrix = random_maps(rng, 50)
    exact, rounded = affine_cells(matrix, SIDE), affine_cells_32nds(matrix, SIDE)
    for whole, fraction in ((0, 2), (1, 3)):
        a, b = (cells[whole] + cells[fraction] for cells in (exact, rounded))
        assert (a - b).abs().max() <= 1 / 64 + 2 / 1024


def test_any_positions_are_split_or_rounded_half_to_even(rng, dtype):
    positions = (20 * torch.randn(2, 30, 2, generator=rng, dtype=torch.float64)).to(dtype)
    positions[0, 0] = torch.tensor([3 + 1 / 64, -(3 + 1 / 64)])  # half way between two 32nds
    exact, rounded = cells_at(positions), cells_at_32nds(positions)
    torch.testing.assert_close(torch.stack((exact[0] + exact[2], exact[1] + exact[3]), -1), positions)
    expected = torch.tensor([round(32 * value) for value in positions.flatten().tolist()]).reshape(positions.shape)
    ours = torch.stack((32 * rounded[0] + 32 * rounded[2], 32 * rounded[1] + 32 * rounded[3]), -1)
    assert torch.equal(ours.long(), expected) and expected[0, 0].tolist() == [96, -96]


@pytest.mark.parametrize("cells_of", [affine_cells, affine_cells_32nds])
def test_whole_positions_copy_pixels(cells_of):
    images = torch.arange(HEIGHT * WIDTH, dtype=torch.uint8).reshape(1, HEIGHT, WIDTH)
    matrix = torch.tensor([[[1.0, 0.0, 4.0], [0.0, 1.0, 3.0]]], dtype=torch.float64)
    area = read(images, torch.tensor([0]), matrix, cells_of, torch.float32)
    assert area.dtype == torch.float32
    torch.testing.assert_close(area[0], images[0, 3 : 3 + SIDE, 4 : 4 + SIDE].float())


@pytest.mark.parametrize("cells_of", [affine_cells, affine_cells_32nds])
@pytest.mark.parametrize(
    ("x", "y", "expected"),
    [
        (-0.25, 0.0, 75.0), (-1.0, 0.0, 0.0), (16.25, 5.0, 75.0), (17.0, 5.0, 0.0), (5.0, -0.5, 50.0),
        (5.0, 12.75, 25.0), (-0.5, -0.5, 25.0), (16.5, 12.5, 25.0), (5.5, 5.5, 100.0),
    ],
)  # fmt: skip
def test_each_neighbour_outside_counts_black(cells_of, x, y, expected):
    images = torch.full((1, HEIGHT, WIDTH), 100.0, dtype=torch.float64)
    matrix = torch.tensor([[[0.0, 0.0, x], [0.0, 0.0, y]]], dtype=torch.float64)
    area = read(images, torch.tensor([0]), matrix, cells_of)
    torch.testing.assert_close(area, torch.full_like(area, expected))


@pytest.mark.parametrize("cells_of", [affine_cells, affine_cells_32nds])
@pytest.mark.parametrize("far", [1e3, 1e7, 1e12, 1e30])
def test_far_positions_are_black(cells_of, far, dtype):
    images = torch.full((1, HEIGHT, WIDTH), 100.0, dtype=dtype)
    for x, y in [(far, 5.0), (-far, 5.0), (5.0, far), (5.0, -far), (-far, far)]:
        matrix = torch.tensor([[[1.0, 0.0, x], [0.0, 1.0, y]]], dtype=dtype)
        assert (read(images, torch.tensor([0]), matrix, cells_of, dtype) == 0).all()


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_positions_that_are_no_numbers_spare_the_other_rows(rng, value):
    images = torch.rand(1, HEIGHT, WIDTH, generator=rng, dtype=torch.float64)
    matrix = random_maps(rng, 3)
    image_index = torch.zeros(3, dtype=torch.int64)
    expected = {
        cells_of: read(images, image_index, matrix, cells_of) for cells_of in (affine_cells, affine_cells_32nds)
    }
    matrix[1] = value
    for cells_of, area in expected.items():
        torch.testing.assert_close(read(images, image_index, matrix, cells_of)[::2], area[::2])


@pytest.mark.parametrize("cells_of", [affine_cells, affine_cells_32nds])
@pytest.mark.parametrize("shape", [(0,), (1,), (5,), (2, 3)])
def test_batch_and_shape(rng, cells_of, shape, device, dtype):
    images = torch.rand(4, HEIGHT, WIDTH, generator=rng, dtype=torch.float64).to(device, dtype)
    matrix = random_maps(rng, *shape).to(device, dtype)
    image_index = torch.randint(0, 4, shape[:1], generator=rng).to(device)
    together = read(images, image_index, matrix, cells_of, dtype)
    assert together.shape == (*shape, SIDE, SIDE) and together.dtype == dtype and together.device.type == device.type
    for i in range(shape[0]):
        torch.testing.assert_close(
            read(images, image_index[i : i + 1], matrix[i : i + 1], cells_of, dtype)[0], together[i]
        )


def test_gradients_of_images_and_maps(rng):
    images = torch.rand(2, 5, 5, generator=rng, dtype=torch.float64, requires_grad=True)
    matrix = torch.tensor([[[0.9, 0.2, 0.13], [-0.2, 0.9, 0.57]]], dtype=torch.float64).repeat(2, 1, 1).requires_grad_()
    image_index = torch.tensor([1, 0])
    assert torch.autograd.gradcheck(
        lambda i, m: read_bilinear(pad_with_black(i), image_index, affine_cells(m, 4), torch.float64), (images, matrix)
    )


def test_lattice_reading_has_a_gradient_of_images_alone(rng):
    images = torch.rand(1, HEIGHT, WIDTH, generator=rng, dtype=torch.float64, requires_grad=True)
    matrix = torch.tensor([[[0.9, 0.2, 2.1], [-0.2, 0.9, 3.6]]], dtype=torch.float64, requires_grad=True)
    area = read(images, torch.tensor([0]), matrix, affine_cells_32nds)
    (gradient,) = torch.autograd.grad(area.sum(), images)
    assert gradient.abs().sum() > 0
    with pytest.raises(RuntimeError, match="not have been used"):
        torch.autograd.grad(read(images, torch.tensor([0]), matrix, affine_cells_32nds).sum(), matrix)
