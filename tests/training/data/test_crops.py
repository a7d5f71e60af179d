"""Face crops: squares around faces, landmarks in their pixels, and image pyramids."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from clnf_torch.training.data.annotations import AnnotationError, Annotations
from clnf_torch.training.data.crops import cut_crops, cut_square, held_out_faces, image_pyramid, to_pyramid_level


def dotted(height: int, width: int, points: Tensor) -> Tensor:
    """Black images (K, 3, H, W), each with one smooth bright spot at a point (K, 2)."""
    y, x = torch.arange(height).view(-1, 1), torch.arange(width)
    away = (x - points[:, 0].view(-1, 1, 1)) ** 2 + (y - points[:, 1].view(-1, 1, 1)) ** 2
    return (250 * torch.exp(-away / (2 * 4.0**2))).round().to(torch.uint8)[:, None].expand(-1, 3, -1, -1)


def middle(gray: Tensor) -> Tensor:
    """Centre of mass (x, y) of an image (H, W)."""
    mass = gray.double()
    across, down = mass.sum(0), mass.sum(1)
    x = (across * torch.arange(len(across))).sum()
    y = (down * torch.arange(len(down))).sum()
    return torch.stack([x, y]) / mass.sum()


def faces(landmarks: Tensor) -> Annotations:
    """The same face in an image per dot."""
    return Annotations(
        images=tuple(map(Path, map(str, range(len(landmarks))))),
        landmarks=landmarks,
        split=("",) * len(landmarks),
    )


@pytest.mark.parametrize("away", [(500.0, 0.0), (0.0, -400.0)])
def test_faces_outside_their_image_are_named(away):
    landmarks = 100 + 50 * torch.rand(2, 68, 2, generator=torch.Generator().manual_seed(0))
    landmarks[1] += torch.tensor(away)
    with pytest.raises(
        AnnotationError, match=r"^1: expected landmarks in the image, 300 x 200 pixels, found all outside"
    ):
        cut_crops(faces(landmarks), lambda _: torch.zeros(3, 200, 300, dtype=torch.uint8), 64)


@pytest.mark.parametrize("side", [64, 160, 333])
def test_dots_are_found_again_at_their_landmarks(rng, side):
    landmarks = torch.rand(68, 2, generator=rng) * torch.tensor([90.0, 110.0]) + torch.tensor([60.3, 40.8])
    images = dotted(190, 220, landmarks[:8])
    cut = cut_crops(faces(landmarks.expand(8, -1, -1)), lambda path: images[int(path.name)], side=side)
    assert cut.gray.shape == (8, side, side) and cut.gray.dtype == torch.uint8
    for dot in range(8):
        torch.testing.assert_close(middle(cut.gray[dot]).float(), cut.landmarks[dot, dot], rtol=0, atol=0.03)


def test_the_face_fills_the_middle(rng):
    landmarks = torch.rand(1, 68, 2, generator=rng) * torch.tensor([90.0, 110.0]) + 500
    cut = cut_crops(faces(landmarks), lambda _: torch.zeros(3, 900, 900, dtype=torch.uint8), side=200, margin=2.5)
    low, high = cut.landmarks[0].amin(0), cut.landmarks[0].amax(0)
    torch.testing.assert_close((low + high) / 2, torch.full((2,), 99.5), rtol=0, atol=0.6)  # squares are whole pixels
    assert float((high - low).amax()) == pytest.approx(200 / 2.5, rel=0.01)


def test_outside_the_image_is_black():
    square = cut_square(torch.full((10, 20), 200, dtype=torch.uint8), left=-4, top=-6, length=32, side=32)
    expected = torch.zeros(32, 32, dtype=torch.uint8)
    expected[6:16, 4:24] = 200
    assert torch.equal(square, expected)


@pytest.mark.parametrize(("left", "top"), [(-40, 0), (50, 0), (0, -40), (0, 50)])
def test_a_square_beside_the_image_is_black(left, top):
    square = cut_square(torch.full((10, 20), 200, dtype=torch.uint8), left=left, top=top, length=16, side=16)
    assert not square.any()


def test_small_crops_are_smoothed():
    stripes = torch.zeros(64, 64, dtype=torch.uint8)
    stripes[:, ::2] = 200
    small = cut_square(stripes, left=0, top=0, length=64, side=13)
    assert ((small[:, 1:-1].float() - 100).abs() < 12).all()


def test_rows_are_chosen(rng):
    landmarks = torch.rand(2, 68, 2, generator=rng) * 50
    tone = torch.tensor([10, 20], dtype=torch.uint8)
    told: list[int] = []
    cut = cut_crops(faces(landmarks), lambda path: tone[int(path.name)].expand(3, 50, 50), side=16, done=told.append)
    assert len(cut) == 2 and len(cut[[1]]) == 1 and int(cut[[1]].gray.amax()) == 20 and told == [1, 1]
    assert torch.equal(cut[[1]].landmarks[0], cut.landmarks[1])


def test_a_face_far_larger_than_its_image_is_refused(rng):
    landmarks = torch.rand(1, 68, 2, generator=rng) * 1e9
    with pytest.raises(AnnotationError, match="far beyond the image"):
        cut_crops(faces(landmarks), lambda _: torch.zeros(3, 50, 50, dtype=torch.uint8))


def test_a_ramp_keeps_its_places():
    ramp = (4 * torch.arange(32.0)).expand(1, 32, 32).to(torch.uint8)
    sharp, half, quarter = image_pyramid(ramp, 3)
    assert sharp is ramp and half.shape == (1, 16, 16) and quarter.shape == (1, 8, 8)
    for level, image in enumerate((sharp, half, quarter)):
        columns = torch.arange(image.shape[-1], dtype=torch.float32)
        whole = (columns + 0.5) * 2**level - 0.5  # where the columns' middles are in the image
        torch.testing.assert_close(to_pyramid_level(whole, level), columns)
        torch.testing.assert_close(image[0, 0].float(), 4 * whole, atol=0.5, rtol=0)


def test_every_view_has_its_share_of_judges():
    rotation = torch.zeros(40, 3)
    rotation[:, 1] = torch.cat((torch.full((10,), 0.8), torch.zeros(30)))
    held = held_out_faces(rotation, 5)
    assert int(held.sum()) == 8 and int(held[:10].sum()) == 2
