"""Images as a video file, each shown at its own time."""

import contextlib
import os
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO

import av
import numpy as np
from av.container import OutputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from clnf_torch.models.files import write_atomically

# That are written
FORMATS = {".avi": "avi", ".m4v": "mp4", ".mkv": "matroska", ".mov": "mov", ".mp4": "mp4"}
# Seconds per tick of the clock of a drawn video: all usual rates have a whole number of ticks a frame
CLOCK = Fraction(1, 90_000)
# Seconds: frames that are further apart in a recording come after this time in a drawn one
LONGEST_STILL = 10.0


class DrawnVideo:
    """Appends images to a video.

    Args:
        file: Open for writing bytes.
        kind: FFmpeg's name of the file format.
        rate: Frames per second.
    """

    def __init__(self, file: BinaryIO, kind: str, rate: Fraction) -> None:
        self._file, self._kind, self._rate = file, kind, rate
        # AVI files have no times, but so many frames per second
        self._clock = 1 / rate if kind == "avi" else CLOCK
        self._step = max(1, round(1 / rate / self._clock))
        self._time, self._ticks = 0.0, 0
        self._container: OutputContainer | None = None

    def append(self, canvas: np.ndarray, time: float | None = None) -> None:
        """Writes an image.

        Args:
            canvas: BGR, uint8, shape (H, W, 3); the first one says how large all are.
            time: When it is shown, seconds since the first one, at most `LONGEST_STILL` after the one before; by
                default as the rate says.
        """
        if self._container is None:
            self._container = av.open(self._file, "w", format=self._kind)
            self._stream = _drawn_stream(self._container, canvas.shape[0], canvas.shape[1], self._rate, self._clock)
        else:
            self._ticks += self._ticks_until(time)
        self._time = self._time if time is None else time
        # A line of one pixel is doubled
        height, width = self._stream.height, self._stream.width
        canvas = np.pad(
            canvas, [(0, max(0, height - len(canvas))), (0, max(0, width - canvas.shape[1])), (0, 0)], "edge"
        )
        frame = VideoFrame.from_ndarray(canvas[:height, :width], format="bgr24")
        frame.pts, frame.time_base = self._ticks, self._clock
        self._write(frame)

    def close(self) -> None:
        """Writes what the encoder still holds, and the end of the file."""
        if self._container is not None:
            self._write(None)
            self._container.close()

    def _ticks_until(self, time: float | None) -> int:
        """Ticks of the clock from the image before to one that is shown at a time."""
        if time is None or self._kind == "avi":
            return self._step
        return max(1, round(min(time - self._time, LONGEST_STILL) / self._clock))

    def _write(self, frame: VideoFrame | None) -> None:
        """Encodes a frame, or what the encoder still holds."""
        assert self._container is not None
        for packet in self._stream.encode(frame):
            # Says how long the last one is shown
            packet.duration = packet.duration or self._step
            self._container.mux(packet)


def _drawn_stream(container: OutputContainer, height: int, width: int, rate: Fraction, clock: Fraction) -> VideoStream:
    """A stream that any player shows. Its sides are even, as the sparser colours ask for."""
    stream = container.add_stream("libx264", rate=rate, options={"preset": "veryfast", "crf": "20", "bf": "0"})
    stream.height, stream.width, stream.pix_fmt = max(2, height - height % 2), max(2, width - width % 2), "yuv420p"
    stream.codec_context.time_base = clock
    return stream


@contextlib.contextmanager
def video_file(path: str | os.PathLike[str], rate: Fraction) -> Iterator[DrawnVideo]:
    """A video that grows with the images appended to it.

    It appears under its name when the block ends, with all images so far, also when an error or Ctrl-C ends it.

    Args:
        path: The file, replaced if it exists; its suffix is one of `FORMATS`.
        rate: Frames per second.
    """
    with write_atomically(path, keep_partial=True) as file:
        images = DrawnVideo(file, FORMATS[Path(path).suffix.lower()], rate)
        try:
            yield images
        finally:
            images.close()
