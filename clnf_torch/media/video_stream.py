"""A video file's packets, read and decoded one after the other, however damaged they are."""

import contextlib
import functools
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import torch
from av.codec.hwaccel import HWAccel
from av.container import InputContainer
from av.packet import Packet
from av.stream import Disposition
from av.video.stream import VideoStream

from clnf_torch.files.reading import require_regular_file, wrong_download
from clnf_torch.media.images import MAX_PIXELS_NAME, ImageError, max_pixels
from clnf_torch.media.mp4_boxes import lacks_index, require_possible_counts
from clnf_torch.media.video_avi import RIFF, LostPackets, index_of, is_avi, is_cut_off
from clnf_torch.media.video_frames import VideoError
from clnf_torch.media.video_geometry import keep_exif
from clnf_torch.media.video_times import (
    MEASURED,
    REORDERED,
    FrameNumbers,
    Gap,
    Timed,
    by_time,
    filled,
    frame_rate,
    increasing,
    measured_rate,
    seconds,
)

# Places in a row that cannot be read until the file is taken to end there
UNREADABLE = 100
# Bytes of packets per byte of a file until its index is taken to be damaged: no two packets share their bytes
MAX_REREAD = 2
# What FFmpeg opens as a video though it is none, and how the first of them begins
NO_VIDEOS = dict.fromkeys(("hls", "dash", "concat"), "a list of other files; give those") | {"tty": "text"}
PLAYLIST = b"#EXTM3U"
# Bytes in which a video says something: where they are zeros, a decoder looks for its beginning to the end of the file
PROBED = 1 << 16
# Pixels of a frame as it is stored: the most of cameras and televisions, 8192 x 4096. Each takes 0.1 GB as RGB
MAX_FRAME_PIXELS = 2**25
# The largest limit that FFmpeg takes
MOST_OF_FFMPEG = 2**31 - 1

# What is wrong with a file is reported by us, once.
av.logging.set_level(av.logging.PANIC)


