"""Videos in nine containers: bytes, boxes and chunks are damaged; every frame is read, and of some videos tracked."""

from __future__ import annotations

import math
import random
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from zlib import crc32

import cv2
import numpy as np
import torch

from clnf_torch import FitConfig, LandmarkDetector
from clnf_torch.media.video import open_video
from clnf_torch.media.video_frames import VideoError
from clnf_torch.tracking import VideoConfig, VideoTracker
from tests.factories import make_model
from tests.fuzz.formats import Format
from tests.fuzz.mutations import mutate_bytes, number
from tests.media.videos import FixedBox, encode

WIDTH, HEIGHT, FRAMES = 96, 64, 10
# One in so many videos is tracked too
TRACKED = 4
# Boxes that hold boxes, of MP4 and AVI files; and elements that hold elements, of Matroska files
MP4_PARENTS = {b"moov", b"trak", b"mdia", b"minf", b"dinf", b"stbl", b"edts", b"udta", b"moof", b"traf", b"mvex"}
AVI_PARENTS = {b"RIFF", b"LIST"}
MATROSKA_PARENTS = {0x18538067, 0x1654AE6B, 0xAE, 0x1F43B675, 0x1C53BB6B, 0xBB, 0xB7, 0xE0, 0x114D9B74, 0x4DBB}

Span = tuple[int, int]
"""Where something begins and ends in a file."""


