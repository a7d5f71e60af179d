"""Pen marks: on which images, where, how strong, and that images in a batch keep apart."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from clnf_torch.training.augmentation.pen_marks import draw_pen_marks


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def landmarks() -> Tensor:
    """Landmarks that fill the middle of images of 128 x 128 pixels, spread as on a face."""
    around = torch.linspace(0, torch.pi, 17)
    jaw = torch.stack([64 - 32 * around.cos(), 60 + 36 * around.sin()], 1)
    grid = torch.cartesian_prod(torch.linspace(40, 88, 8), torch.linspace(40, 84, 7))[:51]
    face = torch.cat([jaw, grid])
    face[[27, 28]], face[[33, 51]] = torch.tensor([64.0, 44.0]), torch.tensor([64.0, 80.0])
    return face


@pytest.fixture
def images() -> Tensor:
    return torch.full((40, 128, 128), 150, dtype=torch.uint8)


@pytest.mark.parametrize("kind", [torch.uint8, torch.float32, torch.float64])
@pytest.mark.parametrize("channels", [(), (3,)])
def test_images_keep_their_form(images, landmarks, kind, channels):
    before = images.to(kind)[:, None].expand(-1, *channels or (1,), -1, -1).reshape(40, *channels, 128, 128)
    kept = before.clone()
    after = draw_pen_marks(before, landmarks.expand(40, -1, -1), seeded(1))
    assert after.shape == before.shape and after.dtype == kind and torch.equal(before, kept)
    assert float(after.amin()) >= 0 and float(after.amax()) <= 255


def test_a_seed_means_one_drawing(images, landmarks):
    faces = landmarks.expand(40, -1, -1)
    assert torch.equal(draw_pen_marks(images, faces, seeded(1)), draw_pen_marks(images, faces, seeded(1)))
    assert not torch.equal(draw_pen_marks(images, faces, seeded(1)), draw_pen_marks(images, faces, seeded(2)))


def test_nearly_every_face_is_marked_differently_and_on_the_face(images, landmarks):
    pen_marks = draw_pen_marks(images, landmarks.expand(40, -1, -1), seeded(3)) != 150
    probability = pen_marks.flatten(1).float().mean(1)
    assert (probability > 0).sum() >= 38 and probability.amax() < 0.5 and 0.01 < probability.mean() < 0.15
    assert len({tuple(row.flatten().nonzero().flatten().tolist()) for row in pen_marks}) >= 38
    face = torch.zeros(128, 128, dtype=torch.bool)
    face[16:104, 24:104] = True
    assert pen_marks[:, face].sum() > 0.95 * pen_marks.sum()


def test_gray_images_are_marked_in_the_same_places_as_coloured_ones(images, landmarks):
    faces = landmarks.expand(40, -1, -1)
    gray = draw_pen_marks(images.float(), faces, seeded(4))
    rgb = draw_pen_marks(images.float()[:, None].expand(-1, 3, -1, -1), faces, seeded(4))
    differing = ((gray - 150).abs() > 1) != ((rgb - 150).abs().amax(1) > 1)
    assert differing.float().mean() < 0.01  # a colour may have the gray of the skin
    assert (rgb.amax(1) - rgb.amin(1)).amax() > 60


def test_pen_marks_grow_with_the_face(landmarks):
    small = draw_pen_marks(torch.full((40, 128, 128), 150.0), landmarks.expand(40, -1, -1), seeded(5))
    large = draw_pen_marks(torch.full((40, 512, 512), 150.0), 4 * landmarks.expand(40, -1, -1) + 1.5, seeded(5))
    shrunk = torch.nn.functional.avg_pool2d(large[:, None], 4)[:, 0]
    assert float((small - shrunk).abs().mean()) < 0.2 * float((small - 150).abs().mean())


def test_a_share_of_the_images_is_marked(landmarks):
    images = torch.full((400, 32, 32), 150.0)
    pen_marks = draw_pen_marks(images, landmarks.expand(400, -1, -1) / 4, seeded(6), probability=0.3) != 150
    assert 0.2 < pen_marks.flatten(1).any(1).float().mean() < 0.4
    assert torch.equal(draw_pen_marks(images, landmarks.expand(400, -1, -1) / 4, seeded(6), probability=0), images)


def test_a_face_that_is_not_known_spares_the_others(images, landmarks):
    faces = landmarks.repeat(40, 1, 1)
    whole = draw_pen_marks(images, faces, seeded(7))
    faces[3, 5] = torch.nan
    holed = draw_pen_marks(images, faces, seeded(7))
    assert torch.equal(holed[3], images[3])
    others = torch.arange(40) != 3
    assert torch.equal(holed[others], whole[others])


def test_it_draws_on_the_device_of_the_images(device, images, landmarks):
    pen_marks = draw_pen_marks(images[:4].to(device), landmarks.expand(4, -1, -1), seeded(8))
    assert pen_marks.device.type == device.type
    expected = draw_pen_marks(images[:4], landmarks.expand(4, -1, -1), seeded(8)).int()
    assert ((pen_marks.cpu().int() - expected).abs() > 2).float().mean() < 1e-3
