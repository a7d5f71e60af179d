"""The landmark validator (``validator_cnn*.txt``, binary in spite of its name).

For each orientation of the head it has a piecewise affine warp to a small image, the mean and deviation of such
images, and a network that looks at them.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from clnf_torch.converters.openface.binary import (
    FLOAT32_MAX,
    FLOAT32_MIN,
    FLOAT64,
    INT32,
    TYPE_NAMES,
    BinaryReader,
    open_binary,
)
from clnf_torch.converters.openface.errors import ConversionError, Place
from clnf_torch.converters.openface.network import VALIDATOR, read_network
from clnf_torch.detection.validator import DetectionValidator
from clnf_torch.detection.view_validator import ViewValidator

# How far weights within a triangle may be from what they must be; OpenFace's are exact
TOLERANCE = 1e-3
OTHER_WARP = "the tables of this warp do not belong together; download the file again"


def read_warp_table(
    reader: BinaryReader, points: int, size: tuple[int, int], count: int
) -> tuple[dict[str, Any], NDArray[np.int64]]:
    """Reads the tables of a warp and checks that they belong together.

    Args:
        reader: The file, at the number of pixels.
        points: Number of landmarks N.
        size: Height and width of the warped image.
        count: Number of pixels P that it must have.

    Returns:
        ``triangles`` (T, 3) int64, ``alpha`` and ``beta`` (T, 3) float64, ``origin`` (2,) float64: where column 0 and
        row 0 lie in the frame of reference, ``pixels`` (P,) int64: places in the image in row-major order, and
        ``triangle`` (P,) int64; and where each of these pixels is in the file's column-major order, (P,).

    Raises:
        ConversionError: A table is damaged, or does not go with the others.

    Source:
        OpenFace ``PAW::Read``.
    """
    place = reader.place
    if (found := reader.take("i", "the number of pixels (int32)")) != count:
        raise ConversionError(place, expected=f"{count} pixels, as the mean image has", found=str(found))
    origin = _read_origin(reader)
    corners = _read_corners(reader, points)
    triangles = _read_integers(reader, "the triangles", (None, 3), (0, points - 1))
    triangle_map = _read_integers(reader, "the map of triangles", size, (-1, len(triangles) - 1))
    place = reader.place
    mask = _read_integers(reader, "the mask of pixels", size, (0, 1)).astype(bool)
    if mask.sum() != count or triangle_map[mask].min(initial=0) < 0:
        expected = f"a mask of {count} pixels inside the triangles"
        found = f"one of {mask.sum()}, {(triangle_map[mask] < 0).sum()} of them outside"
        raise ConversionError(place, expected=expected, found=found, remedy=OTHER_WARP)
    place = reader.place
    weights = [_read_weights(reader, f"the {name} coefficients", len(triangles)) for name in ("alpha", "beta")]
    _require_corners(place, weights, corners[triangles])
    rows, columns = np.nonzero(mask)
    triangle = triangle_map[mask]
    _require_inside(place, weights, triangle, np.stack((columns, rows), -1) + origin)
    table = {
        "triangles": triangles,
        "alpha": weights[0],
        "beta": weights[1],
        "origin": origin,
        "pixels": np.flatnonzero(mask),
        "triangle": triangle,
    }
    file_order = np.zeros((size[1], size[0]), np.int64)
    # Column by column
    file_order[mask.T] = np.arange(count)
    return {name: torch.from_numpy(values) for name, values in table.items()}, file_order.T[mask]


def _read_origin(reader: BinaryReader) -> NDArray[np.float64]:
    """Where the first pixel lies in the frame of reference, (2,)."""
    place = reader.place
    origin = np.array(reader.take("2d", "the least x and y (float64)"))
    if not (abs(origin) <= FLOAT32_MAX).all():
        raise ConversionError(place, expected="a finite least x and y", found=", ".join(map(str, origin)))
    return origin


def _read_corners(reader: BinaryReader, points: int) -> NDArray[np.float64]:
    """Where the landmarks lie in the frame of reference, (N, 2); the file has all x, then all y."""
    place = reader.place
    corners, _ = reader.vector("the corners of the warp", FLOAT64, 2 * points)
    if abs(corners).max() > FLOAT32_MAX:
        expected = "corners of the warp that fit into float32"
        raise ConversionError(place, expected=expected, found=f"{abs(corners).max():g}")
    return corners.reshape(2, points).T


def _read_integers(
    reader: BinaryReader, what: str, shape: tuple[int | None, int], limits: tuple[int, int]
) -> NDArray[np.int64]:
    """A matrix of whole numbers within limits; any number of rows where the shape has None."""
    matrix = reader.matrix(what)
    rows = matrix.rows if shape[0] is None else shape[0]
    if matrix.code != INT32 or matrix.shape != (rows, shape[1]):
        expected = f"{what}, {'any' if shape[0] is None else rows} x {shape[1]} of {TYPE_NAMES[INT32]}"
        raise ConversionError(matrix.place, expected=expected, found=matrix.description)
    values = matrix.read()
    if values.min() < limits[0] or values.max() > limits[1]:
        expected = f"{what}, from {limits[0]} to {limits[1]}"
        raise ConversionError(matrix.place, expected=expected, found=f"{values.min()} to {values.max()}")
    return values.astype(np.int64)


def _read_weights(reader: BinaryReader, what: str, triangles: int) -> NDArray[np.float64]:
    """The coefficients of a corner's weight, (T, 3)."""
    matrix = reader.matrix(what)
    if matrix.code != FLOAT64 or matrix.shape != (triangles, 3):
        expected = f"{what}, {triangles} x 3 of {TYPE_NAMES[FLOAT64]}"
        raise ConversionError(matrix.place, expected=expected, found=matrix.description)
    values: NDArray[np.float64] = matrix.read()
    if abs(values).max() > FLOAT32_MAX:
        expected = f"{what} that fit into float32"
        raise ConversionError(matrix.place, expected=expected, found=f"{abs(values).max():g}")
    return values


