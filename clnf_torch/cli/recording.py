"""The recording of one video: its rows in files, its frames drawn, and a line that sums it up."""

import contextlib
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import astuple, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from clnf_torch.cli.drawing import draw_result
from clnf_torch.cli.outputs import FaceFiles, Targets, face_files, keep_earlier, partial_files_named
from clnf_torch.cli.video_writer import DrawnVideo, Place, video_file
from clnf_torch.export.face_rows import FaceRows, face_table
from clnf_torch.geometry.camera import Intrinsics
from clnf_torch.geometry.records import join_rows
from clnf_torch.media.confirmation import ConfirmationBuffer, restored_frame, saved_frame
from clnf_torch.media.parallel_videos import VideoFrame
from clnf_torch.media.video_frames import FrameSource
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
    damaged: int = 0  # frames that could not be read
    seconds: float = 0.0  # that earlier runs took
    faces: set[int] = field(default_factory=set)  # identities that were found
    buffer: ConfirmationBuffer = field(default_factory=ConfirmationBuffer)
    drawn: deque[VideoFrame] = field(default_factory=deque)  # that a run taken up draws again
    waiting: list[FaceRows] = field(default_factory=list)
    begun: float = field(default_factory=time.monotonic)

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
            "damaged": self.damaged,
            "seconds": self.elapsed(),
            "faces": sorted(self.faces),
            "buffer": self.buffer.saved(),
            "drawn": [saved_frame(frame) for frame in self.drawn],
            "drawing": astuple(self.drawing.kept) if self.drawing else None,
            "positions": self.files.positions(),
        }

    def restore(self, saved: dict[str, Any]) -> None:
        """Goes back to what was saved; the images of frames that wait, or are drawn again, come through `skipped`.

        Raises:
            ValueError: It holds the faces of another model.
        """
        model = self.detector.model
        self.frames, self.found, self.faces = saved["frames"], saved["found"], set(saved["faces"])
        self.damaged, self.seconds = saved["damaged"], saved["seconds"]
        self.buffer = ConfirmationBuffer.restored(saved["buffer"], model)
        self.drawn = deque(restored_frame(frame, model) for frame in saved["drawn"])

    def skipped(self, number: int, image: Tensor) -> None:
        """Takes the image of a frame, from 1, that it took before it was saved."""
        self.buffer.with_image(number, image)
        for frame in self.drawn:
            if frame.number == number:
                self._draw(replace(frame, image=image))

    def _take(self, frame: VideoFrame) -> None:
        """Takes the next frame with confirmed faces alone."""
        names = frame.result.identity[frame.result.success].tolist()
        self.frames += 1
        self.found += bool(names)
        self.damaged += frame.damaged
        self.faces.update(names)
        self.waiting.append(self._rows(frame))
        if self.drawing is not None:
            self._draw(frame)
            self.drawn.append(replace(frame, image=frame.image.new_empty(3, 0, 0)))
            while self.drawn[0].number <= self.drawing.kept.images:
                self.drawn.popleft()
        if sum(map(len, self.waiting)) >= BATCH:
            self.flush()

    def _draw(self, frame: VideoFrame) -> None:
        """Draws a frame with confirmed faces alone."""
        if self.drawing is not None:
            names = frame.result.identity[frame.result.success].tolist()
            found = frame.result.faces[frame.result.success]
            self.drawing.append(draw_result(frame.image, found, [str(name) for name in names]), frame.time)

    @torch.inference_mode()
    def flush(self) -> None:
        """Measures and writes the rows that wait."""
        if not self.waiting:
            return
        rows, self.waiting = join_rows(*self.waiting), []
        table = face_table(rows, self.detector, self.options.camera, self.options.likelihoods)
        self.files.append(table, rows.faces, _heads(rows))

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


def _heads(rows: FaceRows) -> list[dict[str, Any]]:
    """What the JSON record of every row begins with."""
    columns = rows.frame.tolist(), rows.timestamp.tolist(), rows.face_id.tolist()
    return [{"frame": frame, "timestamp": time, "face_id": face} for frame, time, face in zip(*columns, strict=True)]


@contextlib.contextmanager
def recording(
    source: FrameSource, detector: LandmarkDetector, options: RecordOptions, saved: dict[str, Any] | None = None
) -> Iterator[Recording]:
    """Records a video. Its files appear when the block ends; until then, all that was taken is in ``NAME.partial``.

    Args:
        source: The video.
        detector: What fits its faces.
        options: What is recorded.
        saved: From `Recording.saved`, to go on from.

    Raises:
        PartialError: The partial files hold less than what was saved.
    """
    head = {"model": str(options.model), "video": str(source.path), "frames_per_second": float(source.rate)}
    draw, positions, kept = options.targets.draw, None, None
    if saved is not None:
        positions, kept = saved["positions"], saved["drawing"] and Place(*saved["drawing"])
    with contextlib.ExitStack() as stack:
        if saved is None:
            keep_earlier(options.targets.given().values())
        stack.enter_context(partial_files_named(options.targets))
        files = stack.enter_context(face_files(options.targets, head, positions=positions))
        drawing = stack.enter_context(video_file(draw, source.rate, kept)) if draw else None
        record = Recording(files, drawing, detector, options)
        if saved is not None:
            record.restore(saved)
        stack.callback(record.end)
        yield record
