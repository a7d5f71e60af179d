"""Images in and out, through OpenCV."""

import os
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from clnf_torch.files.reading import InputError, require_regular_file, wrong_download
from clnf_torch.files.writing import write_atomically
from clnf_torch.geometry.pillow import upright
from clnf_torch.media.decoder_messages import caught_messages
from clnf_torch.media.image_folder import VIDEOS, description
from clnf_torch.media.image_headers import ImageHeader, first_image, read_header
from clnf_torch.media.other_formats import CODECS, DecodeError, decode_heic, decode_with_ffmpeg
from clnf_torch.media.pixel_depth import stored_to_eight_bits

# Pixels of an image: above the 200 million of the largest cameras. This many take 2 GB while they are read
MAX_PIXELS = 2**28
# The environment variable that sets another limit
MAX_PIXELS_NAME = "CLNF_TORCH_MAX_PIXELS"
# Bytes of a file for each pixel that an image may have: four channels of float32
BYTES_PER_PIXEL = 16
# How videos begin: Windows Media, Matroska and WebM, Flash, MPEG; and the first boxes of MP4 and QuickTime
VIDEO_BEGINNINGS = (b"\x30\x26\xb2\x75", b"\x1a\x45\xdf\xa3", b"FLV\x01", b"\0\0\x01\xba", b"\0\0\x01\xb3")
MOVIE_BOXES = (b"ftyp", b"moov", b"mdat", b"wide")
# What else has boxes: raw photographs, sound, and images that are not known
NO_MOVIES = (b"crx ", b"M4A ", b"mif1", b"msf1", b"heic", b"avif")
# Depth and colours as they are stored, without transparency; the EXIF orientation is followed here
AS_STORED = cv2.IMREAD_ANYCOLOR | cv2.IMREAD_ANYDEPTH | cv2.IMREAD_IGNORE_ORIENTATION

# An image that cannot be decoded is reported by us, once.
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


class ImageError(InputError, ValueError):
    """An image that cannot be read; its text is one line."""


def read_image(path: Path, note: Callable[[str], None] | None = None) -> Tensor:
    """An image as RGB, uint8, shape (3, H, W); in memory, its channels are last.

    Gray images come with three equal channels, from which OpenFace's gray is the same again. Deeper images are brought
    to eight bits as `stored_to_eight_bits` says, transparency is dropped, and a photograph is turned upright as its
    EXIF orientation says, so boxes and landmarks belong to the image as it is shown. Of several frames or pages the
    first is read. OpenCV decodes PNG, JPEG, TIFF, WebP and BMP; FFmpeg the rest; pillow-heif, if installed, HEIC.

    Args:
        path: The file.
        note: Told in a line what a user should know of an image that is read.

    Raises:
        ImageError: It cannot be read or decoded, is cut off, or has more pixels than `MAX_PIXELS`.
    """
    return decode_image(_content(path, max_pixels() * BYTES_PER_PIXEL), path, note)


def decode_image(content: bytes, path: Path, note: Callable[[str], None] | None = None) -> Tensor:
    """An image from the bytes of its file; otherwise as `read_image`.

    Args:
        content: The whole file.
        path: What it is called; it is not opened.
        note: Told in a line what a user should know of it.

    Raises:
        ImageError: It cannot be decoded, is cut off, or has more pixels than `MAX_PIXELS`.
    """
    limit = max_pixels()
    header = read_header(content, path.suffix)
    if header is None:
        raise ImageError(f"{path}: expected an image, found {_something_else(path, content)}")
    if header.width * header.height > limit:
        found = f"{header.width} x {header.height} pixels are more than {limit}"
        raise ImageError(f"{path}: {found}; to allow them, set {MAX_PIXELS_NAME}")
    if not header.whole:
        raise ImageError(f"{path}: the {header.format} file is damaged: it is cut off")
    try:
        with caught_messages() as damages:
            pixels = _decoded(content, header, limit)
        pixels = stored_to_eight_bits(pixels)
    except DecodeError as error:
        reason = ": ".join([str(error), *damages[:1]])
        raise ImageError(f"{path}: cannot be decoded as {header.format}: {reason}") from error
    if damages and note is not None:
        note(f"{path}: the {header.format} file is damaged, its image may be wrong in places: {damages[0]}")
    if header.several and note is not None:
        note(f"{path}: holds several images; the first one is used")
    pixels = np.broadcast_to(pixels[..., None], (*pixels.shape, 3)) if pixels.ndim == 2 else pixels
    image = torch.from_numpy(np.ascontiguousarray(pixels)).movedim(-1, 0)
    return upright(image, header.orientation)


