"""Rendered faces as annotated crops."""

from __future__ import annotations

from dataclasses import replace

import torch

from clnf_torch.geometry.landmarks68 import JAW, MIRROR
from clnf_torch.training.synthetic.rendered_crops import even_jaws, rendered_crops
from tests.factories import seeded
from tests.training.rendered_eyes import rendered_eyes


def marked_faces(count: int = 3):
    """Faces with a bright pixel at the 31st landmark."""
    faces = rendered_eyes(count)
    contour = 90 + 80 * torch.rand(count, 68, 2, generator=seeded(0))
    images = torch.zeros_like(faces.images)
    contour[:, 30] = contour[:, 30].round()
    for row, (x, y) in enumerate(contour[:, 30].long().tolist()):
        images[row, :, y - 1 : y + 2, x - 1 : x + 2] = 255
    return replace(faces, images=images, contour=contour)


def test_landmarks_lie_where_they_lay_in_the_picture():
    crops = rendered_crops([marked_faces(2), marked_faces(3)], 128)
    assert crops.gray.shape == (5, 128, 128)
    for gray, landmarks in zip(crops.gray, crops.landmarks, strict=True):
        bright = gray.float()
        grid = torch.stack(torch.meshgrid(torch.arange(128.0), torch.arange(128.0), indexing="xy"), -1)
        middle = (bright[..., None] * grid).sum((0, 1)) / bright.sum()
        torch.testing.assert_close(middle, landmarks[30], rtol=0, atol=0.1)


def test_hidden_faces_are_left_out():
    faces = marked_faces(3)
    visible = faces.visible.clone()
    visible[1, 20:] = False
    assert len(rendered_crops([replace(faces, visible=visible)], 64)) == 2
    assert len(rendered_crops([], 64)) == 0


def test_jaws_are_at_equal_distances_to_the_chin():
    landmarks = 100 * torch.rand(2, 68, 2, generator=seeded(1))
    turn = torch.linspace(torch.pi, 0, 17).square() / torch.pi
    landmarks[:, JAW] = 100 + 80 * torch.stack((turn.cos(), turn.sin()), -1)
    even = even_jaws(landmarks)
    assert torch.equal(even[:, JAW.stop :], landmarks[:, JAW.stop :])
    torch.testing.assert_close(even[:, 8], landmarks[:, 8])
    for side in (range(9), range(8, 17)):
        steps = even[:, side].diff(dim=1).norm(dim=-1)
        # Chords of a line with corners
        assert (steps.amax(1) - steps.amin(1) < 0.02 * steps.mean(1)).all()
    # The line before the first one is left
    assert ((even[:, [0, 16]] - landmarks[:, [0, 16]]).norm(dim=-1) > 2).all()
    mirrored = even_jaws(landmarks[:, MIRROR] * torch.tensor([-1.0, 1.0]))
    torch.testing.assert_close(mirrored[:, MIRROR] * torch.tensor([-1.0, 1.0]), even)


def test_crops_have_even_jaws():
    faces = marked_faces(2)
    found, wanted = rendered_crops([faces], 256).landmarks, even_jaws(faces.contour)
    found, wanted = (each - each.mean(1, keepdim=True) for each in (found, wanted))
    # Crops differ from pictures by place and size
    torch.testing.assert_close(found / found.std((1, 2), keepdim=True), wanted / wanted.std((1, 2), keepdim=True))
