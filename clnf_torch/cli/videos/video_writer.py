"""Images as a video file, each shown at its own time; what a run that is taken up has drawn need not be drawn anew."""

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from clnf_torch.files.growing import GrowingFile, PartialError, set_aside
from clnf_torch.files.locks import held
from clnf_torch.files.writing import move_into_place, new_partial_of, partial_of, write_atomically

# That are written
FORMATS = {".avi": "avi", ".m4v": "mp4", ".mkv": "matroska", ".mov": "mov", ".mp4": "mp4"}
# Seconds per tick of the clock of a drawn video: all usual rates have a whole number of ticks a frame
CLOCK = Fraction(1, 90_000)
# Seconds: frames that are further apart in a recording come after this time in a drawn one
LONGEST_STILL = 10.0


# Images from one key frame to the next: nothing before a key frame decides what comes after it
KEY_INTERVAL = 25
# One quality for all images, not one that depends on those before; key frames at fixed places; images are written at
# once, not when later ones were seen
ENCODER = {
    "preset": "veryfast",
    "qp": "22",
    "bf": "0",
    "threads": "1",
    "x264-params": f"keyint={KEY_INTERVAL}:min-keyint={KEY_INTERVAL}:scenecut=0:open-gop=0:"
    "rc-lookahead=0:sync-lookahead=0",
}
# MP4 in pieces of a tenth of a second, microseconds, of which a killed process loses the last
GROWING = {"movflags": "empty_moov+default_base_moof", "frag_duration": "100000", "fflags": "flush_packets"}


@dataclass(frozen=True)
class Place:
    """A place in a growing video, behind some of its images."""

    images: int = 0
    time: float = 0.0  # seconds, of the last one in the recording
    ticks: int = 0  # of the last one on the clock of the drawn video


class DrawnVideo:
    """Appends images to a growing video.

    Args:
        file: Grows.
        kind: FFmpeg's name of the format that it gets at last.
        rate: Frames per second.
    """

    def __init__(self, file: GrowingFile, kind: str, rate: Fraction) -> None:
        self._file, self._kind, self._rate = file, kind, rate
        self._clock = _clock(kind, rate)
        self._step = max(1, round(1 / rate / self._clock))
        self._place, self._key = Place(), Place()
        # All before it is in the file: a run that is taken up draws the images behind it again
        self.kept = Place()
        self._container: OutputContainer | None = None

    @property
    def images(self) -> int:
        """How many images it has."""
        return self._place.images

    def append(self, canvas: np.ndarray, time: float | None = None) -> None:
        """Writes an image.

        Args:
            canvas: RGB, uint8, shape (H, W, 3); the first one says how large all are.
            time: When it is shown, seconds since the first one, at most `LONGEST_STILL` after the one before; by
                default as the rate says.
        """
        if self._container is None:
            self._open(*(max(2, side - side % 2) for side in canvas.shape[:2]))
        before = self._place
        if before.images and before.images % KEY_INTERVAL == 0:
            self.kept, self._key = self._key, before
        ticks = before.ticks + (self._ticks_until(time) if before.images else 0)
        self._place = Place(before.images + 1, before.time if time is None else time, ticks)
        # A line of one pixel is doubled
        height, width = self._stream.height, self._stream.width
        canvas = np.pad(
            canvas, [(0, max(0, height - len(canvas))), (0, max(0, width - canvas.shape[1])), (0, 0)], "edge"
        )
        frame = VideoFrame.from_ndarray(canvas[:height, :width], format="rgb24")
        frame.pts, frame.time_base = ticks, self._clock
        self._write(frame)

    def copy(self, partial: Path, place: Place) -> None:
        """Writes the images of another growing video up to a place.

        Raises:
            PartialError: It cannot be read, or has fewer.
        """
        copied = 0
        try:
            with av.open(f"file:{partial}") as source:
                stream = source.streams.video[0]
                self._open(stream.height, stream.width)
                for packet in _packets(source, self._clock, as_annex_b=True):
                    if copied == place.images:
                        break
                    self._mux(packet)
                    copied += 1
        except (av.FFmpegError, OSError, IndexError) as error:
            raise PartialError(f"{partial}: expected a video to go on with, found none ({error})") from error
        if copied < place.images:
            raise PartialError(f"{partial}: expected {place.images} images to go on with, found {copied}")
        self._place = self._key = self.kept = place

    def close(self) -> None:
        """Writes what the encoder still holds, and the end of the file."""
        if self._container is not None:
            container = self._container
            self._write(None)
            self._container = None
            container.close()

    def _ticks_until(self, time: float | None) -> int:
        """Ticks of the clock from the image before to one that is shown at a time."""
        if time is None or self._kind == "avi":
            return self._step
        return max(1, round(min(time - self._place.time, LONGEST_STILL) / self._clock))

    def _open(self, height: int, width: int) -> None:
        """Begins the file: a stream that any player shows. Its sides are even, as the sparser colours ask for."""
        self._container = av.open(self._file, "w", format="mp4", options=GROWING)
        self._stream: VideoStream = self._container.add_stream("libx264", rate=self._rate, options=ENCODER)
        self._stream.height, self._stream.width, self._stream.pix_fmt = height, width, "yuv420p"
        self._stream.codec_context.time_base = self._clock
        self._container.start_encoding()

    def _write(self, frame: VideoFrame | None) -> None:
        """Encodes a frame, or what the encoder still holds."""
        for packet in self._stream.encode(frame):
            # Says how long the last one is shown
            packet.duration = packet.duration or self._step
            self._mux(packet)

    def _mux(self, packet: Packet) -> None:
        assert self._container is not None
        packet.stream = self._stream
        self._container.mux(packet)


