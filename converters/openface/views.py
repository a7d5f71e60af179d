"""The views of patch expert files, and the checks that all families share: room for the widest, numbers that fit."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from clnf_torch.converters.openface.binary import FLOAT64, INT32, BinaryReader
from clnf_torch.converters.openface.errors import DOWNLOAD_AGAIN, ConversionError, Place

# Pixels per model unit; OpenFace's are 0.25 to 1.5
MIN_SCALE, MAX_SCALE = 1e-3, 1e3
MAX_DEGREES = 360.0

Shape = tuple[int, int]


@dataclass(frozen=True, kw_only=True, eq=False)
class Views:
    """The views of a patch expert file.

    Attributes:
        scale: Size of the reference frame, pixels per model unit.
        centers: Euler angles in DEGREES, (V, 3).
        visible: Whether a landmark is seen in a view, (V, N) bool.
        center_shapes: The rows and columns in which each centre was written.
        visible_shapes: The same of each view's visibilities.
    """

    scale: float
    centers: NDArray[np.float64]
    visible: NDArray[np.bool_]
    center_shapes: tuple[Shape, ...] = ()
    visible_shapes: tuple[Shape, ...] = ()


def read_views(reader: BinaryReader, points: int) -> Views:
    """Reads scale, view centres and visibilities.

    Args:
        reader: The file, at its start.
        points: Number of landmarks N of the PDM.

    Raises:
        ConversionError: They are damaged, or for another number of landmarks.
    """
    place = reader.place
    scale = check_scale(reader.take("d", "the patch scaling (float64)"), place)
    place = reader.place
    count = reader.take("i", "the number of views (int32)")
    # A view has a centre (36 bytes) and a matrix header (12) at least
    if count < 1 or 48 * count > reader.remaining:
        found = f"{count} with {reader.remaining} bytes left"
        raise ConversionError(place, expected="a number of views that the file can hold", found=found)
    centers, visible = [], []
    for reader.view in range(count):
        place = reader.place
        angles, shape = reader.vector("a view centre", FLOAT64, 3)
        centers.append((check_center(angles, place), shape))
    for reader.view in range(count):
        place = reader.place
        values, shape = reader.vector("the landmarks' visibility", INT32, points)
        visible.append((check_visibility(values, place), shape))
    reader.view = None
    return Views(
        scale=scale,
        centers=np.stack([values for values, _ in centers]),
        visible=np.stack([values for values, _ in visible]),
        center_shapes=tuple(shape for _, shape in centers),
        visible_shapes=tuple(shape for _, shape in visible),
    )


def check_scale(scale: float, place: Place) -> float:
    """The scale, if it is one."""
    if not MIN_SCALE <= scale <= MAX_SCALE:
        expected = f"a patch scaling from {MIN_SCALE:g} to {MAX_SCALE:g}"
        raise ConversionError(place, expected=expected, found=f"{scale:g}")
    return scale


def check_center(angles: NDArray[np.float64], place: Place) -> NDArray[np.float64]:
    """A view's Euler angles in degrees (3,), if they are within a turn."""
    if abs(angles).max() > MAX_DEGREES:
        found = f"{abs(angles).max():g}"
        raise ConversionError(place, expected=f"a view centre of at most {MAX_DEGREES:g} degrees", found=found)
    return angles


def check_visibility(values: NDArray[np.generic], place: Place) -> NDArray[np.bool_]:
    """Which landmarks a view shows (N,), if the values are 0 and 1."""
    if ((values != 0) & (values != 1)).any():
        found = f"values from {values.min()} to {values.max()}"
        raise ConversionError(place, expected="visibilities of 0 or 1", found=found)
    return values.astype(bool)


# Small files must not ask for much memory: padding may at most double what experts need
MAX_PADDING = 2.0


def require_little_padding(counts: list[int], file: Path, what: str) -> None:
    """Refuses experts so unlike that filling all up to the largest would more than double them.

    Args:
        counts: How many of a thing each expert has.
        file: The file, for messages.
        what: The thing, for messages.

    Raises:
        ConversionError: They are.
    """
    if len(counts) * max(counts, default=0) > MAX_PADDING * sum(counts):
        expected = f"experts of about as many {what} each"
        raise ConversionError(file, expected=expected, found=f"{min(counts)} to {max(counts)}")


def fit_into(dtype: torch.dtype, values: NDArray[Any], place: Place) -> NDArray[Any]:
    """The values, if none of them is too large for a number type.

    Raises:
        ConversionError: One is.
    """
    largest = max(-float(values.min(initial=0)), float(values.max(initial=0)))
    if not largest <= torch.finfo(dtype).max:
        remedy = "convert without --half" if dtype == torch.float16 else DOWNLOAD_AGAIN
        expected = f"numbers that fit into {str(dtype).removeprefix('torch.')}"
        raise ConversionError(place, expected=expected, found=f"{largest:g}", remedy=remedy)
    return values
