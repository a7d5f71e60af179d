"""Images that OpenCV reads in some versions alone, or not at all: FFmpeg decodes them, and libheif where installed."""

import contextlib
import io
import struct
from collections.abc import Generator
from typing import SupportsBytes, cast

import av
import numpy as np
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from clnf_torch.media.mp4_boxes import require_possible_counts

# FFmpeg's decoders, by the formats of `read_header`
CODECS = {
    "EXR": "exr",
    "GIF": "gif",
    "HDR": "hdr",
    "JPEG 2000": "jpeg2000",
    "Sun raster": "sunrast",
    "TGA": "targa",
    "TIFF": "tiff",
}
PNM_CODECS = {b"1": "pbm", b"2": "pgm", b"3": "ppm", b"4": "pbm", b"5": "pgm", b"6": "ppm", b"7": "pam"}
# These hold amounts of light
LINEAR = {"EXR", "HDR"}
HEIC_REMEDY = 'pip install "clnf-torch[heic]", or save it as JPEG'


class DecodeError(ValueError):
    """Content that cannot be decoded; its text is part of a line."""


def decode_with_ffmpeg(content: bytes, kind: str, max_pixels: int) -> np.ndarray:
    """Decodes the first image of a file.

    Args:
        content: The file.
        kind: Its format, as `read_header` names it.
        max_pixels: Larger images are refused before memory is taken for them.

    Returns:
        RGB (H, W, 3) or gray (H, W), uint8, uint16 or float32, turned as an AVIF file says.

    Raises:
        DecodeError: It is damaged.
    """
    limits = {"max_pixels": str(max_pixels)}
    try:
        frames = _frames_of_avif(content, limits) if kind == "AVIF" else _frames(content, _codec(content, kind), limits)
        with contextlib.closing(frames):
            frame = next(frames, None)
        if frame is not None and frame.width * frame.height <= max_pixels:
            return _encoded(_pixels(frame)) if kind in LINEAR else _pixels(frame)
    except (av.FFmpegError, ValueError, IndexError) as error:
        raise DecodeError(getattr(error, "strerror", None) or str(error)) from error
    raise DecodeError("no image in it")


def decode_heic(content: bytes, max_pixels: int) -> np.ndarray:
    """Decodes HEIC by pillow-heif, which turns it as it says, to RGB (H, W, 3), uint8.

    Raises:
        DecodeError: It is damaged or too large, or pillow-heif is not installed.
    """
    try:
        from pillow_heif import open_heif
    except ImportError as error:
        raise DecodeError(f"HEIC needs pillow-heif: {HEIC_REMEDY}") from error
    try:
        image = open_heif(io.BytesIO(content))
        if image.size[0] * image.size[1] > max_pixels:
            raise DecodeError(f"{image.size[0]} x {image.size[1]} pixels are more than {max_pixels}")
        pixels = np.asarray(image)
    except (ValueError, RuntimeError, OSError, EOFError, SyntaxError) as error:
        raise DecodeError(str(error)) from error
    return pixels[..., :3] if pixels.ndim == 3 else pixels


def _codec(content: bytes, kind: str) -> str:
    """FFmpeg's name of the decoder."""
    if kind == "PNM":
        return PNM_CODECS.get(content[1:2], "pfm")
    return CODECS[kind]


def _frames(content: bytes, codec: str, options: dict[str, str]) -> Generator[VideoFrame, None, None]:
    """What a decoder makes of a whole file."""
    context = cast(VideoCodecContext, av.CodecContext.create(codec, "r"))
    context.options, context.thread_count = options, 1
    # Made by its size, a packet has the zeros at its end that FFmpeg's decoders ask for
    packet = av.Packet(len(content))
    packet.update(content)
    for some in (packet, None):
        yield from context.decode(some)


def _frames_of_avif(content: bytes, options: dict[str, str]) -> Generator[VideoFrame, None, None]:
    """The images of an AVIF file, which is a container."""
    file = io.BytesIO(content)
    require_possible_counts(file, len(content))
    file.seek(0)
    with av.open(file, "r", format="mov") as container:
        stream = container.streams.best("video")
        if not isinstance(stream, VideoStream):
            return
        stream.codec_context.options, stream.codec_context.thread_count = options, 1
        for packet in container.demux(stream):
            yield from stream.decode(packet)


def _pixels(frame: VideoFrame) -> np.ndarray:
    """A frame's pixels in the depth that it has."""
    name = frame.format.name
    if "f32" in name:
        pixels = frame.to_ndarray(format="gbrpf32le" if "rgb" in name or "gbr" in name else "grayf32le")
    else:
        deep = any(component.bits > 8 for component in frame.format.components)
        pixels = frame.to_ndarray(format="rgb48le" if deep else "rgb24")
    try:
        matrix = frame.side_data.get("DISPLAYMATRIX")
    except ValueError:
        # This PyAV has no name for something beside it: without mirrors then
        return np.rot90(pixels, round(frame.rotation / 90))
    return pixels if matrix is None else _turned(pixels, struct.unpack("<9i", bytes(cast(SupportsBytes, matrix))))


def _turned(pixels: np.ndarray, matrix: tuple[int, ...]) -> np.ndarray:
    """Pixels as a display matrix asks for: x' = m0 x + m3 y, y' = m1 x + m4 y, in right angles and mirrors."""
    across, down = matrix[0], matrix[4]
    if across == 0:
        pixels, across, down = pixels.swapaxes(0, 1), matrix[3], matrix[1]
    pixels = pixels[:, ::-1] if across < 0 else pixels
    return pixels[::-1] if down < 0 else pixels


def _encoded(light: np.ndarray) -> np.ndarray:
    """Amounts of light as sRGB shows them, 0 to 1."""
    light = np.nan_to_num(light, nan=0.0, posinf=1.0, neginf=0.0).clip(0, 1)
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
