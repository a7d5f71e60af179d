"""Mouths opened in photographs: lips and jaw moved apart by a thin-plate spline, teeth, tongue and dark drawn between.

People in studio portraits keep their mouths shut, and networks that saw no other lips set the inner ones between the
teeth of everyone who smiles. Here the lips are a photograph's, what lies between is drawn, and where the lips end
is known.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from clnf_torch.geometry.landmarks68 import INNER_LIPS, MOUTH_CORNERS, OUTER_EYE_CORNERS
from clnf_torch.training.augmentation.moved_landmarks import move_landmarks, pixel_positions
from clnf_torch.training.augmentation.random import Sampler
from clnf_torch.training.data.crops import FaceCrops

# Outer edge, then inner edge
UPPER = (49, 50, 51, 52, 53, 60, 61, 62, 63, 64)
LOWER = (55, 56, 57, 58, 59, 65, 66, 67)
# Edges of the opening, corner to corner
UPPER_EDGE, LOWER_EDGE = (60, 61, 62, 63, 64), (60, 67, 66, 65, 64)
# How far landmarks of the jaw go with the lower lip
JAW = {4: 0.1, 5: 0.35, 6: 0.75, 7: 0.95, 8: 1.0, 9: 0.95, 10: 0.75, 11: 0.35, 12: 0.1}
# Faces that are worked on together
BATCH = 32


@dataclass(frozen=True, kw_only=True)
class OpenMouth:
    """How mouths are opened; lengths are shares of the distance of the outer eye corners."""

    smile: float = 0.6  # share of smiles; the others speak, shout or wonder
    smile_gap: tuple[float, float] = (0.02, 0.2)  # between the lips
    speech_gap: tuple[float, float] = (0.03, 0.35)
    widening: tuple[float, float] = (0.0, 0.12)  # of each corner in a smile
    narrowing: tuple[float, float] = (-0.02, 0.06)  # of each corner in speech
    raising: float = 0.05  # of the corners in a smile, at most
    shut: float = 0.03  # wider mouths are open already, and stay as they are


@dataclass(frozen=True)
class _Frame:
    """Where B mouths are: coordinates along and across, in units of the distance of the outer eye corners."""

    middle: Tensor  # (B, 1, 2) pixels
    axes: Tensor  # (B, 2, 2) columns: to the face's left corner, and to the chin
    unit: Tensor  # (B, 1, 1) pixels
    reach: Tensor  # (B, 1) half the width of the mouth

    @classmethod
    def of(cls, landmarks: Tensor) -> "_Frame":
        """That of landmarks (B, 68, 2)."""
        first, last = (landmarks[:, corner] for corner in MOUTH_CORNERS)
        length = (last - first).norm(dim=-1, keepdim=True)
        along = (last - first) / length
        left, right = (landmarks[:, corner] for corner in OUTER_EYE_CORNERS)
        unit = (right - left).norm(dim=-1, keepdim=True)
        down = torch.stack((-along[:, 1], along[:, 0]), -1)
        axes = torch.stack((along, down), -1)
        return cls((first + last)[:, None] / 2, axes, unit[:, None], length / unit / 2)

    def place(self, points: Tensor) -> Tensor:
        """Pixels (B, N, 2) in the mouth's coordinates."""
        return (points - self.middle) @ self.axes / self.unit

    def pixels(self, points: Tensor) -> Tensor:
        """The way back."""
        return points * self.unit @ self.axes.mT + self.middle


def open_mouths(faces: FaceCrops, sampler: Sampler, config: OpenMouth | None = None) -> FaceCrops:
    """The faces with their mouths open, in ways of chance; those whose mouths are open already are left out.

    Args:
        faces: F faces, lips shut.
        sampler: Gives the random numbers.
        config: Settings.

    Returns:
        As many faces or fewer.
    """
    config = config or OpenMouth()
    upper, lower = _Frame.of(faces.landmarks).place(faces.landmarks[:, INNER_LIPS])[..., 1].unbind(1)
    faces = faces[lower - upper <= config.shut]
    gray, landmarks = [faces.gray[:0]], [faces.landmarks[:0]]
    for rows in torch.arange(len(faces), device=faces.gray.device).split(BATCH):
        moved, smile = _moved(faces.landmarks[rows], sampler, config)
        gray.append(_drawn(move_landmarks(faces.gray[rows], faces.landmarks[rows], moved), moved, smile, sampler))
        landmarks.append(moved)
    return FaceCrops(gray=torch.cat(gray), landmarks=torch.cat(landmarks))


