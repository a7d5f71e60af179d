"""Small videos, made on the spot."""

from __future__ import annotations

import struct
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import torch

from clnf_torch.cli.videos.video_writer import video_file
from clnf_torch.detection import FaceBoxes


def shades(count: int, width: int = 64, height: int = 48) -> list[np.ndarray]:
    """Images (H, W, 3), each of one gray level: 0, 10, 20, ..."""
    return [np.full((height, width, 3), 10 * number, np.uint8) for number in range(count)]


def moving(image: Path, count: int) -> list[np.ndarray]:
    """An image that moves to the right by a pixel per frame, BGR."""
    still = cv2.imread(str(image))
    return [np.roll(still, number, axis=1) for number in range(count)]


def write_video(path: Path, images: list[np.ndarray], rate: int = 25) -> Path:
    """The path, with a video of BGR images."""
    with video_file(path, Fraction(rate)) as video:
        for image in images:
            video.append(image[..., ::-1])
    return path


def encode(
    path: Path,
    images: list[np.ndarray],
    codec: str = "libx264",
    *,
    times: list[int] | None = None,
    clock: int = 25,
    aspect: int = 1,
    **options: str,
) -> Path:
    """The path, with a video of BGR images, shown at times in ticks of a clock, of pixels that are so wide."""
    of_file = {name: options.pop(name) for name in ("movflags",) if name in options}
    with av.open(str(path), "w", options=of_file) as container:
        stream = container.add_stream(codec, rate=clock, options=options)
        stream.height, stream.width = images[0].shape[:2]
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.codec_context.time_base = Fraction(1, clock)
        stream.codec_context.sample_aspect_ratio = Fraction(aspect)
        for number, image in enumerate(images):
            frame = av.VideoFrame.from_ndarray(image, format="bgr24")
            frame.pts, frame.time_base = times[number] if times else number, Fraction(1, clock)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def patch(path: Path, marker: bytes, offset: int, numbers: str, *values: int) -> Path:
    """The path, with numbers, as ``struct`` names them, in place of what stands so far behind a marker."""
    content = bytearray(path.read_bytes())
    struct.pack_into(numbers, content, content.index(marker) + offset, *values)
    path.write_bytes(content)
    return path


def write_folder(path: Path, images: list[np.ndarray]) -> Path:
    """The path, with images 0.png, 1.png, ... in it."""
    path.mkdir()
    for number, image in enumerate(images):
        assert cv2.imwrite(str(path / f"{number}.png"), image)
    return path


def write_key_frames(path: Path, images: list[np.ndarray]) -> Path:
    """The path, with a video in which no image refers to another."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=25)
        stream.height, stream.width, stream.pix_fmt = *images[0].shape[:2], "yuvj420p"
        for image in images:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="bgr24")))
        container.mux(stream.encode(None))
    return path


def damage_frame(path: Path, number: int) -> Path:
    """A copy next to an AVI file of key frames, in which one frame cannot be read; empty packets do not count."""
    damaged, content = path.with_name(f"damaged{path.suffix}"), bytearray(path.read_bytes())
    end, place, seen = content.index(b"idx1"), content.index(b"movi"), -1
    while seen < number:
        place = content.index(b"00dc", place + 4, end)
        (size,) = struct.unpack_from("<I", content, place + 4)
        seen += size > 0
    content[place + 8 : place + 8 + size] = b"\xff" * size
    damaged.write_bytes(content)
    return damaged


def levels(source) -> list[int | None]:
    """The mean gray level of every frame, None where it is damaged."""
    return [None if frame.image is None else round(float(frame.image.float().mean())) for frame in source]


def assert_shades(found, damaged=()):
    """Frames of 0, 10, 20, ...; encoders change levels a little."""
    for number, level in enumerate(found):
        assert (level is None) == (number in damaged)
        assert level is None or abs(level - 10 * number) <= 4


class FixedBox:
    """A face detector that finds the same box in every frame that is not dark."""

    def __init__(self, box: list[float]) -> None:
        self.box = box

    def detect(self, frames: torch.Tensor) -> FaceBoxes:
        """The box of every frame."""
        image_index = (frames.float().flatten(1).mean(1) > 5).nonzero().squeeze(1)
        boxes = torch.tensor([self.box]).expand(len(image_index), 4)
        return FaceBoxes(boxes=boxes, score=torch.ones(len(image_index)), image_index=image_index)
