"""Videos in and out, frame by frame: the one file that imports PyAV."""

import contextlib
import heapq
import math
import os
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO

import av
import numpy as np
import torch
from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from torch import Tensor

from clnf_torch.cli.video_frames import Frame, FrameFolder, FrameSource, VideoError
from clnf_torch.models.files import write_atomically

# That are written
FORMATS = {".avi": "avi", ".m4v": "mp4", ".mkv": "matroska", ".mov": "mov", ".mp4": "mp4"}
# Places in a row that cannot be read until the file is taken to end there
UNREADABLE = 100
# Frames per second where a file does not say
USUAL_RATE = Fraction(30)

# What is wrong with a file is reported by us, once.
av.logging.set_level(av.logging.PANIC)

Timed = tuple[float, VideoFrame | None]
"""Seconds, and the frame; None where it is damaged."""


class VideoFile:
    """A video file, read from the first frame to the last in memory that does not grow with its length.

    Frames are turned upright as the file says, and brought to the size of the first one.

    Args:
        path: Any file that FFmpeg reads.

    Raises:
        VideoError: It is no video, or none of its frames can be decoded.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.problem: str | None = None
        with _opened(path) as (container, stream):
            self.rate = _sensible(stream.average_rate or stream.guessed_rate)
            self.count = stream.frames or _count_by_duration(container, stream, self.rate)
            first = next((frame for _, frame in _decoded(container, stream, Tally()) if frame is not None), None)
        if first is None:
            raise VideoError(f"{path}: expected a video, found no frame that can be decoded")
        self._stored = first.width, first.height
        self.height, self.width = _upright(first, self._stored).shape[1:]

    def __iter__(self) -> Iterator[Frame]:
        """The frames by time; those that cannot be decoded are damaged ones."""
        tally, start = Tally(), None
        with _opened(self.path) as (container, stream):
            for time, frame in _increasing(_by_time(_decoded(container, stream, tally)), float(1 / self.rate)):
                start = time if start is None else start
                yield Frame(time - start, None if frame is None else _upright(frame, self._stored))
            self.problem = tally.problem(self.path, stream.frames)


def open_video(path: Path, note: Callable[[str], None] | None = None) -> FrameSource:
    """A video file, or a folder of numbered images.

    Args:
        path: The file or folder.
        note: Told in a line each what a user should know of it.

    Raises:
        VideoError: It is neither.
    """
    return FrameFolder(path, note) if path.is_dir() else VideoFile(path)


class Tally:
    """Counts what was read of a file."""

    def __init__(self) -> None:
        self.packets = self.damaged = 0

    def problem(self, path: Path, expected: int) -> str | None:
        """What was wrong with the file, in a line.

        Args:
            path: The file.
            expected: Number of frames that its index promises, 0 where it has none.
        """
        complaints = [f"{self.damaged} of {self.packets} frames are damaged"] if self.damaged else []
        if self.packets < expected:
            complaints.append(f"it holds {self.packets} of the {expected} frames that it promises; it may be cut off")
        return f"{path}: {'; '.join(complaints)}" if complaints else None


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[tuple[InputContainer, VideoStream]]:
    """A file and its best video stream.

    Raises:
        VideoError: There is none.
    """
    try:
        # Says better than FFmpeg why a file cannot be opened
        path.open("rb").close()
        # "file:" and the list of protocols: names with colons are names, and no playlist reaches out to the network.
        container = av.open(f"file:{path}", options={"protocol_whitelist": "file"})
    except av.FFmpegError as error:
        raise VideoError(f"{path}: expected a video, found something else ({error.strerror})") from error
    except OSError as error:
        raise VideoError(f"{path}: cannot be read: {error.strerror or error}") from error
    with container:
        stream = container.streams.best("video")
        if not isinstance(stream, VideoStream):
            raise VideoError(f"{path}: expected a video, found a file without images")
        # An error then belongs to the packet that was just given
        stream.thread_type = "SLICE"
        yield container, stream


def _decoded(container: InputContainer, stream: VideoStream, tally: Tally) -> Iterator[Timed]:
    """Frames as the decoder gives them; where it gives none for a packet, the time of that packet."""
    last = 0.0
    for packet in _packets(container, stream, tally):
        try:
            frames = stream.decode(packet)
        except av.FFmpegError:
            tally.damaged += 1
            yield _time(packet, stream, last), None
            continue
        for frame in frames:
            last = _time(frame, stream, last)
            tally.damaged += frame.is_corrupt
            yield last, None if frame.is_corrupt else frame


def _time(timed: Packet | VideoFrame | None, stream: VideoStream, last: float) -> float:
    """The time of something in a stream, seconds; where it has none, that of the one before."""
    if timed is None or timed.pts is None or stream.time_base is None:
        return last
    return float(timed.pts * stream.time_base)


def _packets(container: InputContainer, stream: VideoStream, tally: Tally) -> Iterator[Packet | None]:
    """The packets of a file, and None at its end: what the decoder still holds is wanted then.

    Reading goes on behind places that cannot be read, unless there are too many of them.
    """
    unreadable = 0
    while unreadable < UNREADABLE:
        try:
            for packet in container.demux(stream):
                if packet.size:
                    unreadable, tally.packets = 0, tally.packets + 1
                    yield packet
            break
        except av.FFmpegError:
            unreadable += 1
    yield None


def _by_time(decoded: Iterator[Timed]) -> Iterator[Timed]:
    """Frames by time. Decoders give good frames in this order, but say at once, and so too early, what is damaged."""
    damaged: list[float] = []
    for time, frame in decoded:
        if frame is None:
            heapq.heappush(damaged, time)
            continue
        while damaged and damaged[0] < time:
            yield heapq.heappop(damaged), None
        yield time, frame
    yield from ((time, None) for time in sorted(damaged))


def _increasing(timed: Iterator[Timed], step: float) -> Iterator[Timed]:
    """Frames whose times increase: where those of a file do not, as in AVI files with B-frames, by a usual step."""
    last = -math.inf
    for time, frame in timed:
        last = time if time > last else last + step
        yield last, frame


def _upright(frame: VideoFrame, size: tuple[int, int]) -> Tensor:
    """A frame, scaled to a size (width, height) as it is stored and then turned, RGB, uint8, shape (3, H, W)."""
    pixels = torch.from_numpy(frame.to_ndarray(width=size[0], height=size[1], format="rgb24"))
    return pixels.rot90(round(frame.rotation / 90), (0, 1)).permute(2, 0, 1)


def _count_by_duration(container: InputContainer, stream: VideoStream, rate: Fraction) -> int | None:
    """About how many frames there are, None where the file does not say how long it lasts."""
    if container.duration is None:
        return None
    return round(container.duration / av.time_base * rate)


def _sensible(rate: Fraction | None) -> Fraction:
    """A frame rate that encoders take."""
    return Fraction(rate).limit_denominator(1000) if rate and 1 <= rate <= 1000 else USUAL_RATE


class DrawnVideo:
    """Appends images to a video.

    Args:
        file: Open for writing bytes.
        kind: FFmpeg's name of the file format.
        rate: Frames per second.
    """

    def __init__(self, file: BinaryIO, kind: str, rate: Fraction) -> None:
        self._file, self._kind, self._rate = file, kind, rate
        self._container: OutputContainer | None = None

    def append(self, canvas: np.ndarray) -> None:
        """Writes a BGR image, uint8, shape (H, W, 3); the first one says how large all are."""
        if self._container is None:
            self._container = av.open(self._file, "w", format=self._kind)
            self._stream = _drawn_stream(self._container, canvas.shape[0], canvas.shape[1], self._rate)
        frame = VideoFrame.from_ndarray(canvas[: self._stream.height, : self._stream.width], format="bgr24")
        self._container.mux(self._stream.encode(frame))

    def close(self) -> None:
        """Writes what the encoder still holds, and the end of the file."""
        if self._container is not None:
            self._container.mux(self._stream.encode(None))
            self._container.close()


def _drawn_stream(container: OutputContainer, height: int, width: int, rate: Fraction) -> VideoStream:
    """A stream that any player shows. Its sides are even, as the sparser colours ask for."""
    stream = container.add_stream("libx264", rate=rate, options={"preset": "veryfast", "crf": "20", "bf": "0"})
    stream.height, stream.width, stream.pix_fmt = height - height % 2, width - width % 2, "yuv420p"
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
