"""Video files as frames."""

import os
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
import torch
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from torch import Tensor

from clnf_torch.files.names import one_line
from clnf_torch.media.image_headers import read_header
from clnf_torch.media.outer_chunks import missing_bytes
from clnf_torch.media.video_frames import Frame, FrameFolder, VideoError
from clnf_torch.media.video_geometry import PixelAspect, geometry_notes, shown_image, shown_size
from clnf_torch.media.video_stream import Tally, decoded, opened, promised, shown_frames, stream_rate, video_streams
from clnf_torch.media.video_times import Gap

# Runs of damaged frames that are named
NAMED_RUNS = 5


class VideoFile:
    """A video file, read from the first frame to the last in memory that does not grow with its length.

    Frames are as players show them: of square pixels, turned and mirrored as the file says. Those of another size than
    the first one are brought to it, with black bars where their sides have another ratio.

    Args:
        path: Any file that FFmpeg reads.
        note: Told in a line each what a user should know of it.
        device: A card that is to decode it; see `opened`.

    Raises:
        VideoError: It is no video, its frames have more pixels than the limit, or none of them can be decoded.
    """

    def __init__(
        self, path: Path, note: Callable[[str], None] | None = None, device: torch.device | None = None
    ) -> None:
        self.path, self._note, self._device = path, note, device
        self.problem: str | None = None
        with opened(path, device) as (container, stream):
            tally = Tally(path)
            frames = (frame for _, frame in decoded(container, stream, tally) if isinstance(frame, VideoFrame))
            first = next(frames, None)
            if first is None:
                raise VideoError(f"{path}: expected a video, found no frame that can be decoded")
            self.rate = stream_rate(container, stream, tally)
            self.count = _frame_count(path, container, stream, self.rate)
            aspect = PixelAspect(stream)()
            self.width, self.height = shown_size(first, aspect)
            if stream.codec_context.is_hwaccel:
                self._say(f"is decoded on {device}")
            several = _several_images(path, container)
            for line in (*_streams(container, stream), *several, *geometry_notes(first, aspect)):
                self._say(line)

    def __iter__(self) -> Iterator[Frame]:
        """The frames by time; those that cannot be decoded are damaged ones."""
        image, start, damaged = None, None, DamagedFrames()
        with opened(self.path, self._device) as (container, stream):
            tally, aspect, sizes = Tally(self.path), PixelAspect(stream), {(self.width, self.height)}
            timed = shown_frames(container, stream, tally, float(1 / self.rate))
            for number, (time, frame) in enumerate(timed, start=1):
                start = time if start is None else start
                if isinstance(frame, VideoFrame):
                    image = self._image(frame, aspect(), sizes, number)
                elif frame is Gap.DAMAGED:
                    image = None
                if image is None and frame is not Gap.REPEATED:
                    damaged.add(number)
                yield Frame(time - start, image)
                damaged.frames = number
            self.problem = _problem(self.path, damaged, tally, promised(self.path, container, stream))

    def images(self, numbers: Collection[int]) -> Iterator[tuple[int, Tensor]]:
        """The images of some frames, RGB, uint8, shape (3, H, W), each with its number from 1; without damaged ones.

        All frames up to the last of them are decoded, but these alone converted.
        """
        shown: VideoFrame | None = None
        with opened(self.path) as (container, stream):
            aspect, sizes = PixelAspect(stream), {(self.width, self.height)}
            timed = shown_frames(container, stream, Tally(self.path), float(1 / self.rate))
            for number, (_, frame) in enumerate(timed, start=1):
                if frame is not Gap.REPEATED:
                    shown = frame if isinstance(frame, VideoFrame) else None
                if number in numbers and shown is not None:
                    image = self._image(shown, aspect(), sizes, number)
                    if image is not None:
                        yield number, image
                if number >= max(numbers, default=0):
                    return

    def _image(
        self, frame: VideoFrame, aspect: Fraction | None, sizes: set[tuple[int, int]], number: int
    ) -> Tensor | None:
        """A frame's image, None where it cannot be shown; says so when the first one of another size comes."""
        try:
            size = shown_size(frame, aspect)
            image = shown_image(frame, aspect, (self.width, self.height))
        # Formats of pixels that cannot be converted, sides without sense: of many classes
        except Exception:
            return None
        if size not in sizes and len(sizes) == 1:
            self._say(
                f"frame {number} is {size[0]} x {size[1]} pixels, not {self.width} x {self.height} as the first one; "
                "all others are scaled to that, with black bars where the sides have another ratio"
            )
            sizes.add(size)
        return image

    def _say(self, line: str) -> None:
        """Tells a user something about this file."""
        if self._note is not None:
            self._note(one_line(f"{self.path}: {line}"))


