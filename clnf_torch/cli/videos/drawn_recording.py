"""The recording of one video in files: its rows, and its frames drawn."""

import contextlib
from collections import deque
from collections.abc import Iterator
from dataclasses import astuple, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from clnf_torch.cli.openface.aligned_files import AlignedFiles
from clnf_torch.cli.outputs import Targets, face_files, keep_earlier, partial_files_named
from clnf_torch.cli.videos.video_writer import DrawnVideo, Place, video_file
from clnf_torch.drawing import DrawingStyle, DrawnFaces, draw_faces, frame_caption
from clnf_torch.export.face_table import FaceTable
from clnf_torch.geometry.camera import Intrinsics
from clnf_torch.geometry.records import take_listed
from clnf_torch.media.confirmation import restored_frame, saved_frame
from clnf_torch.media.parallel_videos import VideoFrame
from clnf_torch.media.recording import Recording
from clnf_torch.media.video_frames import FrameSource
from clnf_torch.pipeline import LandmarkDetector

# Frames whose faces are measured together where they are drawn too: each holds its image until then
DRAWN_TOGETHER = 8


@dataclass(frozen=True)
class RecordOptions:
    """What is recorded of a video."""

    targets: Targets
    camera: Intrinsics
    likelihoods: bool
    model: Path


@dataclass
class DrawnRecording(Recording):
    """Draws the frames of one video too, and aligns its faces, where there are files for them."""

    drawing: DrawnVideo | None = None
    aligned: AlignedFiles | None = None
    drawn: deque[VideoFrame] = field(default_factory=deque)  # that a run taken up draws again

    def saved(self) -> dict[str, Any]:
        """As a recording's, with what is drawn."""
        return {
            **super().saved(),
            "drawn": [saved_frame(frame) for frame in self.drawn],
            "drawing": astuple(self.drawing.kept) if self.drawing else None,
        }

    def restore(self, saved: dict[str, Any]) -> None:
        """Goes back to what was saved; the images of frames that wait, or are drawn again, come through `skipped`."""
        super().restore(saved)
        self.drawn = deque(restored_frame(frame, self.detector.model) for frame in saved["drawn"])

    @torch.inference_mode()
    def skipped(self, number: int, image: Tensor) -> None:
        """Takes the image of a frame, from 1, that it took before it was saved."""
        self.buffer.with_image(number, image)
        for frame in self.drawn:
            if frame.number == number:
                self._draw(replace(frame, image=image), self._table(self._rows(frame)))

    def _held(self, frame: VideoFrame) -> VideoFrame:
        return super()._held(frame) if self.drawing is None and self.aligned is None else frame

    def _take(self, frame: VideoFrame) -> None:
        if self.aligned is not None:
            rows = _found(frame)
            landmarks = take_listed(frame.result.faces.landmarks, rows)
            self.aligned.write_frame(frame.image, frame.number, landmarks, frame.rows.take(rows).identity)
        super()._take(frame if self.drawing is not None else super()._held(frame))

    def _enough(self) -> bool:
        return super()._enough() or (self.drawing is not None and len(self.waiting) >= DRAWN_TOGETHER)

    def _measured(self, frame: VideoFrame, table: FaceTable) -> None:
        if self.drawing is not None:
            self._draw(frame, table)
            self.drawn.append(super()._held(frame))
            while self.drawn[0].number <= self.drawing.kept.images:
                self.drawn.popleft()

    def _draw(self, frame: VideoFrame, table: FaceTable) -> None:
        """Draws a frame with confirmed faces alone, and what its rows say of them."""
        if self.drawing is not None:
            result, rows = frame.result, _found(frame)
            # Faces that are lost come back elsewhere: where they were last says nothing
            found = take_listed(replace(result.faces, success=result.success), rows)
            names = [str(name) for name in frame.rows.take(rows).identity]
            drawn, style = DrawnFaces.of(found, names, table[rows]), DrawingStyle(quality=self.likelihoods)
            pixels = draw_faces(frame.image, drawn, style, frame_caption(frame.number, frame.time))
            self.drawing.append(pixels, frame.time)


def _found(frame: VideoFrame) -> list[int]:
    """The rows of the faces that were found in a frame."""
    return [row for row, found in enumerate(frame.rows.success) if found]


@contextlib.contextmanager
def recording(
    source: FrameSource, detector: LandmarkDetector, options: RecordOptions, saved: dict[str, Any] | None = None
) -> Iterator[DrawnRecording]:
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
        aligned = _aligned(options.targets, detector, keep=saved is not None)
        record = DrawnRecording(files, detector, options.camera, options.likelihoods, drawing=drawing, aligned=aligned)
        if saved is not None:
            record.restore(saved)
        stack.callback(record.end)
        yield record


def _aligned(targets: Targets, detector: LandmarkDetector, keep: bool) -> AlignedFiles | None:
    """The files of aligned faces, if they are wanted."""
    if targets.aligned is None:
        return None
    return AlignedFiles(targets.aligned, detector.model.pdm, targets.alignment, keep=keep)
