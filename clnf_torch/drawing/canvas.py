"""A canvas: smooth lines of any width, dashes, arrows and text on an image, in OpenCV's anti-aliased primitives."""

import math
from collections.abc import Sequence

import cv2
import numpy as np
import torch
from torch import Tensor

from clnf_torch.drawing.style import CASING, Colour, text_colour

# Fractional bits of the positions that OpenCV draws at
SUBPIXEL = 4
# Pixels: points farther out are not drawn, OpenCV's positions are 32-bit integers
FARTHEST = 1e6
# Height of OpenCV's capital letters at scale 1, pixels
CAPITALS = 22.0
FONT = cv2.FONT_HERSHEY_DUPLEX
# Lengths of dashes and of the gaps between them, in widths of the line
DASH, GAP = 3.0, 3.0
# Pixels: dashes that are shorter look like a line
SHORTEST_DASH = 3.0
# Length of an arrow's head, in widths of its line
HEAD = 4.0
# Dashes of a line; longer ones have longer dashes
MOST_DASHES = 64
# Thickness that OpenCV draws
THICKEST = 32767


class Canvas:
    """An image that is drawn on.

    Args:
        pixels: RGB, uint8, shape (H, W, 3), contiguous; drawn into.
    """

    def __init__(self, pixels: np.ndarray) -> None:
        self.pixels = pixels

    @classmethod
    def on(cls, image: Tensor | np.ndarray) -> "Canvas":
        """A copy of an image, uint8: a tensor of shape (3, H, W), or an array of shape (H, W, 3).

        Raises:
            ValueError: It has another type or shape.
        """
        if isinstance(image, np.ndarray):
            if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
                raise ValueError(f"image is {image.dtype} of shape {image.shape}; expected uint8 of shape (H, W, 3)")
            return cls(np.array(image, order="C"))
        if image.ndim != 3 or image.shape[0] != 3 or image.dtype != torch.uint8:
            raise ValueError(f"image is {image.dtype} of shape {tuple(image.shape)}; expected uint8 of shape (3, H, W)")
        # Ten times as fast as NumPy
        return cls(cv2.merge([np.ascontiguousarray(plane) for plane in image.detach().cpu().numpy()]))

    @property
    def size(self) -> tuple[int, int]:
        """Width and height."""
        return self.pixels.shape[1], self.pixels.shape[0]

    def lines(self, paths: Sequence[np.ndarray], colour: Colour, width: float, casing: float = 0.0) -> None:
        """Draws open paths.

        Args:
            paths: Pixels, each of shape (K, 2); a closed one ends where it begins.
            colour: Of the lines.
            width: Pixels. Thinner lines than one pixel are transparent instead.
            casing: Width of the dark edge on each side, pixels.
        """
        whole = [part for path in paths for part in finite_parts(path)]
        fixed = [_fixed(part) for part in whole]
        if not fixed:
            return
        if casing > 0:
            self._stroke(whole, fixed, CASING, width + 2 * casing)
        self._stroke(whole, fixed, colour, width)

    def dashes(self, paths: Sequence[np.ndarray], colour: Colour, width: float) -> None:
        """Draws dashed paths; otherwise as `lines`."""
        dash = max(DASH * width, SHORTEST_DASH)
        self.lines(
            [piece for path in paths for part in finite_parts(path) for piece in dashed(part, dash)], colour, width
        )

    def dots(self, points: np.ndarray, colour: Colour, radius: float) -> None:
        """Draws dots at points (K, 2); those that are not finite are left out."""
        unit = 1 << SUBPIXEL
        for x, y in points[drawable(points)].tolist():
            center = round(x * unit), round(y * unit)
            cv2.circle(self.pixels, center, round(radius * unit), colour, cv2.FILLED, cv2.LINE_AA, SUBPIXEL)

    def arrow(self, start: np.ndarray, end: np.ndarray, colour: Colour, width: float, casing: float = 0.0) -> None:
        """Draws an arrow from a point (2,) to another, with a smaller head where it is short; otherwise as `lines`."""
        along = end - start
        length = float(np.hypot(*along))
        head = min(HEAD * width, length / 2) / max(length, 1e-9) * along
        # To both sides, turned by about 30 degrees
        across = 0.55 * np.array([-head[1], head[0]])
        wings = np.stack([end - head + across, end, end - head - across])
        self.lines([np.stack([start, end]), wings], colour, width, casing)

    def label(self, text: str, corner: tuple[float, float], size: float, background: Colour) -> None:
        """Writes text on a filled rectangle, moved into the canvas where it would leave it.

        Args:
            text: ASCII; other characters become question marks.
            corner: The rectangle's lower left corner, pixels.
            size: Height of capital letters, pixels.
            background: Colour of the rectangle.
        """
        text, scale = text.encode("ascii", "replace").decode(), size / CAPITALS
        thickness = max(1, round(size / 12))
        (width, _), _ = cv2.getTextSize(text, FONT, scale, thickness)
        pad, height = math.ceil(size / 2), math.ceil(size)
        across, up = width + 2 * pad, height + 2 * pad
        left = round(min(max(corner[0], 0), max(0, self.size[0] - across)))
        bottom = round(min(max(corner[1], up), max(up, self.size[1])))
        cv2.rectangle(self.pixels, (left, bottom - up), (left + across - 1, bottom - 1), background, cv2.FILLED)
        place, colour = (left + pad, bottom - pad), text_colour(background)
        cv2.putText(self.pixels, text, place, FONT, scale, colour, thickness, cv2.LINE_AA)

    def frame(self, colour: Colour, width: int) -> None:
        """Draws a frame along the canvas's edges."""
        for side in (self.pixels[:width], self.pixels[-width:], self.pixels[:, :width], self.pixels[:, -width:]):
            side[:] = colour

    def _stroke(self, paths: list[np.ndarray], fixed: list[np.ndarray], colour: Colour, width: float) -> None:
        """Draws lines of one colour and width."""
        thickness = min(max(1, round(width)), THICKEST)
        if width >= 0.75:
            cv2.polylines(self.pixels, fixed, False, colour, thickness, cv2.LINE_AA, SUBPIXEL)
            return
        region = self._region(paths)
        if region.size:
            before = region.copy()
            cv2.polylines(self.pixels, fixed, False, colour, 1, cv2.LINE_AA, SUBPIXEL)
            cv2.addWeighted(region, width, before, 1 - width, 0, dst=region)

    def _region(self, paths: list[np.ndarray]) -> np.ndarray:
        """The part of the canvas that thin paths may change."""
        low = np.min([path.min(0) for path in paths], axis=0) - 2
        high = np.max([path.max(0) for path in paths], axis=0) + 3
        (x0, y0), (x1, y1) = (np.clip(bound, 0, self.size).astype(int).tolist() for bound in (low, high))
        return self.pixels[y0:y1, x0:x1]


