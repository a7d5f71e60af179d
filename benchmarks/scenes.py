"""Annotated faces put into larger images, where a face detector has something to search."""

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor

from benchmarks.material import SHARED

FACES = SHARED / "faces"
LARGER = (1.5, 3.0)  # sides of a scene, in sides of the face's image
TILES = 12  # across the image that a background is made of: a sixth of its face each
NOISE = 4.0  # gray levels


@dataclass(frozen=True, kw_only=True)
class FrameBatch:
    """An image with an annotated face, and perhaps with others."""

    image: Tensor  # (3, H, W) RGB, uint8
    extent: Tensor  # (4,) x, y, width, height of the annotated face's landmarks, pixels
    place: Tensor  # (4,) x, y, width, height of the photograph; outside are shuffled pieces of another one

    def turned(self, turns: int) -> "FrameBatch":
        """The same after so many quarter turns to the left."""
        if not turns:
            return self
        width = self.image.shape[2]
        # A point's y becomes x; what was its distance from the right border becomes y; pixel centres are whole numbers
        extent, place = (
            torch.stack((box[1], border - box[0] - box[2], box[3], box[2]))
            for box, border in ((self.extent, width - 1), (self.place, width))
        )
        turned = FrameBatch(image=self.image.rot90(1, (1, 2)).contiguous(), extent=extent, place=place)
        return turned.turned(turns - 1)


def scenes(
    split: str,
    widths: tuple[float, float] | None = None,
    every: int = 1,
    seed: int = 0,
    frame: tuple[int, int] | None = None,
) -> Iterator[FrameBatch]:
    """Each face of a split in a scene of its own, the same ones in every run.

    Args:
        split: ``afw``, ``helen_train`` or ``lfpw_train``.
        widths: Widths that the faces are shrunk to, evenly distributed over their logarithms, pixels, where they are
            wider; None: as they are.
        every: Leaves out all but each so manieth face.
        seed: Of the randomness.
        frame: Height and width of every scene; None: 1.5 to 3 times those of the photograph.
    """
    with np.load(FACES / "landmarks.npz") as faces:
        chosen = np.flatnonzero(faces["split"] == split)[::every]
        names, landmarks = faces["names"][chosen], faces["landmarks"][chosen]
    rng = np.random.default_rng(seed)
    for name, points in zip(names, landmarks, strict=True):
        photograph, other = (_read(str(one)) for one in (name, rng.choice(names)))
        shrink = 1.0
        if widths is not None:
            shrink = min(1.0, np.exp(rng.uniform(*np.log(widths))) / np.ptp(points[:, 0]))
        yield _scene(photograph, points, other, shrink, rng, frame)


def _scene(
    photograph: np.ndarray,
    points: np.ndarray,
    other: np.ndarray,
    shrink: float,
    rng: np.random.Generator,
    frame: tuple[int, int] | None,
) -> FrameBatch:
    """A photograph with its landmarks (68, 2), shrunk and put somewhere on a background."""
    height, width = (max(1, round(shrink * side)) for side in photograph.shape[:2])
    scale = np.array([width, height]) / photograph.shape[1::-1]
    small = cv2.resize(photograph, (width, height), interpolation=cv2.INTER_AREA)
    sides = frame or [round(rng.uniform(*LARGER) * side) for side in (height, width)]
    canvas = _background(other, *sides, rng)
    row, column = (
        int(rng.integers(0, whole - part + 1)) for whole, part in zip(canvas.shape, small.shape[:2], strict=False)
    )
    canvas[row : row + height, column : column + width] = small
    moved = (points + 0.5) * scale - 0.5 + (column, row)
    extent = np.concatenate((moved.min(0), np.ptp(moved, 0)))
    return FrameBatch(
        image=torch.from_numpy(canvas).permute(2, 0, 1),
        extent=torch.from_numpy(extent),
        place=torch.tensor([column, row, width, height], dtype=torch.float64),
    )


def _background(image: np.ndarray, height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    """Pieces of an image, shuffled, turned over and noisy, until they fill (height, width, 3)."""
    side = image.shape[0] // TILES
    tiles = [
        image[row : row + side, column : column + side]
        for row in range(0, side * TILES, side)
        for column in range(0, side * TILES, side)
    ]
    rows, columns = -(-height // side), -(-width // side)
    picks, turns = rng.integers(0, len(tiles), (rows, columns)), rng.integers(0, 4, (rows, columns))
    filled = np.block(
        [[[np.rot90(tiles[k], t)] for k, t in zip(*line, strict=True)] for line in zip(picks, turns, strict=True)]
    )
    noisy = filled[:height, :width] + rng.normal(0, NOISE, (height, width, 1))
    return np.ascontiguousarray(noisy.clip(0, 255).astype(np.uint8))


def _read(name: str) -> np.ndarray:
    """A photograph as RGB, (H, W, 3)."""
    return np.ascontiguousarray(cv2.imread(str(FACES / name))[..., ::-1])
