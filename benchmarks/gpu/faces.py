"""Made-up faces: painted from the landmarks of a shape model, well enough for the face detector and the validator."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

SIDE = 192  # of a painted image, pixels
SCALE = 0.7  # of a painted face, pixels per millimetre
UNIT = 60 * SCALE  # half the width of a face, pixels


@dataclass(frozen=True, kw_only=True)
class PaintedFaces:
    """Faces whose landmarks are known, one per image."""

    images: Tensor  # (F, S, S) gray, uint8
    landmarks: Tensor  # (F, 68, 2) pixels (x, y), float32

    @property
    def boxes(self) -> Tensor:
        """Extents of the landmarks, x, y, width, height in pixels, shape (F, 4)."""
        low = self.landmarks.amin(1)
        return torch.cat((low, self.landmarks.amax(1) - low), dim=-1)


def paint_faces(mean: Tensor, modes: Tensor, variances: Tensor, count: int, seed: int = 0) -> PaintedFaces:
    """Faces that a shape model holds for likely, each turned and bent a little another way.

    Args:
        mean: Mean shape, mm, shape (68, 3).
        modes: Modes of variation, shape (M, 68, 3).
        variances: Their variances, shape (M,).
        count: Number of faces F.
        seed: Of the randomness.
    """
    rng = torch.Generator().manual_seed(seed)
    local = 0.6 * variances.sqrt() * torch.randn(count, len(variances), generator=rng)
    points = mean + torch.einsum("fm,mnc->fnc", local, modes)
    turned = torch.einsum("fij,fnj->fni", _rotations(0.12 * torch.randn(count, 3, generator=rng)), points)
    middle = torch.tensor([SIDE / 2, 0.57 * SIDE]) + 2 * torch.randn(count, 1, 2, generator=rng)
    landmarks = SCALE * turned[..., :2] + middle
    return PaintedFaces(images=torch.stack([paint_face(one) for one in landmarks]), landmarks=landmarks)


def paint_face(landmarks: Tensor) -> Tensor:
    """A face with its landmarks (68, 2) at these pixels; gray, uint8, shape (S, S)."""
    canvas = _background()
    jaw, left_brow, right_brow, lips = landmarks[:17], landmarks[17:22], landmarks[22:27], landmarks[48:60]
    middle, half = (jaw[0] + jaw[16]) / 2, (jaw[16] - jaw[0]) / 2
    up = landmarks[17:27].mean(0) - jaw[8]
    arc = torch.linspace(0, math.pi, 13)[1:-1, None]
    forehead = middle + arc.cos() * half + 0.9 * arc.sin() * up
    hair = middle + 1.12 * (arc.cos() * half + arc.sin() * up)
    _fill(canvas, torch.stack((jaw[5], jaw[11], jaw[11] - 0.9 * up, jaw[5] - 0.9 * up)), 140.0, 0.04)
    _fill(canvas, torch.cat((jaw[:1] - 0.08 * half, jaw[16:] + 0.08 * half, hair)), 45.0, 0.03)
    _fill(canvas, torch.cat((jaw, forehead)), _skin(landmarks[30], half.norm(), up.norm()), 0.02)
    for eye in (landmarks[36:42], landmarks[42:48]):
        _paint_eye(canvas, eye)
    for brow in (left_brow, right_brow):
        _fill(canvas, torch.cat((brow + 0.045 * up, (brow - 0.045 * up).flip(0))), 60.0, 0.012)
    _paint_nose(canvas, landmarks[27:36])
    _fill(canvas, lips, 120.0, 0.015)
    _fill(canvas, landmarks[60:68], 60.0, 0.012)
    _shade(canvas, landmarks[57] - 0.06 * up, (0.2, 0.04), -25.0)
    return canvas.clamp(0, 255).round().to(torch.uint8)


def _paint_eye(canvas: Tensor, eye: Tensor) -> None:
    """Socket, white, iris and upper lid of an eye (6, 2)."""
    middle, width = eye.mean(0), float((eye[3] - eye[0]).norm())
    _shade(canvas, middle, (0.8 * width / UNIT, 0.45 * width / UNIT), -55.0)
    opened = middle + 1.1 * (eye - middle)
    _fill(canvas, opened, 190.0, 0.01)
    x, y = _pixels()
    iris = _soft((x - middle[0]).hypot(y - middle[1]) - 0.22 * width, 0.01) * _soft(_distance(opened), 0.01)
    canvas.lerp_(torch.full_like(canvas, 30.0), iris)
    lid = eye[:4]
    _fill(canvas, torch.cat((lid, lid.flip(0) - torch.tensor([0.0, 0.1 * width]))), 60.0, 0.01)


def _paint_nose(canvas: Tensor, nose: Tensor) -> None:
    """Light on the bridge and the tip of a nose (9, 2), shadows below it."""
    tip, base = nose[3], nose[6]
    _shade(canvas, tip, (0.1, 0.1), 25.0)
    _shade(canvas, nose[1], (0.05, 0.2), 15.0)
    for side in (nose[4], nose[8]):
        _shade(canvas, side, (0.06, 0.05), -45.0)
    for nostril in (nose[5], nose[7]):
        _shade(canvas, nostril, (0.045, 0.03), -80.0)
    _shade(canvas, base + 0.3 * (base - tip), (0.15, 0.04), -30.0)


def _background() -> Tensor:
    """Something uneven, shape (S, S)."""
    x, y = _pixels()
    return 90 + 20 * torch.sin(x / 21) * torch.cos(y / 17)


def _skin(middle: Tensor, half_width: Tensor, height: Tensor) -> Tensor:
    """Gray levels of a lit face around its middle (2,), darker towards its edge, shape (S, S)."""
    x, y = _pixels()
    across, down = (x - middle[0]) / half_width, (y - middle[1]) / height
    return 205 - 55 * (across.square() + 0.8 * down.square()) - 10 * across


def _fill(canvas: Tensor, polygon: Tensor, level: Tensor | float, softness: float) -> None:
    """Paints a polygon (K, 2) with a gray level; its edge fades over so many `UNIT`."""
    canvas.lerp_(torch.as_tensor(level).expand_as(canvas), _soft(_distance(polygon), softness))


def _shade(canvas: Tensor, middle: Tensor, width: tuple[float, float], amount: float) -> None:
    """Adds a Gaussian spot around a point (2,), so many `UNIT` wide and high."""
    x, y = _pixels()
    across, down = (x - middle[0]) / (width[0] * UNIT), (y - middle[1]) / (width[1] * UNIT)
    canvas.add_(amount * (-0.5 * (across.square() + down.square())).exp())


def _soft(distance: Tensor, softness: float) -> Tensor:
    """From 1 inside (negative distances) to 0 outside."""
    return torch.sigmoid(-distance / (softness * UNIT))


def _distance(polygon: Tensor) -> Tensor:
    """Distance of every pixel from the edge of a polygon (K, 2), negative inside, shape (S, S)."""
    x, y = _pixels()
    point = torch.stack((x, y), -1)[..., None, :]
    start, along = polygon, polygon.roll(-1, 0) - polygon
    place = (((point - start) * along).sum(-1) / along.square().sum(-1).clamp_min(1e-9)).clamp(0, 1)
    away = (point - start - place[..., None] * along).norm(dim=-1).amin(-1)
    ends = start + along
    crossing = (start[:, 1] > y[..., None]) != (ends[:, 1] > y[..., None])
    slope = along[:, 0] / torch.where(along[:, 1] == 0, 1e-9, along[:, 1])
    left = x[..., None] < start[:, 0] + (y[..., None] - start[:, 1]) * slope
    inside = (crossing & left).sum(-1) % 2 == 1
    return torch.where(inside, -away, away)


def _pixels() -> tuple[Tensor, Tensor]:
    """Columns and rows of the canvas, each (S, S)."""
    steps = torch.arange(SIDE, dtype=torch.float32)
    return steps.expand(SIDE, SIDE), steps[:, None].expand(SIDE, SIDE)


def _rotations(angles: Tensor) -> Tensor:
    """Rotation matrices (F, 3, 3) of small turns about the axes (F, 3), radians."""
    zero = torch.zeros_like(angles[:, 0])
    x, y, z = angles.unbind(-1)
    turning = torch.stack((zero, -z, y, z, zero, -x, -y, x, zero), -1).view(-1, 3, 3)
    return torch.linalg.matrix_exp(turning)