def finite_parts(path: np.ndarray) -> list[np.ndarray]:
    """The stretches of a path (K, 2) without points that cannot be drawn, each of two points or more."""
    good = drawable(path)
    if good.all():
        return [path] if len(path) > 1 else []
    ends = np.flatnonzero(np.diff(np.concatenate([[False], good, [False]]).astype(int)))
    return [path[first:last] for first, last in ends.reshape(-1, 2).tolist() if last - first > 1]


def dashed(path: np.ndarray, dash: float) -> list[np.ndarray]:
    """The dashes of a path (K, 2), about `dash` pixels long each; corners between their ends are cut."""
    steps = np.hypot(*np.diff(path, axis=0).T)
    along = np.concatenate([[0.0], np.cumsum(steps)])
    count = min(max(1, round(along[-1] / (dash * (1 + GAP / DASH)))), MOST_DASHES)
    period = along[-1] / count
    starts = np.arange(count) * period + period * GAP / (DASH + GAP) / 2
    ends = starts + period * DASH / (DASH + GAP)
    places = np.stack([starts, (starts + ends) / 2, ends], axis=1)
    return list(np.stack([np.interp(places, along, path[:, axis]) for axis in (0, 1)], axis=-1))


def drawable(points: np.ndarray) -> np.ndarray:
    """Points (K, 2) that are finite and not too far out."""
    return (np.abs(points) < FARTHEST).all(-1)


def _fixed(path: np.ndarray) -> np.ndarray:
    """A path as OpenCV takes it: integers with fractional bits."""
    return np.round(path * (1 << SUBPIXEL)).astype(np.int32)
