"""`clnf_torch.fitting.images`: what lies around each landmark, against the formula pixel by pixel."""

from __future__ import annotations

import math

import pytest
import torch

from clnf_torch.fitting.images import ImageBatch, area_to_image
from clnf_torch.models.numerics import EXACT, OPENFACE
from clnf_torch.models.patch_experts.base import CropRequest
from tests.factories import make_images


def similarities(rng, faces: int) -> torch.Tensor:
    """Maps from reference to image (B, 2, 2)."""
    angle, scale = torch.rand(2, faces, generator=rng, dtype=torch.float64)
    c, s = (1 + 2 * scale) * (angle - 0.5).cos(), (1 + 2 * scale) * (angle - 0.5).sin()
    return torch.stack((c, -s, s, c), -1).view(-1, 2, 2)


def centres(rng, faces: int) -> torch.Tensor:
    return 15 + 40 * torch.rand(faces, 3, 2, generator=rng, dtype=torch.float64)


def naive_pixel(image: list[list[float]], x: float, y: float) -> float:
    """Bilinear, each neighbour outside the image counting 0."""
    column, row = math.floor(x), math.floor(y)

    def pixel(j: int, i: int) -> float:
        return image[j][i] if 0 <= j < len(image) and 0 <= i < len(image[0]) else 0.0

    right, down = x - column, y - row
    above = pixel(row, column) * (1 - right) + pixel(row, column + 1) * right
    below = pixel(row + 1, column) * (1 - right) + pixel(row + 1, column + 1) * right
    return above * (1 - down) + below * down


@pytest.mark.parametrize("width", [5, 6])
def test_exact_areas_pixel_by_pixel(rng, width):
    gray, image_index, landmarks, to_image = make_images(2), torch.tensor([1, 0]), centres(rng, 2), similarities(rng, 2)
    areas = ImageBatch(gray, image_index).cut_areas(landmarks, to_image, width, on_32nds=False)
    assert areas.shape == (2, 3, width, width)
    for face in range(2):
        image, a, b = gray[image_index[face]].tolist(), to_image[face, 0, 0].item(), -to_image[face, 0, 1].item()
        for n, (lx, ly) in enumerate(landmarks[face].tolist()):
            for v in range(width):
                for u in range(width):
                    x = a * u - b * v + lx - (a - b) * (width - 1) / 2
                    y = b * u + a * v + ly - (a + b) * (width - 1) / 2
                    assert areas[face, n, v, u].item() == pytest.approx(naive_pixel(image, x, y), abs=1e-9)


def test_the_middle_pixel_is_the_landmark(rng):
    landmarks, to_image = centres(rng, 4), similarities(rng, 4)
    matrix = area_to_image(landmarks, to_image, 7)
    middle = matrix @ torch.tensor([3.0, 3.0, 1.0], dtype=torch.float64)
    torch.testing.assert_close(middle, landmarks)
    torch.testing.assert_close(matrix[..., :2], to_image[:, None].expand(4, 3, 2, 2))


def test_areas_on_the_lattice_are_close_to_the_exact_ones(rng):
    images, landmarks, to_image = (
        ImageBatch(make_images(), torch.zeros(6).long()),
        centres(rng, 6),
        similarities(rng, 6),
    )
    exact, rounded = (images.cut_areas(landmarks, to_image, 7, on_32nds) for on_32nds in (False, True))
    steepest = max(make_images().diff(dim=dim).abs().max().item() for dim in (1, 2))
    difference = (exact - rounded).abs().max().item()
    assert 0 < difference <= 2 * steepest / 60  # a 64th of a pixel in each direction


