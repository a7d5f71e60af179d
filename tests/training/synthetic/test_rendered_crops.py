"""Rendered faces as annotated crops."""

from __future__ import annotations

from dataclasses import replace

import torch

from clnf_torch.training.synthetic.rendered_crops import rendered_crops
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