def _moved(landmarks: Tensor, sampler: Sampler, config: OpenMouth) -> tuple[Tensor, Tensor]:
    """Landmarks (B, 68, 2) of the faces with open mouths, and which of them smile, shape (B,)."""
    count, frame = len(landmarks), _Frame.of(landmarks)
    points = frame.place(landmarks)
    smile = sampler.bernoulli(config.smile, count)
    gap = torch.where(smile, sampler.uniform(*config.smile_gap, count), sampler.uniform(*config.speech_gap, count))
    widening = torch.where(smile, sampler.uniform(*config.widening, count), -sampler.uniform(*config.narrowing, count))
    raising = smile * sampler.uniform(0, config.raising, count)
    # The upper lip rises in a smile, the lower one falls with the jaw in speech
    upper = gap * torch.where(smile, sampler.uniform(0.3, 0.8, count), sampler.uniform(0.0, 0.3, count))
    lower = gap - upper
    jaw = lower * torch.where(smile, sampler.uniform(0.0, 0.5, count), sampler.uniform(0.6, 1.1, count))
    along = points[..., 0] / frame.reach
    bow = (1 - along.square()).clamp(min=0).sqrt()
    lips = torch.zeros_like(along)
    lips[:, UPPER], lips[:, LOWER] = -upper[:, None], lower[:, None]
    shift = torch.zeros_like(points)
    shift[..., 1] = lips * bow
    mouth = slice(48, 68)
    shift[:, mouth, 0] += widening[:, None] * along[:, mouth]
    shift[:, mouth, 1] -= raising[:, None] * along[:, mouth].square()
    shift[:, list(JAW), 1] += jaw[:, None] * points.new_tensor(list(JAW.values()))
    # Stretched lips are thinner
    thinner = 1 - torch.where(smile, sampler.uniform(0.0, 0.35, count), 0)[:, None]
    moved = points + shift
    for outer, inner in ((UPPER[:5], (60, 61, 62, 63, 64)), (LOWER[:5], (64, 65, 66, 67, 60))):
        moved[:, outer, 1] = moved[:, inner, 1] + (moved[:, outer, 1] - moved[:, inner, 1]) * thinner
    return frame.pixels(moved), smile


def _drawn(gray: Tensor, landmarks: Tensor, smile: Tensor, sampler: Sampler) -> Tensor:
    """Crops (B, S, S), uint8, with what is seen between the lips of landmarks (B, 68, 2)."""
    count, side, frame = len(gray), gray.shape[-1], _Frame.of(landmarks)
    along, across = frame.place(pixel_positions(landmarks, side, side)).unbind(-1)  # (B, S S)
    points = frame.place(landmarks)
    top, bottom = (_line(points[:, edge], along) for edge in (UPPER_EDGE, LOWER_EDGE))
    soft = 0.5 / frame.unit[:, 0]  # half a pixel
    inside = ((across - top) / soft).sigmoid() * ((bottom - across) / soft).sigmoid()
    inside = inside * (along.abs() < frame.reach)
    skin = gray.flatten(1).gather(1, _pixel_of(landmarks[:, 33], side))

    def each(low: float, high: float) -> Tensor:
        return sampler.uniform(low, high, count)[:, None]

    seen = (skin * each(0.05, 0.45)).expand_as(along)
    # The tongue lies on the lower lip
    tongue = sampler.bernoulli(0.4, count)[:, None] * ((across - bottom + each(0.03, 0.12)) / 0.01).sigmoid()
    seen = torch.lerp(seen, skin * each(0.4, 0.9), tongue)
    # Teeth narrow towards the corners, where it is dark
    width, gaps = each(0.055, 0.09), each(0.0, 0.3)
    shade = 1 - gaps * (torch.pi * along / width + each(0, 3.2)).cos().abs().pow(12)
    shade = shade * (1 - each(0.3, 1.0) * (along.abs() / frame.reach).pow(3))
    enamel = (skin * each(0.9, 1.6) + each(0, 60)).clamp(max=250) * shade
    shown = torch.where(smile, 0.95, 0.6)
    upper = sampler.bernoulli(shown, count)[:, None] * ((top + each(0.05, 0.13) - across) / 0.006).sigmoid()
    lower = sampler.bernoulli(0.3, count)[:, None] * ((across - bottom + each(0.02, 0.08)) / 0.006).sigmoid()
    seen = torch.lerp(seen, enamel, torch.maximum(upper, lower))
    drawn = torch.lerp(gray.flatten(1), seen, inside)
    return drawn.view_as(gray).round().clamp(0, 255).to(torch.uint8)


def _line(points: Tensor, along: Tensor) -> Tensor:
    """Heights (B, K) of a line through points (B, P, 2), from left to right, at places (B, K)."""
    x, y = points.unbind(-1)
    after = torch.searchsorted(x.contiguous(), along.contiguous()).clamp(1, points.shape[1] - 1)
    x0, x1, y0, y1 = (values.gather(1, index) for values in (x, y) for index in (after - 1, after))
    return y0 + ((along - x0) / (x1 - x0).clamp(min=1e-6)).clamp(0, 1) * (y1 - y0)


def _pixel_of(points: Tensor, side: int) -> Tensor:
    """Number of the pixel at points (B, 2) of images S pixels wide, shape (B, 1)."""
    near = points.round().long().clamp(0, side - 1)
    return (near[:, 1] * side + near[:, 0])[:, None]