def prepare(folder: Path) -> list[Path]:
    """A small video of each container and of most kinds of codecs."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    images = [(np.stack([x, 2 * y, x + y], 2) + 9 * shift).astype(np.uint8) for shift in range(FRAMES)]
    images = [cv2.GaussianBlur(image, (5, 5), 0) for image in images]
    encode(folder / "h264.mp4", images, bf="2", g="4")
    encode(folder / "parts.mp4", images, movflags="frag_keyframe+empty_moov", g="4")
    encode(folder / "wide.mov", images, "mpeg4", aspect=2)
    encode(folder / "jpeg.avi", images, "mjpeg")
    encode(folder / "empty.avi", images, "mpeg4", times=[number + number // 3 for number in range(FRAMES)])
    encode(folder / "h264.mkv", images)
    encode(folder / "browser.webm", images, "libvpx", times=[33 * number for number in range(FRAMES)], clock=1000)
    encode(folder / "raw.h264", images, g="4")
    for name, codec in (
        ("television.ts", "mpeg2video"),
        ("disc.mpg", "mpeg1video"),
        ("old.flv", "flv"),
        ("old.wmv", "wmv2"),
    ):
        encode(folder / name, images, codec)
    return sorted(folder.iterdir())


def use(path: Path) -> None:
    """Reads every frame as the tracker does, and tracks a face through some videos."""
    notes: list[str] = []
    source = open_video(path, notes.append)
    assert math.isfinite(float(source.rate)) and source.rate > 0, f"{source.rate} frames per second"
    tracker = _tracker() if crc32(path.read_bytes()) % TRACKED == 0 else None
    state, last = tracker.begin(1) if tracker else None, -1.0
    for frame in source:
        assert math.isfinite(frame.time) and frame.time > last, f"{frame.time} s after {last} s"
        last = frame.time
        if frame.image is None:
            continue
        assert frame.image.shape == (3, source.height, source.width), f"a frame of another size: {frame.image.shape}"
        if tracker and state is not None:
            with torch.inference_mode():
                state, result = tracker.step(state, frame.image[None])
            landmarks = result.faces.landmarks[result.success]
            assert landmarks.isfinite().all(), "success with landmarks that are not finite"
    for line in (*notes, source.problem or ""):
        assert len(line) <= 300 and (line.isprintable() or not line), f"a line of {len(line)} characters: {line!r}"


def _tracker() -> VideoTracker:
    """A tracker that finds a face in the middle of small frames."""
    config = VideoConfig(preset=FitConfig(window_sizes=(11, 9)), tracking_windows=(0, 9), multi_view=False)
    return VideoTracker(LandmarkDetector(make_model(torch.float32)), FixedBox([20, 10, 40, 40]), config)


def mutate(content: bytes, rng: random.Random) -> bytes:
    """Half of the damage goes to bytes, half to one or two boxes, chunks, elements or units."""
    if rng.random() < 0.5:
        return mutate_bytes(content, rng)
    for _ in range(rng.randint(1, 2)):
        spans = list(parts(content))
        if spans:
            content = rng.choice(PART_CHANGES)(content, spans, rng)
    return content


def parts(content: bytes) -> Iterator[Span]:
    """Boxes, chunks, elements or units of a file, however deep; those that it is made of first."""
    if content[:4] == b"RIFF":
        yield from _avi_chunks(content, 0, len(content))
    elif content[:4] == b"\x1a\x45\xdf\xa3":
        yield from _elements(content, 0, len(content))
    elif content[4:8] in {b"ftyp", b"moov", b"mdat"}:
        yield from _boxes(content, 0, len(content))
    else:
        starts = [at for at in range(len(content) - 3) if content[at : at + 3] == b"\0\0\1"]
        yield from zip(starts, [*starts[1:], len(content)], strict=False)


def _boxes(content: bytes, at: int, end: int) -> Iterator[Span]:
    while at + 8 <= end:
        length, kind = struct.unpack_from(">I4s", content, at)
        if not 8 <= length <= end - at:
            return
        yield at, at + length
        if kind in MP4_PARENTS:
            yield from _boxes(content, at + 8, at + length)
        at += length


def _avi_chunks(content: bytes, at: int, end: int) -> Iterator[Span]:
    while at + 8 <= end:
        kind, length = struct.unpack_from("<4sI", content, at)
        if length > end - at - 8:
            return
        yield at, at + 8 + length
        if kind in AVI_PARENTS:
            yield from _avi_chunks(content, at + 12, at + 8 + length)
        at += 8 + length + length % 2


def _elements(content: bytes, at: int, end: int) -> Iterator[Span]:
    while at + 2 <= end:
        name_length = 9 - content[at].bit_length()
        start = at + name_length
        if name_length > 4 or start >= end or not content[start]:
            return
        length_length = 9 - content[start].bit_length()
        body = start + length_length
        length = int.from_bytes(content[start:body], "big") & ((1 << 7 * length_length) - 1)
        last = min(body + length, end)
        yield at, last
        if int.from_bytes(content[at:start], "big") in MATROSKA_PARENTS:
            yield from _elements(content, body, last)
        at = last


# ---- changes of parts -----------------------------------------------------------------------------------------------


def without(content: bytes, spans: list[Span], rng: random.Random) -> bytes:
    """A part is missing."""
    start, end = rng.choice(spans)
    return content[:start] + content[end:]


def twice(content: bytes, spans: list[Span], rng: random.Random) -> bytes:
    """A part stands there twice."""
    start, end = rng.choice(spans)
    return content[:end] + content[start:]


def exchanged(content: bytes, spans: list[Span], rng: random.Random) -> bytes:
    """Two parts stand in each other's place."""
    (first, end), (second, last) = sorted(rng.choice(spans) for _ in range(2))
    if second < end:
        return twice(content, spans, rng)
    return content[:first] + content[second:last] + content[end:second] + content[first:end] + content[last:]


def spliced(content: bytes, spans: list[Span], rng: random.Random) -> bytes:
    """A part stands inside another one."""
    (start, end), (into, last) = rng.choice(spans), rng.choice(spans)
    at = rng.randint(into, last)
    return content[:at] + content[start:end] + content[at:]


def renumbered(content: bytes, spans: list[Span], rng: random.Random) -> bytes:
    """A number in the first bytes of a part is another: its length, its name, or a field."""
    small = [span for span in spans if span[1] - span[0] < 400] or spans
    start, end = rng.choice(small)
    at, new = start + rng.randrange(min(end - start, 64)), number(rng)
    return content[:at] + new + content[at + len(new) :]


PART_CHANGES: tuple[Callable[[bytes, list[Span], random.Random], bytes], ...] = (
    without,
    twice,
    exchanged,
    spliced,
    renumbered,
    renumbered,
    renumbered,
)

FORMATS = (Format(name="video", prepare=prepare, use=use, refusals=(VideoError,), mutate=mutate, share=2),)
