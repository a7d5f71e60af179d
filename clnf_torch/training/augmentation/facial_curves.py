"""Facial curves: folds and edges of a face that pens follow, as Catmull-Rom splines through its landmarks."""

import functools
from dataclasses import dataclass

import torch
from torch import Tensor

from clnf_torch.geometry.landmarks68 import MIRROR, NUM_LANDMARKS


@dataclass(frozen=True)
class FacialCurve:
    """A line that follows landmarks.

    Args:
        through: Landmarks; a pair stands for the middle between two.
        inward: How far towards the nose tip it is moved, at least and at most, as a share of the way.
        up: How far it is moved up, at least and at most, in sizes of the face.
    """

    through: tuple[int | tuple[int, int], ...]
    inward: tuple[float, float] = (0, 0)
    up: tuple[float, float] = (-0.05, 0.05)


def _both(*curves: FacialCurve) -> tuple[FacialCurve, ...]:
    """Curves and their mirror images."""
    return (*curves, *(FacialCurve(tuple(map(_other, curve.through)), curve.inward, curve.up) for curve in curves))


def _other(landmark: int | tuple[int, int]) -> int | tuple[int, int]:
    """A landmark, or a pair, on the other side of the face."""
    if isinstance(landmark, tuple):
        return MIRROR[landmark[0]], MIRROR[landmark[1]]
    return MIRROR[landmark]


FACIAL_CURVES = (
    *_both(
        # Jaw
        FacialCurve((0, 1, 2, 3, 4, 5, 6, 7, 8), inward=(-0.05, 0.3)),
        FacialCurve((2, 4, 6), inward=(0.1, 0.5)),
        # Brow
        FacialCurve((17, 18, 19, 20, 21), up=(-0.15, 0.3)),
        # Forehead above it
        FacialCurve((17, 19, 21), up=(0.3, 0.9)),
        # Upper lid
        FacialCurve((36, 37, 38, 39), up=(0.02, 0.25)),
        # Lower lid
        FacialCurve((36, 41, 40, 39), up=(-0.35, -0.02)),
        # Tear trough
        FacialCurve(((39, 27), (40, 31), (41, 2)), up=(-0.2, 0.1)),
        # crow's feet
        FacialCurve((36, (0, 36), (17, 0)), up=(-0.1, 0.1)),
        # Nasolabial fold
        FacialCurve((31, (31, 48), (48, 4), (48, 5)), inward=(-0.1, 0.2)),
        # Below the corner of the mouth
        FacialCurve((48, (48, 6), (59, 7)), inward=(-0.1, 0.1)),
        # Cheekbone
        FacialCurve((31, (31, 2), (36, 1), 0), up=(-0.2, 0.2)),
        # Hollow of the cheek
        FacialCurve((1, (2, 31), (3, 48), 4), inward=(0, 0.2)),
        # Side of the nose
        FacialCurve((27, (28, 39), (29, 31), 31), inward=(-0.1, 0.1)),
    ),
    # Forehead
    FacialCurve((17, 19, (21, 22), 24, 26), up=(0.4, 1.1)),
    # Midline
    FacialCurve(((21, 22), 27, 28, 29, 30, 33, 51, 62, 57, 8), up=(-0.1, 0.3)),
    # Below the nose
    FacialCurve((31, 32, 33, 34, 35), up=(-0.12, 0.1)),
    # Above the mouth
    FacialCurve((48, 50, 51, 52, 54), up=(0, 0.2)),
    # Below the mouth
    FacialCurve((48, 58, 57, 56, 54), up=(-0.3, 0)),
    # Chin
    FacialCurve((6, (7, 58), (8, 57), (9, 56), 10), up=(-0.2, 0.1)),
    # Root of the nose
    FacialCurve((39, 27, 42), up=(-0.15, 0.2)),
    # Below the chin
    FacialCurve((4, 6, 8, 10, 12), up=(-0.35, -0.05)),
)


@functools.cache
def curve_weights(points: int) -> Tensor:
    """Weights of all landmarks in P points of each of `FACIAL_CURVES`, (C, P, 68); Catmull-Rom splines are linear."""
    return torch.stack([_spline(len(curve.through), points) @ _anchors(curve) for curve in FACIAL_CURVES])


@functools.cache
def curve_ranges() -> Tensor:
    """How far `FACIAL_CURVES` are moved, (C, 2, 2): at least and at most; inward and up."""
    return torch.tensor([list(zip(curve.inward, curve.up, strict=True)) for curve in FACIAL_CURVES])


def _anchors(curve: FacialCurve) -> Tensor:
    """Weights of all landmarks in the anchors of a curve, (A, 68)."""
    weights = torch.zeros(len(curve.through), NUM_LANDMARKS)
    for row, anchor in enumerate(curve.through):
        weights[row, list(anchor) if isinstance(anchor, tuple) else [anchor]] = 1
    return weights / weights.sum(1, keepdim=True)


def _spline(anchors: int, points: int) -> Tensor:
    """Weights of A anchors in P points of a Catmull-Rom spline through them, (P, A)."""
    place = torch.linspace(0, anchors - 1, points)
    left = place.floor().clamp_max(anchors - 2)
    t = place - left
    # Of the anchors before, left, right and behind; those that are missing go on straight
    basis = 0.5 * torch.stack([-t + 2 * t**2 - t**3, 2 - 5 * t**2 + 3 * t**3, t + 4 * t**2 - 3 * t**3, t**3 - t**2], 1)
    straight = torch.zeros(anchors + 2, anchors)
    straight[1:-1] = torch.eye(anchors)
    straight[0] = 2 * straight[1] - straight[2]
    straight[-1] = 2 * straight[-2] - straight[-3]
    return torch.einsum("pk,pka->pa", basis, straight[left.long()[:, None] + torch.arange(4)])