class _Witness:
    """A file that remembers why it could not be written: PyAV's own errors do not always say it."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self.error: OSError | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def write(self, piece: bytes) -> int:
        """Writes a piece."""
        try:
            count: int = self._file.write(piece)
            return count
        except OSError as error:
            self.error = error
            raise


@contextlib.contextmanager
def _witnessed(file: Any) -> Iterator[Any]:
    """The same file for PyAV, whose errors become those of the file."""
    witness = _Witness(file)
    try:
        yield witness
    except av.FFmpegError as error:
        if witness.error is not None:
            raise witness.error from error
        raise


@contextlib.contextmanager
def video_file(path: str | os.PathLike[str], rate: Fraction, kept: Place | None = None) -> Iterator[DrawnVideo]:
    """A video that grows with the images appended to it.

    It appears under its name when the block ends; until then, and if anything stops the block, its images are in
    ``NAME.partial``, MP4 in pieces.

    Args:
        path: The file, replaced if it exists; its suffix is one of `FORMATS`.
        rate: Frames per second.
        kept: The place in an earlier ``NAME.partial`` to go on behind, from `DrawnVideo.kept`.

    Raises:
        PartialError: That file has fewer images.
        OSError: It cannot be written, or another process writes it.
    """
    path, partial = Path(path), partial_of(path)
    kind, again = FORMATS[path.suffix.lower()], kept is not None and kept.images > 0
    if kept is None:
        set_aside(path)
    # Until what is kept is in it, the earlier one stays
    new = new_partial_of(path) if again else partial
    with contextlib.ExitStack() as stack:
        for written in (partial, new) if again and partial.exists() else (new,):
            written.touch()
            stack.enter_context(held(written))
        with open(new, "wb", buffering=0) as file, _witnessed(GrowingFile(file)) as growing:
            video = DrawnVideo(growing, kind, rate)
            if kept is not None and again:
                try:
                    video.copy(partial, kept)
                    move_into_place(new, partial)
                except BaseException:
                    new.unlink()
                    raise
            try:
                yield video
                video.close()
            except BaseException:
                with contextlib.suppress(OSError):
                    video.close()
                if not video.images:
                    partial.unlink()
                raise
        if video.images:
            _publish(partial, path, kind, _clock(kind, rate))
        partial.unlink()


def image_count(partial: Path) -> int:
    """How many images a video holds, 0 where it cannot be read."""
    try:
        with av.open(f"file:{partial}") as source:
            return sum(1 for packet in source.demux(video=0) if packet.size)
    except (av.FFmpegError, OSError, IndexError):
        return 0


def _clock(kind: str, rate: Fraction) -> Fraction:
    """Seconds per tick. AVI files have no times, but so many frames per second."""
    return 1 / rate if kind == "avi" else CLOCK


def _publish(partial: Path, path: Path, kind: str, clock: Fraction) -> None:
    """Makes the complete file: the same images in its own format, with an index."""
    with (
        write_atomically(path, new_partial_of(path)) as written,
        _witnessed(written) as file,
        av.open(f"file:{partial}") as source,
        av.open(file, "w", format=kind) as target,
    ):
        stream = target.add_stream_from_template(source.streams.video[0])
        stream.time_base = clock
        for packet in _packets(source, clock, as_annex_b=kind == "avi"):
            packet.stream = stream
            target.mux(packet)


def _packets(source: InputContainer, clock: Fraction, as_annex_b: bool) -> Iterator[Packet]:
    """The packets of a growing video.

    Args:
        source: The video.
        clock: Seconds per tick.
        as_annex_b: In the form in which the encoder gives them, which AVI keeps, instead of that of other files.
    """
    stream = source.streams.video[0]
    convert = av.BitStreamFilterContext("h264_mp4toannexb", stream) if as_annex_b else None
    for packet in source.demux(stream):
        if not packet.size:
            continue
        scale = Fraction(packet.time_base or clock) / clock
        ticks, duration = round((packet.pts or 0) * scale), round((packet.duration or 0) * scale)
        for each in convert.filter(packet) if convert else [packet]:
            each.time_base, each.pts, each.dts, each.duration = clock, ticks, ticks, duration
            yield each
