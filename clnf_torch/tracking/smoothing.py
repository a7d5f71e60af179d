"""Smoothing of tracked faces over time by a one-euro filter with a trend: what rests is held, what moves followed."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from clnf_torch.fitting.parts import PartFit
from clnf_torch.geometry.records import Rows, map_tensors
from clnf_torch.measures.gaze import EYEBALL_RADIUS
from clnf_torch.models.landmark_model import LandmarkModel
from clnf_torch.models.pdm import ShapeParams
from clnf_torch.pipeline.result import FitResult

# Cut-off frequencies, cycles per frame: of what rests, and how much is added for each millimetre per frame. They halve
# the jitter of a calm face, and keep the lag of real movements below a frame: docs/guide/track.md has the table.
MIN_CUTOFF, CUTOFF_PER_SPEED = 0.06, 0.025
# Of the speed that this is judged by
SPEED_CUTOFF = 0.1
# How much of what was not expected changes what is expected of the next frame. Even movements are met without lag then;
# more of it would go far beyond where a jerk ends: now by 3 % of the jerk.
TREND_WEIGHT = 0.007
# For the records of what made a table
FILTER = {
    "filter": "one-euro with a trend",
    "min_cutoff": MIN_CUTOFF,
    "cutoff_per_speed": CUTOFF_PER_SPEED,
    "speed_cutoff": SPEED_CUTOFF,
    "trend_weight": TREND_WEIGHT,
}
# Scale, three angles, two of the translation; and the directions of both eyes
GLOBALS, GAZE = 6, 6


Fit = FitResult | PartFit


@dataclass(frozen=True)
class SmoothedFaces(Rows):
    """What the filter knows of R faces with S numbers each; S is 0 where nothing is smoothed.

    Attributes:
        values: Smoothed numbers of the last frame (see `_values`), shape (R, S).
        speed: Their smoothed change per frame, shape (R, S).
        trend: The change that is expected of the next frame, shape (R, S).
        known: Faces that were found in the last frame, bool, shape (R,); the others begin anew.
    """

    values: Tensor
    speed: Tensor
    trend: Tensor
    known: Tensor

    @classmethod
    def none(cls, rows: int, size: int, like: Tensor) -> "SmoothedFaces":
        """So many faces of which nothing is known yet."""
        zeros = like.new_zeros(rows, size)
        return cls(zeros, zeros, zeros, torch.zeros(rows, dtype=torch.bool, device=like.device))


def smoothed_size(model: LandmarkModel) -> int:
    """How many numbers S of a face are smoothed: landmarks, pose and shape, of its parts too, and its gaze."""
    pdms = [model.pdm, *(part.model.pdm for part in model.parts)]
    gaze = 0 if model.gaze_network is None else GAZE
    return sum(2 * pdm.num_landmarks + GLOBALS + pdm.num_modes for pdm in pdms) + gaze


def smooth_faces(before: SmoothedFaces, faces: FitResult, found: Tensor) -> tuple[SmoothedFaces, FitResult]:
    """The faces of a frame, smoothed.

    Each number is filtered on its own, its cut-off frequency rising with its own speed. Speeds are millimetres of the
    face per frame, whatever its size in the image; those of angles, scale and modes are what points are moved by.
    Other than the filter of the source, which lags behind even movements too, this one expects that movements go on.

    Args:
        before: From the frame before, with rows of `SmoothedFaces.none` for new faces.
        faces: The fits, R rows, of the face and all parts.
        found: Faces that were found in this frame, bool, shape (R,).

    Returns:
        What the next frame needs, and the same faces with other landmarks and parameters. Those that were not found
        stay as they are; those that were not found in the frame before too, and begin anew.

    Source:
        Casiez, Roussel and Vogel, "1 euro filter: a simple speed-based low-pass filter for noisy input in interactive
        systems", CHI 2012.
    """
    records: list[Fit] = [faces, *faces.parts.values()]
    values = torch.cat([_values(one) for one in records], dim=-1)
    known = found & before.known
    valid = found & values.isfinite().all(-1)
    step = torch.cat([_wrapped(one, step) for one, step in _split(records, values - before.values)], dim=-1)
    millimetre = torch.cat([_millimetre(one) for one in records], dim=-1)
    behind, speed, trend = _filtered(step, before.speed, before.trend, millimetre)
    continued = (known & valid)[:, None]
    smooth = torch.where(continued, values - behind, values)
    speed, trend = (torch.where(continued, change, 0) for change in (speed, trend))
    state = SmoothedFaces(torch.where(valid[:, None], smooth, 0), speed, trend, valid)
    face, *parts = (_with_values(one, own) for one, own in _split(records, smooth))
    return state, replace(face, parts=dict(zip(faces.parts, parts, strict=True)))


def smooth_series(values: Tensor) -> Tensor:
    """Numbers in millimetres, filtered from the first frame to the last as `smooth_faces` does.

    Args:
        values: Without gaps, shape (T, ...).
    """
    speed = trend = torch.zeros_like(values[:1].sum(0))
    found = [*values[:1]]
    for value in values[1:]:
        behind, speed, trend = _filtered(value - found[-1], speed, trend, 1.0)
        found.append(value - behind)
    return torch.stack(found) if found else values


def _filtered(step: Tensor, speed: Tensor, trend: Tensor, millimetre: Tensor | float) -> tuple[Tensor, Tensor, Tensor]:
    """How far behind the values of a frame the filter stays, and speed and trend of the next one.

    Args:
        step: From the smoothed values of the frame before to those of this one.
        speed: See `SmoothedFaces`.
        trend: Likewise.
        millimetre: How much each value changes when points move by a millimetre.
    """
    speed = speed + _weight(SPEED_CUTOFF) * (step - speed)
    cutoff = MIN_CUTOFF + CUTOFF_PER_SPEED * speed.abs() / millimetre
    unexpected = step - trend
    return (1 - cutoff / (cutoff + 1 / math.tau)) * unexpected, speed, trend + TREND_WEIGHT * unexpected


def _weight(cutoff: float) -> float:
    """The weight of a new value in the exponential moving average of a cut-off frequency, cycles per frame."""
    return cutoff / (cutoff + 1 / math.tau)


def _values(fit: Fit) -> Tensor:
    """Landmarks, pose, shape, and gaze if there is one, as one row of numbers for each face, shape (R, 2 N + 6 + M)."""
    values = (fit.landmarks.flatten(1), fit.params.globals, fit.params.local)
    gaze = _gaze_of(fit)
    return torch.cat(values if gaze is None else (*values, gaze.flatten(1)), dim=-1)


def _gaze_of(fit: Fit) -> Tensor | None:
    """Directions (R, 2, 3) of the eyes of whole faces, if these have some."""
    return fit.gaze if isinstance(fit, FitResult) else None


def _with_values(fit: Fit, values: Tensor) -> Any:
    """The same fits with other landmarks, pose, shape and gaze."""
    landmarks, pose, local, gaze = values.split(_sizes(fit), dim=-1)
    params = map_tensors(Tensor.contiguous, ShapeParams.from_globals(pose, local))
    smooth = replace(fit, landmarks=landmarks.reshape(fit.landmarks.shape), params=params)
    if not isinstance(smooth, FitResult) or smooth.gaze is None:
        return smooth
    looks = gaze.unflatten(-1, (2, 3))
    unit = looks / torch.linalg.vector_norm(looks, dim=-1, keepdim=True)
    # To the last bit what it was where nothing is smoothed
    return replace(smooth, gaze=torch.where((looks == smooth.gaze).all(-1, keepdim=True), looks, unit))


def _split(fits: Sequence[Fit], values: Tensor) -> Iterator[tuple[Fit, Tensor]]:
    """Each fit with its own columns of numbers."""
    return zip(fits, values.split([sum(_sizes(fit)) for fit in fits], dim=-1), strict=True)


def _sizes(fit: Fit) -> tuple[int, int, int, int]:
    """How many numbers are landmarks, pose, shape and gaze."""
    gaze = 0 if _gaze_of(fit) is None else GAZE
    return 2 * fit.landmarks.shape[1], GLOBALS, fit.params.local.shape[1], gaze


def _wrapped(fit: Fit, step: Tensor) -> Tensor:
    """Changes whose angles go the shorter way round."""
    landmarks, pose, local, gaze = step.split(_sizes(fit), dim=-1)
    scale, angles, translation = pose.split((1, 3, 2), dim=-1)
    angles = (angles + math.pi).remainder(math.tau) - math.pi
    return torch.cat((landmarks, scale, angles, translation, local, gaze), dim=-1)


def _millimetre(fit: Fit) -> Tensor:
    """How much each number changes when points move by a millimetre, in the mean over the points; as `_values`."""
    landmarks, _, _, gaze = _sizes(fit)
    scale = fit.params.scale[:, None]
    spread = torch.linalg.vector_norm(fit.landmarks - fit.landmarks.mean(1, keepdim=True), dim=-1)
    # Per millimetre of distance from the middle
    turn = scale / spread.mean(1, keepdim=True)
    # Modes have unit length over all points
    mode = torch.full_like(fit.params.local, fit.landmarks.shape[1] ** 0.5)
    # What moves is the iris, an eyeball's radius away
    look = torch.full_like(scale, 1 / EYEBALL_RADIUS).expand(-1, gaze)
    moved = (scale.expand(-1, landmarks), scale * turn, turn.expand(-1, 3), scale.expand(-1, 2), mode, look)
    return torch.cat(moved, dim=-1)
