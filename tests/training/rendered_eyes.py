"""Rendered faces that are nothing but two eyes, drawn here."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from clnf_torch.geometry.landmarks68 import EYE_CORNERS
from clnf_torch.training.synthetic.eyeball_mesh import IRIS_ANGLES, PUPIL_ANGLES
from clnf_torch.training.synthetic.face_shards import RenderedFaces
from tests.factories import seeded

FOCAL = 2.0  # pixels per millimetre where the eyes are


def eye(x: float, look: float, opening: float) -> Tensor:
    """28 points (28, 3) mm of an eye whose middle is at x: OpenFace's order, iris and pupil moved sideways."""
    ring = [torch.tensor(angles) for angles in (IRIS_ANGLES, PUPIL_ANGLES)]
    iris, pupil = (torch.stack((r * a.cos() + look, r * a.sin()), 1) for r, a in zip((6, 2.5), ring, strict=True))
    turn = torch.linspace(math.pi, 3 * math.pi, 13)[:-1]
    lids = torch.stack((15 * turn.cos(), opening * turn.sin()), 1)
    flat = torch.cat((iris, lids, pupil))
    return torch.cat((flat, 0.02 * flat[:, :1] ** 2), 1) + torch.tensor([x, 0, 0])


def rendered_eyes(count: int = 6) -> RenderedFaces:
    """Faces that are nothing but two eyes, drawn as dark discs on gray."""
    images, points = torch.full((count, 3, 256, 256), 150, dtype=torch.uint8), []
    grid = torch.stack(torch.meshgrid(torch.arange(256.0), torch.arange(256.0), indexing="xy"), -1)
    for row in range(count):
        look, opening = -3 + row, 4 + row % 3
        points.append(torch.stack((eye(-32, look, opening), eye(32, look, opening))))
        for side in points[-1]:
            disc = (grid - (side[:8, :2].mean(0) * FOCAL + 127.5)).norm(dim=-1) < 6 * FOCAL
            images[row, :, disc] = 30
    seen = torch.stack(points)
    return RenderedFaces(
        images=images, depth=torch.zeros(count, 128, 128), landmarks=torch.zeros(count, 68, 2),
        contour=torch.zeros(count, 68, 2), points=torch.zeros(count, 68, 3),
        visible=torch.ones(count, 68, dtype=torch.bool), eyes=seen[..., :2] * FOCAL + 127.5,
        eye_points=seen + torch.tensor([0.0, 0, 1000]), eyes_visible=torch.ones(count, 2, 28, dtype=torch.bool),
        gaze=torch.zeros(count, 2, 3), rotation=torch.eye(3).expand(count, 3, 3),
        translation=torch.tensor([0.0, 0, 1000]).expand(count, 3), camera=torch.zeros(count, 3),
    )  # fmt: skip


def looking(count: int = 8) -> RenderedFaces:
    """Rendered eyes in faces that have landmarks, and look where their irises are."""
    faces = rendered_eyes(count)
    landmarks = 40 * torch.randn(68, 2, generator=seeded(4))
    corners = [corner for eye in EYE_CORNERS for corner in eye]
    landmarks[corners] = torch.tensor([[-47.0, 0.0], [-17.0, 0.0], [17.0, 0.0], [47.0, 0.0]])
    aside = (faces.eye_points[:, :, :8, 0].mean(2) - faces.eye_points[:, :, 8:20, 0].mean(2)) / 12
    gaze = torch.stack((aside, torch.zeros_like(aside), -(1 - aside.square()).sqrt()), -1)
    points = torch.cat((landmarks, torch.zeros(68, 1)), 1).expand(count, 68, 3)
    return replace(
        faces,
        contour=(landmarks * FOCAL + 127.5).expand(count, 68, 2),
        points=points + faces.translation[:, None],
        gaze=gaze,
    )
