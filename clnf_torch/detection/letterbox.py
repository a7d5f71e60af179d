"""Frames fitted into the square that a network looks at, framed by black, as MediaPipe shows them to its networks."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import interpolate, pad

# Gray levels are divided by half of their range, which makes them -1 to 1
HALF_RANGE = 127.5


class Letterbox(NamedTuple):
    """How a frame lies in the square that a network looks at, centred and framed by black.

    Attributes:
        left: Columns of black to the left of it.
        top: Rows of black above it.
        width: Its width there.
        height: Its height there.
        across: Pixels of the frame in one column of the square.
        along: Pixels of the frame in one row of the square.
    """

    left: int
    top: int
    width: int
    height: int
    across: float
    along: float

    @classmethod
    def of(cls, height: int, width: int, side: int) -> "Letterbox":
        """A frame's place in a square of so many pixels."""
        scale = side / max(height, width)
        wide, high = max(1, round(scale * width)), max(1, round(scale * height))
        return cls((side - wide) // 2, (side - high) // 2, wide, high, width / wide, height / high)

    def to_frame(self, points: Tensor) -> Tensor:
        """Places in the frame of places in the square, both (..., 2).

        Args:
            points: x and y from the square's corner, in its pixels.

        Returns:
            x and y, pixels; the centre of the first one is 0, 0.
        """
        x, y = points.unbind(-1)
        return torch.stack(((x - self.left) * self.across - 0.5, (y - self.top) * self.along - 0.5), -1)


def letterboxed(frames: Tensor, box: Letterbox, side: int, dtype: torch.dtype) -> Tensor:
    """Frames as a network is shown them.

    MediaPipe interpolates between four pixels of the frame; here each pixel is a mean of all that it covers.

    Args:
        frames: Gray or RGB, gray levels 0 to 255, shape (F, 1 or 3, H, W).
        box: Where they lie in the square.
        side: Of the square, pixels.
        dtype: Number type of the result.

    Returns:
        Shape (F, 3, side, side), from -1, which is black, to 1.
    """
    if not (frames.dtype == torch.uint8 and frames.device.type == "cpu"):
        frames = frames.to(dtype)
    small = interpolate(frames, (box.height, box.width), mode="bilinear", antialias=True).to(dtype)
    right, below = side - box.left - box.width, side - box.top - box.height
    image = pad(small.div_(HALF_RANGE).sub_(1.0), (box.left, right, box.top, below), value=-1.0)
    return image.expand(-1, 3, -1, -1)
