"""The recording of one video: its rows in files, its frames drawn, and a line that sums it up."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from clnf_torch.cli.confirmation import ConfirmationBuffer
from clnf_torch.cli.drawing import draw_result
from clnf_torch.cli.outputs import FaceFiles, Targets, face_files
from clnf_torch.cli.parallel_videos import VideoFrame
from clnf_torch.cli.video_frames import FrameSource
from clnf_torch.cli.video_writer import DrawnVideo, video_file
from clnf_torch.export.face_rows import FaceRows, face_table
from clnf_torch.geometry.camera import Intrinsics
from clnf_torch.geometry.records import join_rows
from clnf_torch.pipeline import LandmarkDetector
from clnf_torch.tracking.result import empty_result
from clnf_torch.tracking.state import Tracks

# Rows that are measured together
BATCH = 64
# The face of a row that stands for a frame without faces
NO_FACE = -1


@dataclass(frozen=True)
class RecordOptions:
    """What is recorded of a video."""

    targets: Targets
    camera: Intrinsics
    likelihoods: bool
    model: Path


@dataclass
class Recording:
    """Takes the frames of one video."""

    files: FaceFiles
    drawing: DrawnVideo | None
    detector: LandmarkDetector
    options: RecordOptions
    frames: int = 0
    found: int = 0  # frames with at least one face
    faces: set[int] = field(default_factory=set)  # identities that were found
    buffer: ConfirmationBuffer = field(default_factory=ConfirmationBuffer)
    waiting: list[FaceRows] = field(default_factory=list)

    def __call__(self, frame: VideoFrame) -> None:
        """Takes the next frame."""
        for confirmed in self.buffer(frame):
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
            "faces": sorted(self.faces),
            "buffer": self.buffer.saved(),
        }

    def skipped(self, number: int, image: Tensor) -> None:
        """Takes the image of a frame, from 1, that it took before it was saved."""
        self.buffer.with_image(number, image)

    def _take(self, frame: VideoFrame) -> None:
        """Takes the next frame with confirmed faces alone."""
        names = frame.result.identity[frame.result.success].tolist()
        self.frames += 1
        self.found += bool(names)
        self.faces.update(names)
        self.waiting.append(self._rows(frame))
        if self.drawing is not None:
            found = frame.result.faces[frame.result.success]
            self.drawing.append(draw_result(frame.image, found, [str(name) for name in names]), frame.time)
        if sum(map(len, self.waiting)) >= BATCH:
            self.flush()

    @torch.inference_mode()
    def flush(self) -> None:
        """Measures and writes the rows that wait."""
        if not self.waiting:
            return
        rows, self.waiting = join_rows(*self.waiting), []
        table = face_table(rows, self.detector, self.options.camera, self.options.likelihoods)
        self.files.append(table, rows.faces, _heads(rows))

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


def _heads(rows: FaceRows) -> list[dict[str, Any]]:
    """What the JSON record of every row begins with."""
    columns = rows.frame.tolist(), rows.timestamp.tolist(), rows.face_id.tolist()
    return [{"frame": frame, "timestamp": time, "face_id": face} for frame, time, face in zip(*columns, strict=True)]


@contextlib.contextmanager
def recording(source: FrameSource, detector: LandmarkDetector, options: RecordOptions) -> Iterator[Recording]:
    """Records a video. Its files appear when the block ends, with all that was taken so far, whatever ends it."""
    head = {"model": str(options.model), "video": str(source.path), "frames_per_second": float(source.rate)}
    with contextlib.ExitStack() as stack:
        draw = options.targets.draw
        files = stack.enter_context(face_files(options.targets, head))
        drawing = stack.enter_context(video_file(draw, source.rate)) if draw else None
        record = Recording(files, drawing, detector, options)
        stack.callback(record.end)
        yield record
