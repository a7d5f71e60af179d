"""Frames as players show them: of square pixels, upright, mirrored where the file says so, and all of one size."""

import math
import struct
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, SupportsBytes, cast

import torch
from av.sidedata.sidedata import SideDataContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from torch import Tensor
from torch.nn.functional import pad

from clnf_torch.media.image_headers import read_header

# Width of a pixel per height up to which it counts as square: encoders round
ALMOST_SQUARE = 1.01
# Width of a pixel per height, or height per width, beyond which the number is taken for a mistake; discs have up to 2
MAX_PIXEL_ASPECT = 4.0
# Sine of an angle that a display matrix may be off a multiple of 90 degrees: its numbers have 16 bits
MATRIX_TOLERANCE = 0.005
# Nine int32 of which the first two columns say where x and y of a stored pixel are shown
MATRIX = struct.Struct("=9i")


@dataclass(frozen=True)
class Orientation:
    """How a stored frame becomes the shown one: the diagonal is mirrored first, then the sides."""

    transposed: bool = False
    flip_x: bool = False
    flip_y: bool = False
    remark: str = ""  # where this is not quite what the file says

    def turn(self, width: int, height: int) -> tuple[int, int]:
        """The size that a size becomes, and the other way round."""
        return (height, width) if self.transposed else (width, height)

    def __call__(self, image: Tensor) -> Tensor:
        """A shown image (3, H, W) of a stored one."""
        image = image.mT if self.transposed else image
        mirrored = [axis for axis, flip in ((2, self.flip_x), (1, self.flip_y)) if flip]
        return image.flip(mirrored) if mirrored else image


def keep_exif(frame: VideoFrame, content: bytes) -> None:
    """Keeps the EXIF orientation of a JPEG image with the frame that was decoded from it."""
    header = read_header(content)
    exif = header.orientation if header else 1
    if exif > 1:
        # What PyAV keeps for its callers. It keeps it by address: no two frames may share an object
        frame.opaque = Orientation(exif >= 5, exif in {2, 3, 6, 7}, exif in {3, 4, 7, 8})


def orientation(frame: VideoFrame) -> Orientation:
    """The orientation that the container, the stream, or EXIF data give a frame: the nearest of the eight."""
    if isinstance(frame.opaque, Orientation):
        return frame.opaque
    try:
        # Not `frame.side_data`: the frame keeps it, it keeps the frame, and both stay until garbage is collected
        data = cast(Any, SideDataContainer)(frame).get("DISPLAYMATRIX")
    except ValueError:
        # PyAV reads no side data where there are some that it does not know; a turn it knows nevertheless
        turns = round(frame.rotation / 90) % 4
        return Orientation(turns in {1, 3}, turns in {2, 3}, turns in {1, 2})
    content = b"" if data is None else bytes(cast(SupportsBytes, data))
    if len(content) < MATRIX.size:
        return Orientation()
    # x' = a x + c y, y' = b x + d y
    a, b, _, c, d, *_ = MATRIX.unpack_from(content)
    transposed = abs(b) + abs(c) > abs(a) + abs(d)
    along_x, along_y = (c, b) if transposed else (a, d)
    if not along_x or not along_y:
        return Orientation(remark="its display matrix shows nothing; frames are read as they are stored")
    return Orientation(transposed, along_x < 0, along_y < 0, _remark(a, b, c, d))


def _remark(a: int, b: int, c: int, d: int) -> str:
    """What is said about a matrix that does more than to exchange or mirror axes."""
    off_x, off_y = (min(abs(p), abs(q)) / math.hypot(p, q) for p, q in ((a, b), (c, d)))
    if max(off_x, off_y) <= MATRIX_TOLERANCE:
        return ""
    angle = math.degrees(math.atan2(b, a))
    return f"its display matrix turns by {angle:.1f} degrees; the nearest multiple of 90 degrees is used"


class PixelAspect:
    """The width of a video's pixels per height, where the file says one.

    What the container says holds until the stream itself says something else than at its beginning, as broadcasts do
    where films begin and end.

    Args:
        stream: The video, of which a frame is decoded.
    """

    def __init__(self, stream: VideoStream) -> None:
        self._stream, self._said = stream, stream.sample_aspect_ratio
        self._first = stream.codec_context.sample_aspect_ratio

    def __call__(self) -> Fraction | None:
        """The ratio now; None where nothing is said."""
        now = self._stream.codec_context.sample_aspect_ratio
        return self._said if now == self._first else now


def geometry_notes(frame: VideoFrame, aspect: Fraction | None) -> list[str]:
    """What a user should know about the way from stored to shown pixels, a line each."""
    remark = orientation(frame).remark
    notes, stored = [remark] if remark else [], (frame.width, frame.height)
    if not is_plausible(aspect):
        notes.append(
            f"its pixels are said to be {float(aspect or 1):.3g} times as wide as high; they are read as square"
        )
    width, height = square_size(*stored, aspect)
    if (width, height) != stored:
        notes.append(
            f"its {stored[0]} x {stored[1]} pixels are not square; they are read as {width} x {height} square ones, as "
            "players show them, and coordinates belong to these"
        )
    return notes


def square_size(width: int, height: int, aspect: Fraction | None) -> tuple[int, int]:
    """The size in square pixels: a side is enlarged, none made smaller.

    Args:
        width: Stored pixels.
        height: Stored pixels.
        aspect: Width of a pixel per height; None, or a number without sense, means square.
    """
    if not is_plausible(aspect) or not aspect or 1 / ALMOST_SQUARE <= aspect <= ALMOST_SQUARE:
        return width, height
    return (round(width * aspect), height) if aspect > 1 else (width, round(height / aspect))


def is_plausible(aspect: Fraction | None) -> bool:
    """Whether pixels may have such a shape; a file that does not say means square ones."""
    return not aspect or 1 / MAX_PIXEL_ASPECT <= aspect <= MAX_PIXEL_ASPECT


def shown_size(frame: VideoFrame, aspect: Fraction | None) -> tuple[int, int]:
    """Width and height of a frame as it is shown."""
    return orientation(frame).turn(*square_size(frame.width, frame.height, aspect))


def shown_image(frame: VideoFrame, aspect: Fraction | None, size: tuple[int, int]) -> Tensor:
    """A frame as it is shown, with black bars where its sides have another ratio than the size.

    Args:
        frame: As it is stored.
        aspect: Width of its pixels per height.
        size: Width and height of the image.

    Returns:
        RGB, uint8, shape (3, H, W).
    """
    turn = orientation(frame)
    width, height = fitted(turn.turn(*square_size(frame.width, frame.height, aspect)), size)
    stored_width, stored_height = turn.turn(width, height)
    stored = torch.from_numpy(frame.to_ndarray(width=stored_width, height=stored_height, format="rgb24"))
    image = turn(stored.permute(2, 0, 1))
    if (width, height) == size:
        return image
    left, top = (size[0] - width) // 2, (size[1] - height) // 2
    return pad(image, (left, size[0] - width - left, top, size[1] - height - top))


def fitted(size: tuple[int, int], into: tuple[int, int]) -> tuple[int, int]:
    """The largest size (width, height) with the same ratio that fits into another."""
    if size == into:
        return size
    scale = min(into[0] / size[0], into[1] / size[1])
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))
