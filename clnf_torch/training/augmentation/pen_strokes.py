"""Where a surgeon's pen goes on a face: along its folds and edges, from place to place, around and across places."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from clnf_torch.geometry.landmarks68 import NUM_LANDMARKS
from clnf_torch.training.augmentation.facial_curves import FACIAL_CURVES, curve_ranges, curve_weights
from clnf_torch.training.augmentation.random import Sampler

# Points of a stroke: curves, and small marks made of straight lines
LONG, SHORT = 33, 5
# The face's upward direction is from the second pair to the first
NOSE_TIP, UP = 30, ((27, 28), (33, 51))


@dataclass(frozen=True, kw_only=True)
class Strokes:
    """Strokes with P points each, S on each of B faces."""

    points: Tensor  # (B, S, P, 2) pixels (x, y)
    drawn: Tensor  # (B, S) bool: which of them are drawn at all


@dataclass(frozen=True, kw_only=True)
class Faces:
    """The faces that are drawn on."""

    landmarks: Tensor  # (B, 68, 2) float32 pixels (x, y)
    size: Tensor  # (B, 1, 1, 1) root mean square distance of the landmarks from their middle, pixels
    up: Tensor  # (B, 1, 1, 2) from the mouth to the brows, one size long
    busy: Tensor  # (B, 1) 0 to 1: how much is drawn

    @staticmethod
    def of(landmarks: Tensor, busy: Tensor) -> "Faces":
        """Faces with landmarks (B, 68, 2), drawn on so much (B,)."""
        away = landmarks - landmarks.mean(1, keepdim=True)
        size = away.square().sum(-1).mean(1).sqrt()[:, None, None, None]
        high, low = (landmarks[:, list(pair)].mean(1) for pair in UP)
        up = torch.nn.functional.normalize(high - low, dim=1)[:, None, None] * size
        return Faces(landmarks=landmarks, size=size, up=up, busy=busy[:, None])


def long_strokes(faces: Faces, sampler: Sampler) -> Strokes:
    """Lines along folds and edges, arcs from place to place and rings around places, LONG points each."""
    return _joined([follow_curves(faces, sampler), arcs(faces, sampler, 6), rings(faces, sampler, 4, 3)])


def short_strokes(faces: Faces, sampler: Sampler) -> Strokes:
    """Crosses, hatchings and arrows, SHORT points each."""
    return _joined([crosses(faces, sampler, 5), hatchings(faces, sampler, 2, 6), arrows(faces, sampler, 3)])


def _joined(parts: Sequence[Strokes]) -> Strokes:
    """All strokes of several kinds."""
    return Strokes(
        points=torch.cat([part.points for part in parts], 1), drawn=torch.cat([part.drawn for part in parts], 1)
    )


def follow_curves(faces: Faces, sampler: Sampler) -> Strokes:
    """Lines along `FACIAL_CURVES`, each moved, cut at its ends and drawn by a hand that trembles."""
    rows, count = len(faces.landmarks), len(FACIAL_CURVES)
    curves = torch.einsum("cpn,bnk->bcpk", curve_weights(LONG).to(faces.landmarks), faces.landmarks)
    low, high = curve_ranges().to(faces.landmarks).unbind(1)
    inward, up = (low + (high - low) * sampler.uniform(0, 1, rows, count, 2))[..., None, None].unbind(2)
    curves = curves + inward * (faces.landmarks[:, None, None, NOSE_TIP] - curves) + up * faces.up
    first = sampler.uniform(-0.8, 0.4, rows, count, 1).clamp_min(0)
    last = sampler.uniform(0.6, 1.8, rows, count, 1).clamp_max(1)
    return Strokes(
        points=tremble(cut(curves, first, last), faces, sampler),
        drawn=sampler.bernoulli(0.45 * faces.busy, rows, count),
    )


def cut(curves: Tensor, first: Tensor, last: Tensor) -> Tensor:
    """The part of curves (B, S, P, 2) from one place to another, each (B, S, 1), 0 to 1, again with P points."""
    points = curves.shape[2]
    place = (first + (last - first) * torch.linspace(0, 1, points, device=curves.device)) * (points - 1)
    left = place.floor().clamp_max(points - 2)
    index = left.long()[..., None].expand(-1, -1, -1, 2)
    return torch.lerp(curves.gather(2, index), curves.gather(2, index + 1), (place - left)[..., None])


def tremble(curves: Tensor, faces: Faces, sampler: Sampler) -> Tensor:
    """Curves (B, S, P, 2) that sway slowly off their way, and some of which are waves."""
    rows, count, points, _ = curves.shape
    along = torch.linspace(0, 1, points, device=curves.device)[:, None]
    slow, wave = sampler.uniform(0.2, 1.5, rows, count, 1), sampler.uniform(3, 7, rows, count, 1)
    turn = 2 * torch.pi * torch.cat([slow, wave], 2)
    start = sampler.uniform(0, 2 * torch.pi, rows, count, 2)
    high = torch.stack([sampler.normal(0.05, rows, count, 2), sampler.normal(0.04, rows, count, 2)], 3)
    # (B, S, slow and wave, 2)
    high = torch.stack([high[..., 0], high[..., 1] * sampler.bernoulli(0.1, rows, count, 1)], 2)
    sway = torch.sin(along * turn[:, :, None] + start[:, :, None]) @ high
    return curves + sway * faces.size


def places(faces: Faces, sampler: Sampler, count: int) -> Tensor:
    """Places all over a face, some on the forehead, pixels, shape (B, count, 1, 2)."""
    rows = len(faces.landmarks)
    corners = sampler.integers(NUM_LANDMARKS, rows, count * 3)[..., None].expand(-1, -1, 2)
    weight = sampler.uniform(0.02, 1, rows, count, 3).log().neg()
    weight = weight / weight.sum(2, keepdim=True)
    place = (faces.landmarks.gather(1, corners).view(rows, count, 3, 2) * weight[..., None]).sum(2, keepdim=True)
    lift = sampler.uniform(0.2, 1.2, rows, count, 1, 1) * sampler.bernoulli(0.2, rows, count, 1, 1)
    return place + lift * faces.up + sampler.normal(0.1, rows, count, 1, 2) * faces.size


def directions(sampler: Sampler, *shape: int) -> Tensor:
    """Directions (*shape, 2) of length 1."""
    angle = sampler.uniform(0, 2 * torch.pi, *shape)
    return torch.stack([angle.cos(), angle.sin()], -1)


def across(direction: Tensor) -> Tensor:
    """Directions (..., 2) turned by a quarter."""
    return torch.stack([-direction[..., 1], direction[..., 0]], -1)


def arcs(faces: Faces, sampler: Sampler, count: int) -> Strokes:
    """Lines from place to place, bent to one side."""
    rows = len(faces.landmarks)
    start, end = places(faces, sampler, count), places(faces, sampler, count)
    bend = across(end - start) * sampler.normal(0.3, rows, count, 1, 1)
    t = torch.linspace(0, 1, LONG, device=start.device)[:, None]
    points = torch.lerp(start, end, t) + 4 * t * (1 - t) * bend
    return Strokes(points=tremble(points, faces, sampler), drawn=sampler.bernoulli(0.35 * faces.busy, rows, count))


def rings(faces: Faces, sampler: Sampler, count: int, most: int) -> Strokes:
    """Ellipses around places, up to so many around one; some are not closed."""
    rows = len(faces.landmarks)
    longer, shorter = sampler.log_uniform(0.06, 0.4, rows, count, 1, 1), sampler.uniform(0.4, 1, rows, count, 1, 1)
    turns = sampler.uniform(0.7, 1.3, rows, count, 1).clamp_max(1)
    angle = turns * torch.linspace(0, 2 * torch.pi, LONG, device=sampler.device)
    axis = directions(sampler, rows, count, 1)
    around = axis * angle.cos()[..., None] + across(axis) * angle.sin()[..., None] * shorter
    ring = torch.arange(most, device=sampler.device)
    grown = 1 + sampler.uniform(0.3, 0.8, rows, count, 1) * ring
    around = (longer * around)[:, :, None] * grown[..., None, None] * faces.size[..., None]
    points = places(faces, sampler, count)[:, :, None] + around
    # Mostly a single one
    last = (sampler.integers(2 * most, rows, count, 1) - most).clamp_min(0)
    drawn = sampler.bernoulli(0.3 * faces.busy, rows, count)[..., None] & (ring <= last)
    return Strokes(points=tremble(points.flatten(1, 2), faces, sampler), drawn=drawn.flatten(1, 2))


def straight(start: Tensor, end: Tensor) -> Tensor:
    """Straight strokes (..., SHORT, 2) between points (..., 2)."""
    return torch.lerp(start[..., None, :], end[..., None, :], torch.linspace(0, 1, SHORT, device=start.device)[:, None])


def crosses(faces: Faces, sampler: Sampler, count: int) -> Strokes:
    """Two lines across each other."""
    rows = len(faces.landmarks)
    center, size = places(faces, sampler, count), faces.size[..., 0]
    arm = directions(sampler, rows, count) * sampler.log_uniform(0.04, 0.2, rows, count, 1) * size
    arms = torch.stack([arm, across(arm) * sampler.uniform(0.6, 1.4, rows, count, 1)], 2)
    points = straight(center - arms, center + arms)
    drawn = sampler.bernoulli(0.4 * faces.busy, rows, count)[..., None].expand(-1, -1, 2)
    return Strokes(points=points.flatten(1, 2), drawn=drawn.flatten(1, 2))


def hatchings(faces: Faces, sampler: Sampler, count: int, most: int) -> Strokes:
    """Lines side by side, up to so many."""
    rows = len(faces.landmarks)
    line = directions(sampler, rows, count, 1) * sampler.log_uniform(0.1, 0.5, rows, count, 1, 1) * faces.size
    number = torch.arange(most, device=sampler.device)
    step = across(line) * sampler.uniform(0.2, 0.6, rows, count, 1, 1) * number[:, None]
    end = places(faces, sampler, count) + step
    points = straight(end - line / 2, end + line * sampler.uniform(0.3, 0.7, rows, count, most, 1))
    drawn = sampler.bernoulli(0.25 * faces.busy, rows, count)[..., None] & (
        number <= sampler.integers(most, rows, count, 1)
    )
    return Strokes(points=points.flatten(1, 2), drawn=drawn.flatten(1, 2))


def arrows(faces: Faces, sampler: Sampler, count: int) -> Strokes:
    """A shaft and two barbs at its end."""
    rows = len(faces.landmarks)
    shaft = directions(sampler, rows, count) * sampler.log_uniform(0.15, 0.7, rows, count, 1) * faces.size[..., 0]
    back = -shaft * sampler.uniform(0.2, 0.4, rows, count, 1)
    aside = across(back) * sampler.uniform(0.4, 1, rows, count, 1)
    tip = places(faces, sampler, count)
    points = straight(tip, tip + torch.stack([-shaft, back + aside, back - aside], 2))
    drawn = sampler.bernoulli(0.2 * faces.busy, rows, count)[..., None].expand(-1, -1, 3)
    return Strokes(points=points.flatten(1, 2), drawn=drawn.flatten(1, 2))
