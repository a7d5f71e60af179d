"""The result of one frame of every video."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from clnf_torch.fitting.mean_shift import UNSEEN
from clnf_torch.fitting.parts import PartFit
from clnf_torch.geometry.records import loadable, take_listed
from clnf_torch.models.landmark_model import LandmarkModel, Part
from clnf_torch.pipeline.result import FitResult
from clnf_torch.tracking.state import Tracks

# Likelihood; OpenFace ``CLNF::Reset``
NEVER_FITTED = -10.0


@loadable
@dataclass(frozen=True, kw_only=True)
class VideoResult:
    """Faces in the current frames, one per row, by video and identity.

    With a single face there is one row per video. Otherwise a video has one row for each face that is tracked or was
    lost not long ago, and none before its first face.

    Attributes:
        faces: The fits, R rows; faces that were not fitted in this frame are where they were last.
        video: Index of the video, int64, shape (R,).
        frame: Number of the frame in its video, from 0, int64, shape (R,).
        identity: Number of the face, from 0 in every video, int64, shape (R,).
        age: Frames since the face was first found, int64, shape (R,).
        success: Faces that were found, bool, shape (R,). OpenFace: a first detection counts, whatever the validator
            says.
        detected: Faces that were fitted in a detected box, bool, shape (R,).
        confirmed: Faces that were found in several frames by now, or whose box was given, bool, shape (R,); the others
            are tentative and may be false detections.
    """

    faces: FitResult
    video: Tensor
    frame: Tensor
    identity: Tensor
    age: Tensor
    success: Tensor
    detected: Tensor
    confirmed: Tensor


@dataclass(frozen=True)
class HostRows:
    """What the host has to know of the R rows of a `VideoResult` to decide what becomes of each."""

    video: tuple[int, ...]
    identity: tuple[int, ...]
    success: tuple[bool, ...]
    confirmed: tuple[bool, ...]

    def __len__(self) -> int:
        """Number of rows R."""
        return len(self.identity)

    @classmethod
    def of(cls, result: VideoResult) -> "HostRows":
        """Read at once, so that a card is waited for once."""
        columns = result.video, result.identity, result.success, result.confirmed
        video, identity, success, confirmed = torch.stack([column.long() for column in columns]).tolist()
        return cls(tuple(video), tuple(identity), tuple(map(bool, success)), tuple(map(bool, confirmed)))

    def take(self, rows: Sequence[int]) -> "HostRows":
        """The rows of these numbers."""
        return HostRows(
            video=tuple(self.video[row] for row in rows),
            identity=tuple(self.identity[row] for row in rows),
            success=tuple(self.success[row] for row in rows),
            confirmed=tuple(self.confirmed[row] for row in rows),
        )


def results_by_video(result: VideoResult, videos: int = 1) -> list[tuple[VideoResult, HostRows]]:
    """The result of each of V videos, a view of the whole, since rows come by video; and what the host knows of it."""
    rows = HostRows.of(result)
    places = [[row for row, own in enumerate(rows.video) if own == number] for number in range(videos)]
    return [(take_listed(result, own), rows.take(own)) for own in places]


def no_faces(model: LandmarkModel) -> VideoResult:
    """The result of a frame without faces."""
    none = torch.zeros(0, dtype=torch.int64, device=model.pdm.mean.device)
    faces = empty_result(model, Tracks.uninitialised(model.pdm, none, none))
    return VideoResult(
        faces=faces,
        video=none,
        frame=none,
        identity=none,
        age=none,
        success=faces.success,
        detected=faces.success,
        confirmed=faces.success,
    )


def empty_result(model: LandmarkModel, tracks: Tracks) -> FitResult:
    """Tracks as the result of a fit that did not take place: unsuccessful, where the faces were last."""
    rows, shape = len(tracks), tracks.landmarks.shape[:2]
    zeros = torch.zeros_like(tracks.video)
    never = torch.zeros_like(tracks.success)
    return FitResult(
        landmarks=tracks.landmarks,
        params=tracks.params,
        likelihood=torch.full_like(tracks.confidence, NEVER_FITTED),
        landmark_likelihoods=tracks.landmarks.new_full(shape, UNSEEN),
        landmark_errors=None if model.error_model is None else tracks.landmarks.new_full(shape, torch.nan),
        view=zeros,
        visible=never[:, None].expand(shape),
        hypothesis=zeros,
        confidence=tracks.confidence,
        success=never,
        parts={part.name: _empty_part(part, rows) for part in model.parts},
        gaze=None if model.gaze_network is None else tracks.landmarks.new_full((rows, 2, 3), torch.nan),
    )


def _empty_part(part: Part, rows: int) -> PartFit:
    """A part that was not fitted."""
    pdm = part.model.pdm
    zeros = torch.zeros(rows, dtype=torch.int64, device=pdm.mean.device)
    uninitialised = Tracks.uninitialised(pdm, zeros, zeros)
    return PartFit(
        landmarks=uninitialised.landmarks,
        params=uninitialised.params,
        landmark_likelihoods=uninitialised.landmarks.new_full(uninitialised.landmarks.shape[:2], UNSEEN),
        likelihood=uninitialised.confidence.new_full((rows,), -torch.inf),
        refined=uninitialised.success,
    )