@pytest.mark.parametrize("on_32nds", [True, False])
@pytest.mark.parametrize("faces", [0, 1, 5])
def test_batch_rows_device_and_dtype(rng, on_32nds, faces, device, dtype):
    gray, image_index = make_images(3).to(device, dtype), torch.randint(0, 3, (faces,), generator=rng).to(device)
    landmarks, to_image = centres(rng, faces).to(device, dtype), similarities(rng, faces).to(device, dtype)
    images = ImageBatch(gray, image_index)
    together = images.cut_areas(landmarks, to_image, 5, on_32nds)
    assert together.shape == (faces, 3, 5, 5) and together.dtype == dtype and together.device.type == device.type
    for i in range(faces):
        alone = images.rows(torch.tensor([i], device=device))
        found = alone.cut_areas(landmarks[i : i + 1], to_image[i : i + 1], 5, on_32nds)
        torch.testing.assert_close(found[0], together[i])


@pytest.mark.parametrize("on_32nds", [True, False])
def test_uint8_images_are_read_as_they_are(rng, on_32nds):
    gray, image_index = make_images().to(torch.uint8), torch.zeros(4, dtype=torch.int64)
    landmarks, to_image = centres(rng, 4), similarities(rng, 4)
    whole, floating = (
        ImageBatch(g, image_index).cut_areas(landmarks, to_image, 5, on_32nds) for g in (gray, gray.double())
    )
    torch.testing.assert_close(whole, floating)


def test_gradients_of_images_alone(rng):
    """In float32, where crops may be cut by compiled loops that record nothing."""
    gray = make_images().float().requires_grad_()
    areas = ImageBatch(gray, torch.zeros(2, dtype=torch.int64)).cut_areas(
        centres(rng, 2).float(), similarities(rng, 2).float(), 5, on_32nds=False
    )
    (gradient,) = torch.autograd.grad(areas.sum(), gray)
    assert gradient.abs().sum() > 0


def test_gradients(rng):
    gray = make_images(1, 12, 12).requires_grad_()
    landmarks = (4 + 4 * torch.rand(2, 2, 2, generator=rng, dtype=torch.float64)).requires_grad_()
    to_image = (0.4 * similarities(rng, 2)).requires_grad_()
    image_index = torch.zeros(2, dtype=torch.int64)

    def run(gray, landmarks, to_image):
        return ImageBatch(gray, image_index).cut_areas(landmarks, to_image, 4, on_32nds=False)

    assert torch.autograd.gradcheck(run, (gray, landmarks, to_image), fast_mode=True)


@pytest.mark.parametrize("smooth", [True, False])
@pytest.mark.parametrize("numerics", [OPENFACE, EXACT], ids=lambda numerics: numerics.name)
def test_crops_are_the_requested_areas_and_rows_that_cannot_be_read_are_black(rng, smooth, numerics):
    gray, landmarks, to_image = make_images(2), centres(rng, 3), similarities(rng, 3)
    images = ImageBatch(gray, torch.tensor([0, 1, 0]))
    expected = (
        images.cut_smooth_areas(landmarks, to_image, 5)
        if smooth
        else images.cut_areas(landmarks, to_image, 5, numerics.sample_on_32nds)
    )
    request = CropRequest(centers=landmarks, to_image=to_image, width=5, smooth=smooth)
    crops, readable = images.crop(request, numerics)
    assert readable.all() and torch.equal(crops, expected)
    gray[1] = math.nan
    crops, readable = ImageBatch(gray, torch.tensor([0, 1, 0])).crop(request, numerics)
    assert readable.tolist() == [True, False, True]
    assert torch.equal(crops[::2], expected[::2]) and not crops[1].any()


@pytest.mark.parametrize("smooth", [True, False])
def test_crops_that_cannot_be_read_send_no_nan_back(rng, smooth):
    gray = make_images(2)
    gray[1] = math.nan
    gray, landmarks = gray.requires_grad_(), centres(rng, 2).requires_grad_()
    request = CropRequest(centers=landmarks, to_image=similarities(rng, 2), width=5, smooth=smooth)
    crops, _ = ImageBatch(gray, torch.tensor([0, 1])).crop(request, EXACT)
    crops.square().sum().backward()
    assert gray.grad.isfinite().all() and (landmarks.grad[1] == 0).all() and landmarks.grad[0].abs().sum() > 0
