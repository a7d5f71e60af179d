"""The recording of one video: the rows of its confirmed faces, measured, and the video in numbers."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import torch
from torch import Tensor

from clnf_torch.export.face_rows import FaceRows, face_table
from clnf_torch.export.face_table import FaceTable
from clnf_torch.export.json import frame_heads
from clnf_torch.geometry.camera import Intrinsics
from clnf_torch.geometry.records import join_rows
from clnf_torch.media.confirmation import ConfirmationBuffer
from clnf_torch.media.parallel_videos import VideoFrame
from clnf_torch.pipeline import FitResult, LandmarkDetector
from clnf_torch.tracking.result import empty_result
from clnf_torch.tracking.state import Tracks

# Rows that are measured together
BATCH = 64
# The face of a row that stands for a frame without faces
NO_FACE = -1
# What is counted of a video, besides its frames
COUNTS = ("damaged", "gap", "longest_gap", "rows", "confidence")


class RowFiles(Protocol):
    """Anything that takes the rows of a video."""

    def append(self, table: FaceTable, faces: FitResult, heads: Sequence[Mapping[str, Any]]) -> None:
        """Takes R rows: what was measured, what was fitted, and what each JSON record begins with."""
        ...

    def positions(self) -> dict[str, int]:
        """Where it has come to, with all rows so far written."""
        ...


@dataclass
class Recording:
    """Takes the frames of one video."""

    files: RowFiles
    detector: LandmarkDetector
    camera: Intrinsics
    likelihoods: bool = False
    frames: int = 0
    found: int = 0  # frames with at least one face
    damaged: int = 0  # frames that could not be read
    gap: int = 0  # frames since the last one with a face
    longest_gap: int = 0  # frames in a row without one
    rows: int = 0  # faces that were found, one by one
    confidence: float = 0.0  # the sum of theirs
    seconds: float = 0.0  # that earlier runs took
    faces: set[int] = field(default_factory=set)  # identities that were found
    buffer: ConfirmationBuffer = field(default_factory=ConfirmationBuffer)
    waiting: list[VideoFrame] = field(default_factory=list)  # whose faces are not measured yet
    begun: float = field(default_factory=time.monotonic)

    def __call__(self, frame: VideoFrame) -> None:
        """Takes the next frame."""
        for confirmed in self.buffer(self._held(frame)):
            self._take(confirmed)

    def end(self) -> None:
        """Writes what waits after the last frame."""
        for confirmed in self.buffer.end():
            self._take(confirmed)
        self.flush()

    def saved(self) -> dict[str, Any]:
        """All that it needs to go on behind the frames that it has taken; the rows of confirmed faces are written."""
        self.flush()
        return {
            "frames": self.frames,
            "found": self.found,
            **{name: getattr(self, name) for name in COUNTS},
            "seconds": self.elapsed(),
            "faces": sorted(self.faces),
            "buffer": self.buffer.saved(),
            "positions": self.files.positions(),
        }

    def restore(self, saved: dict[str, Any]) -> None:
        """Goes back to what was saved.

        Raises:
            ValueError: It holds the faces of another model.
        """
        self.frames, self.found, self.faces = saved["frames"], saved["found"], set(saved["faces"])
        self.seconds = saved["seconds"]
        for name in COUNTS:
            setattr(self, name, saved[name])
        self.buffer = ConfirmationBuffer.restored(saved["buffer"], self.detector.model)

    def skipped(self, number: int, image: Tensor) -> None:
        """Takes the image of a frame, from 1, that it took before it was saved; rows need none."""

    def _held(self, frame: VideoFrame) -> VideoFrame:
        """What is held of a frame until its faces are confirmed: rows need no image."""
        return replace(frame, image=frame.image.new_empty(3, 0, 0))

    def _take(self, frame: VideoFrame) -> None:
        """Takes the next frame with confirmed faces alone."""
        rows = frame.rows
        names = [face for face, found in zip(rows.identity, rows.success, strict=True) if found]
        self.frames += 1
        self.found += bool(names)
        self.damaged += frame.damaged
        self.gap = 0 if names else self.gap + 1
        self.longest_gap = max(self.longest_gap, self.gap)
        self.faces.update(names)
        self.waiting.append(frame)
        if self._enough():
            self.flush()

    def _enough(self) -> bool:
        """Whether what waits fills a batch."""
        return sum(max(len(frame.rows), 1) for frame in self.waiting) >= BATCH

    @torch.inference_mode()
    def flush(self) -> None:
        """Measures the faces of the frames that wait, and writes their rows."""
        if not self.waiting:
            return
        frames, self.waiting = self.waiting, []
        rows = [self._rows(frame) for frame in frames]
        faces = join_rows(*rows)
        table = self._table(faces)
        # The table is on the processor already
        self.rows += int(table.success.sum())
        self.confidence += float(table.confidence[table.success].double().sum())
        self.files.append(table, faces.faces, frame_heads(table))
        first = 0
        for frame, some in zip(frames, rows, strict=True):
            self._measured(frame, table[first : first + len(some)])
            first += len(some)

    def _table(self, rows: FaceRows) -> FaceTable:
        """What is measured of faces."""
        return face_table(rows, self.detector, self.camera, self.likelihoods)

    def _measured(self, frame: VideoFrame, table: FaceTable) -> None:
        """Takes a frame whose rows are written, and what they say."""

    def elapsed(self) -> float:
        """Seconds that the video took so far."""
        return self.seconds + time.monotonic() - self.begun

    def entry(self) -> dict[str, Any]:
        """The video in numbers, for the manifest."""
        return {
            "frames": self.frames,
            "frames_with_face": self.found,
            "faces": len(self.faces),
            "damaged_frames": self.damaged,
            "longest_gap": self.longest_gap,
            "mean_confidence": round(self.confidence / self.rows, 4) if self.rows else None,
            "seconds": round(self.elapsed(), 1),
        }

    def summary(self) -> str:
        """The video in a line."""
        share, faces = self.found / max(self.frames, 1), len(self.faces)
        return f"{self.frames} frames, {share:.1%} with a face, {faces} face{'' if faces == 1 else 's'}"

    def _rows(self, frame: VideoFrame) -> FaceRows:
        """The faces of a frame, or one row that says that there are none."""
        faces, face_id, success = frame.result.faces, frame.result.identity, frame.result.success
        if not len(face_id):
            model, video = self.detector.model, frame.result.video.new_zeros(1)
            tracks = Tracks.uninitialised(model.pdm, video, video + NO_FACE)
            faces, face_id, success = empty_result(model, tracks), tracks.identity, tracks.success
        return FaceRows(
            faces=faces,
            success=success,
            frame=torch.full_like(face_id, frame.number),
            face_id=face_id,
            timestamp=torch.full_like(face_id, frame.time, dtype=torch.float64),
        )