class Tally:
    """Counts what was read of a file.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self.packets = self.read = 0
        self.stopped = False  # whether an index named the same bytes again and again
        self.size = path.stat().st_size
        self.most = MAX_REREAD * self.size
        self.times: list[Fraction | None] = []  # of the first packets, seconds

    def add(self, packet: Packet, stream: VideoStream) -> None:
        """Counts a packet."""
        self.packets, self.read = self.packets + 1, self.read + packet.size
        if len(self.times) < MEASURED and not packet.is_discard:
            self.times.append(None if packet.pts is None or not stream.time_base else packet.pts * stream.time_base)


@contextlib.contextmanager
def opened(path: Path, device: torch.device | None = None) -> Iterator[tuple[InputContainer, VideoStream]]:
    """A file and its best video stream.

    Args:
        path: The file.
        device: A card that is to decode it (NVDEC). What a card cannot decode, or where there is none, the processor
            decodes.

    Raises:
        VideoError: There is none, or one whose frames are larger than the limit.
    """
    try:
        limit = min(max_pixels(MAX_FRAME_PIXELS), MOST_OF_FFMPEG)
    except ImageError as error:
        raise VideoError(str(error)) from error
    with _container(path, limit, device) as container, _one_class_of_errors(path):
        stream = _best_stream(path, container)
        width, height = stream.codec_context.width, stream.codec_context.height
        if width * height > limit:
            found = f"frames of {width} x {height} pixels, more than {limit}"
            raise VideoError(f"{path}: {found}; to allow them, set {MAX_PIXELS_NAME}")
        # An error then belongs to the packet that was just given
        stream.thread_type = "SLICE"
        stream.codec_context.options = {"max_pixels": str(limit)}
        yield container, stream


def _container(path: Path, limit: int, device: torch.device | None) -> InputContainer:
    """A file that FFmpeg can open."""
    try:
        size = require_regular_file(path)
        # Says better than FFmpeg why a file cannot be opened
        with path.open("rb") as file:
            beginning = file.read(PROBED)
            require_possible_counts(file, size)
            cut_off = lacks_index(file, size)
    except OSError as error:
        raise VideoError(f"{path}: cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise VideoError(f"{path}: expected a video, found a damaged one: {error}; copy it anew") from error
    if not beginning:
        raise VideoError(f"{path}: expected a video, found an empty file; copy it anew")
    if not any(beginning):
        raise VideoError(f"{path}: expected a video, found zeros")
    if beginning.startswith(PLAYLIST):
        # That of a broadcast is waited for
        raise VideoError(f"{path}: expected a video, found {NO_VIDEOS['hls']}")
    if download := wrong_download(beginning):
        raise VideoError(f"{path}: expected a video, found {download}")
    # The list of protocols and "file:": names with colons are names. The pattern: so are those with percent signs. The
    # number of pixels: frames are decoded already when a file is opened.
    options = {"protocol_whitelist": "file", "pattern_type": "none", "max_pixels": str(limit)}
    open_file = functools.partial(av.open, f"file:{path}", options=options, metadata_errors="replace")
    if device is not None and device.type == "cuda":
        # Whatever a driver raises, the processor can do
        with contextlib.suppress(Exception):
            return open_file(hwaccel=HWAccel("cuda", device=str(device.index or 0)))
    try:
        return open_file()
    except Exception as error:
        if cut_off:
            found = "an MP4 or MOV file without its index (moov), which is written last"
            raise VideoError(f"{path}: expected a video, found {found}: its end is missing; copy it anew") from error
        reason = error.strerror if isinstance(error, av.FFmpegError) else f"{type(error).__name__}: {error}"
        raise VideoError(f"{path}: expected a video, found something else ({str(reason)[:100]})") from error


@contextlib.contextmanager
def _one_class_of_errors(path: Path) -> Iterator[None]:
    """Makes whatever goes wrong with a file a `VideoError`: PyAV has errors of many classes for what is damaged."""
    try:
        yield
    except VideoError:
        raise
    except Exception as error:
        raise VideoError(f"{path}: cannot be read as a video: {type(error).__name__}: {error}") from error


def _best_stream(path: Path, container: InputContainer) -> VideoStream:
    """The video of a file; the cover of an album is none."""
    if container.format.name in NO_VIDEOS:
        raise VideoError(f"{path}: expected a video, found {NO_VIDEOS[container.format.name]}")
    best, found = container.streams.best("video"), video_streams(container)
    if not found:
        what = "a file without images"
        if best is not None:
            cover = best.disposition & Disposition.attached_pic
            what = "a cover alone" if cover else "one that FFmpeg has no decoder for"
        raise VideoError(f"{path}: expected a video, found {what}")
    return best if isinstance(best, VideoStream) and best in found else found[0]


def video_streams(container: InputContainer) -> list[VideoStream]:
    """All videos of a file that can be decoded; a cover is none."""
    return [
        stream
        for stream in container.streams.video
        # PyAV says so where FFmpeg has no decoder
        if stream.codec_context is not None and not stream.disposition & Disposition.attached_pic
    ]


def shown_frames(container: InputContainer, stream: VideoStream, tally: Tally, step: float) -> Iterator[Timed]:
    """What is shown, by time, from the first frame to the last.

    Args:
        container: The file.
        stream: The video.
        tally: Counts what is read.
        step: Usual seconds from one frame to the next.

    Yields:
        Seconds, which increase, and the frame, or what is there in its place.
    """
    timed = by_time(decoded(container, stream, tally))
    if is_avi(container) and stream.time_base:
        timed = filled(timed, float(stream.time_base), min(stream.frames, tally.most // RIFF.size))
    return increasing(timed, step)


def decoded(container: InputContainer, stream: VideoStream, tally: Tally) -> Iterator[Timed]:
    """Frames as the decoder gives them; where it gives none for a packet, the time of that packet."""
    last, numbers, lost = 0.0, None, None
    if is_avi(container):
        numbers, lost = FrameNumbers(stream), LostPackets(stream, tally.size)
    for packet in packets(container, stream, tally):
        # Where reading stopped, the rest is not lost
        if lost is not None and not tally.stopped:
            yield from ((float(number * (stream.time_base or 1)), Gap.DAMAGED) for number in lost.before(packet))
        if packet is not None and not packet.size:
            yield seconds(packet, stream, last), Gap.REPEATED
            continue
        if numbers is not None:
            numbers.given(packet)
        try:
            frames = stream.decode(packet)
        # Of many classes
        except Exception:
            if packet is None or not packet.is_discard:
                yield numbers.failed(last) if numbers is not None else seconds(packet, stream, last), Gap.DAMAGED
            continue
        for frame in frames:
            if packet is not None and stream.codec_context.name == "mjpeg":
                keep_exif(frame, bytes(packet))
            last = numbers.shown(last) if numbers is not None else seconds(frame, stream, last)
            yield last, Gap.DAMAGED if frame.is_corrupt else frame
        if numbers is not None and not frames:
            numbers.silent()


def packets(container: InputContainer, stream: VideoStream, tally: Tally) -> Iterator[Packet | None]:
    """The packets of a file, and None at its end: what the decoder still holds is wanted then.

    Reading goes on behind places that cannot be read, unless there are too many of them.
    """
    unreadable = 0
    while unreadable < UNREADABLE:
        try:
            for packet in container.demux(stream):
                # The last one of PyAV has no time: it says that the file ends
                if packet.size or packet.dts is not None:
                    unreadable = 0
                    tally.add(packet, stream)
                    yield packet
                if tally.read > tally.most and (is_avi(container) or _is_mp4(container)):
                    tally.stopped = True
                    break
            break
        except Exception:
            unreadable += 1
    yield None


def promised(path: Path, container: InputContainer, stream: VideoStream) -> int:
    """Number of packets that a file promises, 0 where it does not say.

    The index of an MP4 file is what its edit list leaves of all packets. The header of an AVI file counts empty packets
    too, which are not read; but where the file is whole, nothing else is missing.
    """
    index = len(index_of(stream))
    if is_avi(container):
        return stream.frames if is_cut_off(path) else 0
    return min(index, stream.frames) if _is_mp4(container) else stream.frames


def stream_rate(container: InputContainer, stream: VideoStream, tally: Tally) -> Fraction:
    """Frames per second: by all frames where an index has their times, otherwise by the first packets.

    Reads on to packets that were not read yet.
    """
    index, base, claimed = index_of(stream), stream.time_base, stream.average_rate or stream.guessed_rate
    if is_avi(container) or not base:
        return frame_rate(claimed, None)
    if _is_mp4(container) and len(index) >= max(2, stream.frames):
        span = (index[len(index) - 1].timestamp - index[0].timestamp) * base
        return frame_rate(claimed, (len(index) - 1) / span if span > 0 else None)
    rest = packets(container, stream, tally)
    while len(tally.times) < MEASURED and next(rest) is not None:
        pass
    times = sorted({time for time in tally.times if time is not None})
    # Close to the last one some are missing, which come in another order
    times = times[:-REORDERED] if len(tally.times) >= MEASURED else times
    return frame_rate(claimed, None if None in tally.times else measured_rate(times, claimed))


def _is_mp4(container: InputContainer) -> bool:
    """Whether an index says where every frame is, before the first one is read."""
    return "mp4" in container.format.name.split(",")