def _content(path: Path, most: int) -> bytes:
    """The bytes of a file, if it is one and has no more than so many."""
    if path.is_dir():
        raise ImageError(f"{path}: expected an image, found {description(path)}")
    try:
        size = require_regular_file(path)
        if size <= most:
            return path.read_bytes()
    except OSError as error:
        raise ImageError(f"{path}: cannot be read: {error.strerror or error}") from error
    raise ImageError(f"{path}: {size} bytes are more than {most}; to allow them, set {MAX_PIXELS_NAME}")


def _something_else(path: Path, content: bytes) -> str:
    """What a file is that is no image."""
    if not content:
        return "an empty file"
    if download := wrong_download(content):
        return download
    if path.suffix.lower() in VIDEOS or _begins_as_video(content):
        return "a video; give it to clnf-torch track"
    return "something else"


def _begins_as_video(content: bytes) -> bool:
    """Whether a file that is no image begins as videos do, whatever its name."""
    is_avi = content[:4] == b"RIFF" and content[8:12] == b"AVI "
    is_movie = content[4:8] in MOVIE_BOXES and content[8:12] not in NO_MOVIES
    return is_avi or is_movie or content.startswith(VIDEO_BEGINNINGS)


def max_pixels(usual: int = MAX_PIXELS) -> int:
    """The largest number of pixels that an image may have: the usual one, unless the environment says another.

    Raises:
        ImageError: The environment says none.
    """
    given = os.environ.get(MAX_PIXELS_NAME, "").strip() or str(usual)
    if not given.isdecimal() or not 0 < len(given) < 16 or int(given) == 0:
        raise ImageError(f"{MAX_PIXELS_NAME}={given[:40]!r}: expected a number of pixels, whole and above 0")
    return int(given)


def _decoded(content: bytes, header: ImageHeader, limit: int) -> np.ndarray:
    """The first image of a file, RGB (H, W, 3) or gray (H, W), as deep as it is stored."""
    if header.format == "HEIC":
        return decode_heic(content, limit)
    # OpenCV multiplies the colours of such a TIFF file with their opacity
    if header.transparent or (header.format in {"AVIF", "PNM", *CODECS} and header.format != "TIFF"):
        return decode_with_ffmpeg(content, header.format, limit)
    try:
        pixels = cv2.imdecode(np.frombuffer(first_image(content, header), np.uint8), AS_STORED)
    except cv2.error as error:
        raise DecodeError(error.err) from error
    if pixels is None:
        raise DecodeError("damaged, or stored in an unusual way")
    if header.inverted:
        pixels = np.iinfo(np.uint16).max - pixels if pixels.dtype == np.uint16 else pixels.max() - pixels
    if pixels.ndim == 2:
        return pixels
    return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB) if pixels.dtype in (np.uint8, np.uint16) else pixels[..., ::-1]


def write_image(path: Path, pixels: np.ndarray) -> None:
    """Writes an RGB image (H, W, 3), uint8, in the format of the name's suffix; it has its name once it is complete."""
    _, content = cv2.imencode(path.suffix, pixels[..., ::-1])
    with write_atomically(path) as file:
        file.write(content.tobytes())


def jpeg(pixels: np.ndarray, quality: int = 80) -> bytes:
    """An RGB image (H, W, 3), uint8, as the content of a JPEG file."""
    _, content = cv2.imencode(".jpg", pixels[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    return content.tobytes()