def _require_corners(place: Place, weights: list[NDArray[np.float64]], corners: NDArray[np.float64]) -> None:
    """Refuses weights that are not 1 at their own corner of a triangle and 0 at the others; corners are (T, 3, 2)."""
    for values, own in zip(weights, (1, 2), strict=True):
        at_corners = values[:, None, 0] + (values[:, None, 1:] * corners).sum(-1)  # (T, 3)
        off = abs(at_corners - np.eye(3)[own]).max(1)
        if not (off <= TOLERANCE).all():
            expected = "alpha and beta coefficients that are the weights of their triangles' corners"
            found = f"triangle {int(off.argmax())} off by {off.max():g}"
            raise ConversionError(place, expected=expected, found=found, remedy=OTHER_WARP)


def _require_inside(
    place: Place, weights: list[NDArray[np.float64]], triangle: NDArray[np.int64], pixels: NDArray[np.float64]
) -> None:
    """Refuses pixels, (P, 2), that lie outside their triangles (P,)."""
    u, v = (values[triangle, 0] + (values[triangle, 1:] * pixels).sum(-1) for values in weights)
    if not (np.minimum(u, v).min() >= -TOLERANCE and (u + v).max() <= 1 + TOLERANCE):
        expected, found = "pixels that lie in their triangles", f"weights from {min(u.min(), v.min()):g}"
        raise ConversionError(place, expected=expected, found=found, remedy=OTHER_WARP)


# Height and width of the images that OpenFace's networks look at
SIZE = (60, 60)
CNN = 3
OLDER_TYPES = "OpenFace 2.2 refuses the older types too; use validator_cnn.txt or validator_cnn_68.txt"
WHAT = "a landmark validator"


def convert_validator(path: Path, points: int, size: tuple[int, int] = SIZE) -> dict[str, Any]:
    """Reads a landmark validator.

    Args:
        path: The file.
        points: Number of landmarks N of the PDM.
        size: Height H and width W of its images.

    Returns:
        ``kind`` "cnn", ``size`` [H, W], ``orientations`` (V, 3) float64 in radians, and ``views``, one record for each
        orientation: ``triangles``, ``alpha``, ``beta``, ``origin``, ``pixels`` and ``triangle`` of the warp (see
        ``read_warp_table``), ``mean`` and ``deviation`` of its P pixels, float32, and the network's ``layers``.

    Raises:
        ConversionError: The file is anything but a complete validator of type 3 for N landmarks.

    Source:
        OpenFace ``DetectionValidator::Read``.
    """
    with open_binary(path, WHAT) as reader:
        orientations = _read_orientations(reader)
        views = []
        for reader.view in range(len(orientations)):
            views.append(_read_view(reader, points, size))
        reader.view = None
        reader.expect_end("the last view")
    radians = torch.from_numpy(np.radians(orientations))
    return DetectionValidator.record(size, radians, views)


def _read_orientations(reader: BinaryReader) -> NDArray[np.float64]:
    """The type and the orientations of the head in degrees, (V, 3)."""
    place = reader.place
    kind = reader.take("i", "the type of validator (int32)")
    if kind != CNN:
        remedy = OLDER_TYPES if 0 <= kind < CNN else "name a validator file of OpenFace"
        raise ConversionError(place, expected=f"a validator of type {CNN} (CNN)", found=f"type {kind}", remedy=remedy)
    place = reader.place
    views = reader.take("i", "the number of orientations (int32)")
    # Bytes of a matrix of three angles
    if views < 1 or 36 * views > reader.remaining:
        found = f"{views} with {reader.remaining} bytes left"
        raise ConversionError(place, expected="a number of orientations that the file can hold", found=found)
    orientations = []
    for reader.view in range(views):
        place = reader.place
        angles, _ = reader.vector("an orientation", FLOAT64, 3)
        if abs(angles).max() > 360:
            expected = "an orientation of at most 360 degrees"
            raise ConversionError(place, expected=expected, found=f"{abs(angles).max():g}")
        orientations.append(angles)
    reader.view = None
    return np.stack(orientations)


def _read_view(reader: BinaryReader, points: int, size: tuple[int, int]) -> dict[str, Any]:
    """What belongs to one orientation, its pixels in row-major order."""
    mean = _read_pixels(reader, "the mean image", -FLOAT32_MAX)
    deviation = _read_pixels(reader, "the standard deviations", FLOAT32_MIN, len(mean))
    place = reader.place
    layers, shape = read_network(reader, VALIDATOR, (1, *size))
    if len(shape) != 1:
        found = " x ".join(map(str, shape))
        raise ConversionError(place, expected="a network that ends in a list of scores", found=f"maps of {found}")
    table, order = read_warp_table(reader, points, size, len(mean))
    images = {"mean": torch.from_numpy(mean[order]), "deviation": torch.from_numpy(deviation[order])}
    return ViewValidator.record(**table, **images, layers=layers)


def _read_pixels(reader: BinaryReader, what: str, least: float, count: int | None = None) -> NDArray[np.float32]:
    """A number for each pixel in the file's order, (P,)."""
    place = reader.place
    values, _ = reader.vector(what, FLOAT64, count)
    if values.min() < least or values.max() > FLOAT32_MAX:
        expected = f"{what} from {least:g} to {FLOAT32_MAX:g}, as {TYPE_NAMES[5]}"
        raise ConversionError(place, expected=expected, found=f"{values.min():g} to {values.max():g}")
    return values.astype(np.float32)