@dataclass
class DamagedFrames:
    """Counts damaged frames, and keeps the numbers of the first ones."""

    frames: int = 0  # in all, sound or not
    count: int = 0
    runs: list[list[int]] = field(default_factory=list)  # the first and last number of each

    def add(self, number: int) -> None:
        """Counts a damaged frame."""
        self.count += 1
        if self.runs and self.runs[-1][1] == number - 1:
            self.runs[-1][1] = number
        elif len(self.runs) <= NAMED_RUNS:
            self.runs.append([number, number])

    def __str__(self) -> str:
        """Which and how many."""
        named = self.runs[:NAMED_RUNS]
        rest = self.count - sum(last - first + 1 for first, last in named)
        names = ", ".join(f"{first}-{last}" if last > first else str(first) for first, last in named)
        which = f"{'frame' if self.count == 1 else 'frames'} {names}{f' and {rest} more' if rest else ''}"
        return f"{self.count} of {self.frames} frames {'is' if self.count == 1 else 'are'} damaged: {which}"


def open_video(
    path: Path, note: Callable[[str], None] | None = None, device: torch.device | None = None
) -> VideoFile | FrameFolder:
    """A video file, or a folder of numbered images.

    Args:
        path: The file or folder.
        note: Told in a line each what a user should know of it.
        device: A card that is to decode a file; see `opened`. Its frames are in the processor's memory even so.

    Raises:
        VideoError: It is neither.
    """
    # Unlike `Path.is_dir`, never an error
    return FrameFolder(path, note) if os.path.isdir(path) else VideoFile(path, note, device)


def _problem(path: Path, damaged: DamagedFrames, tally: Tally, expected: int) -> str | None:
    """What was wrong with a file, in a line.

    Args:
        path: The file.
        damaged: Its frames.
        tally: What was read of it.
        expected: Number of packets that its index promises, 0 where it has none.
    """
    complaints = [str(damaged)] if damaged.count else []
    if tally.stopped:
        complaints.append(f"its index names the same bytes several times; it is read to frame {damaged.frames}")
    elif tally.packets < expected:
        complaints.append(f"it holds {tally.packets} of the {expected} frames that it promises; it may be cut off")
    elif missing := missing_bytes(path):
        complaints.append(f"it ends {missing} bytes too early, behind frame {damaged.frames}; it may be cut off")
    return one_line(f"{path}: {'; '.join(complaints)}") if complaints else None


def _streams(container: InputContainer, stream: VideoStream) -> list[str]:
    """What is said about a file with several videos."""
    found = video_streams(container)
    if len(found) < 2:
        return []
    sizes = [f"{one.codec_context.width} x {one.codec_context.height}" for one in found]
    return [
        f"holds {len(found)} videos; number {found.index(stream) + 1} is read, of {sizes[found.index(stream)]} pixels"
    ]


def _several_images(path: Path, container: InputContainer) -> list[str]:
    """What is said about pages of a TIFF file and others that FFmpeg reads as images of one frame each."""
    if not container.format.name.endswith("_pipe"):
        return []
    header = read_header(path.read_bytes(), path.suffix)
    return ["holds several images; the first one is used"] if header is not None and header.several else []


def _frame_count(path: Path, container: InputContainer, stream: VideoStream, rate: Fraction) -> int | None:
    """About how many frames there are, None where the file does not say how long it lasts, or more than it can hold."""
    count = stream.frames
    if count <= 0 and container.duration is not None:
        count = round(container.duration / av.time_base * rate)
    return count if 0 < count <= path.stat().st_size else None
