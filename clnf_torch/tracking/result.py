"""What a tracker says about one frame of every video."""

from dataclasses import dataclass

import torch
from torch import Tensor

from clnf_torch.fitting.mean_shift import UNSEEN
from clnf_torch.fitting.parts import PartFit
from clnf_torch.models.landmark_model import LandmarkModel
from clnf_torch.pipeline.result import FitResult
from clnf_torch.tracking.state import Tracks

# Likelihood; OpenFace ``CLNF::Reset``
NEVER_FITTED = -10.0


@dataclass(frozen=True, kw_only=True)
class VideoResult:
    """Faces in the current frames, one per row, by video and identity.

    In single-face mode there is one row per video. Otherwise a video has one row for each face that is followed or was
    lost not long ago, and none where there was no face yet.
    """

    faces: FitResult  # R rows; faces that were not fitted in this frame are where they were last
    video: Tensor  # (R,) int64
    frame: Tensor  # (R,) int64: number of the frame in its video, from 0
    identity: Tensor  # (R,) int64, from 0 in every video
    age: Tensor  # (R,) int64: frames since the face was first seen
    success: Tensor  # (R,) bool: the face was found. OpenFace: a first detection counts, whatever the validator says
    detected: Tensor  # (R,) bool: the face was fitted in a detected box
    confirmed: Tensor  # (R,) bool: the face was found in several frames by now, or its box was given: it is no mistake


def at_rest(model: LandmarkModel, tracks: Tracks) -> FitResult:
    """Tracks as the result of a fit that did not take place."""
    rows, shape = len(tracks), tracks.landmarks.shape[:2]
    zeros = torch.zeros_like(tracks.video)
    never = torch.zeros_like(tracks.success)
    return FitResult(
        landmarks=tracks.landmarks,
        params=tracks.params,
        likelihood=torch.full_like(tracks.confidence, NEVER_FITTED),
        landmark_likelihoods=tracks.landmarks.new_full(shape, UNSEEN),
        view=zeros,
        visible=never[:, None].expand(shape),
        hypothesis=zeros,
        confidence=tracks.confidence,
        success=never,
        kept_success=never,
        parts={part.name: _part_at_rest(part.model, rows) for part in model.parts},
    )


def _part_at_rest(model: LandmarkModel, rows: int) -> PartFit:
    """A part that was not fitted."""
    numbers = torch.zeros(rows, dtype=torch.int64, device=model.pdm.mean.device)
    unseen = Tracks.unseen(model.pdm, numbers, numbers)
    return PartFit(
        landmarks=unseen.landmarks,
        params=unseen.params,
        landmark_likelihoods=unseen.landmarks.new_full(unseen.landmarks.shape[:2], UNSEEN),
        likelihood=unseen.confidence.new_full((rows,), -torch.inf),
        refined=unseen.success,
    )
