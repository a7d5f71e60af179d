"""CEN patch experts (``cen_patches_*_of.dat``): what a file holds and where.

The weights stay in the file until they are needed.
"""

import struct
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clnf_torch.converters.openface.binary import (
    DTYPES,
    FLOAT32,
    FLOAT64,
    INT32,
    TYPE_NAMES,
    BinaryMatrix,
    BinaryReader,
    open_binary,
)
from clnf_torch.converters.openface.errors import ConversionError
from clnf_torch.converters.openface.views import read_views

# Begins every CEN expert
MARKER = 6
# By the file's number
ACTIVATIONS = ("sigmoid", "tanh", "relu", "linear")


@dataclass(frozen=True, kw_only=True, slots=True)
class Layer:
    """A layer of an expert: ``outputs = activation(weight @ inputs + bias)``.

    Attributes:
        activation: Index into ``ACTIVATIONS``.
        bias: (outputs, 1) or (1, outputs) in the file.
        weight: (outputs, inputs); the first layer's first column multiplies a constant 1.
    """

    activation: int
    bias: BinaryMatrix
    weight: BinaryMatrix


@dataclass(frozen=True, kw_only=True, slots=True)
class Expert:
    """An expert that has layers, and the slot of the file that owns it."""

    view: int
    landmark: int
    layers: tuple[Layer, ...]


def read_expert(reader: BinaryReader, support: int) -> tuple[tuple[int, int], tuple[Layer, ...], float]:
    """Reads one expert, an empty one too.

    Args:
        reader: The file, at the expert's marker.
        support: Side S of the experts before it, which it must share, or 0 for the first.

    Returns:
        Its width and height, its layers (none when it is empty), and its confidence.

    Raises:
        ConversionError: It is damaged, or its layers do not follow from one another.
    """
    width, height, count = _read_size(reader, support)
    layers = _read_layers(reader, count, 1 + width * width)
    (confidence,) = reader.finite(1, "an expert's confidence (float64)")
    return (width, height), layers, confidence


def _read_size(reader: BinaryReader, support: int) -> tuple[int, int, int]:
    """Width, height and number of layers, after the marker."""
    reader.expect(MARKER, f"an expert's marker ({MARKER})")
    place = reader.place
    width, height, count = reader.take("3i", "an expert's width, height and number of layers")
    if width < 0 or height < 0:
        raise ConversionError(place, expected="a width and height of at least 0", found=f"{width} x {height}")
    # A layer is at least an activation and two matrix headers
    if count < 0 or 28 * count > reader.remaining:
        place = replace(place, byte=reader.offset - 4)
        raise ConversionError(place, expected="a number of layers that the file can hold", found=str(count))
    if count and (width < 1 or width != height or support not in (0, width)):
        side = support or "S"
        expected = f"an expert of {side} x {side} pixels, as all of a file are"
        raise ConversionError(place, expected=expected, found=f"{width} x {height}")
    return width, height, count


def _read_layers(reader: BinaryReader, count: int, inputs: int) -> tuple[Layer, ...]:
    """The layers of an expert, checked to chain from ``inputs`` to one output."""
    layers: list[Layer] = []
    for k in range(count):
        last = k == count - 1
        layer = _read_layer(reader, f"layer {k + 1} of {count}", inputs, outputs=1 if last else None)
        layers.append(layer)
        inputs = layer.weight.rows
    return tuple(layers)


def _read_layer(reader: BinaryReader, name: str, inputs: int, outputs: int | None) -> Layer:
    """A layer of ``inputs`` columns and ``outputs`` rows (None: any)."""
    place = reader.place
    activation = reader.take("i", f"the activation of {name}")
    if not 0 <= activation < len(ACTIVATIONS):
        expected = f"an activation of {name} from 0 to {len(ACTIVATIONS) - 1}"
        raise ConversionError(place, expected=expected, found=str(activation))
    bias = _read_float_matrix(reader, f"the bias of {name}")
    weight = _read_float_matrix(reader, f"the weights of {name}")
    if weight.cols != inputs or (outputs is not None and weight.rows != outputs):
        expected = f"weights of {name} of {'any' if outputs is None else outputs} x {inputs}"
        raise ConversionError(weight.place, expected=expected, found=f"{weight.rows} x {weight.cols}")
    if bias.shape not in ((weight.rows, 1), (1, weight.rows)):
        expected = f"{weight.rows} biases of {name} as one row or one column"
        raise ConversionError(bias.place, expected=expected, found=f"{bias.rows} x {bias.cols}")
    return Layer(activation=activation, bias=bias, weight=weight)


def _read_float_matrix(reader: BinaryReader, what: str) -> BinaryMatrix:
    """The place of a float32 or float64 matrix."""
    matrix = reader.matrix(what)
    if matrix.code not in (FLOAT32, FLOAT64):
        found = TYPE_NAMES[matrix.code]
        raise ConversionError(matrix.place, expected=f"{what} as float32 or float64", found=found)
    return matrix


WHAT = "CEN patch experts"
OLDER_LAYOUT = "these are experts of the older CE-CLM layout; use the files that OpenFace 2.2 downloads"


@dataclass(frozen=True, kw_only=True, eq=False)
class CenFile:
    """What a CEN file holds.

    Attributes:
        path: The file.
        scale: Size of the reference frame, pixels per model unit.
        support: Side S of the square that an expert looks at, pixels.
        view_centers: Euler angles in DEGREES, (V, 3).
        visible: Whether a landmark is seen in a view, (V, N) bool.
        mirror_inds: The landmark on the other side, (N,).
        mirror_views: The view from the other side, (V,).
        confidence: Of every slot, empty ones too, (V, N).
        sizes: Width and height as written in every slot, (V, N, 2).
        own: Index into ``experts`` of every slot, -1 where it is empty, (V, N).
        experts: The experts with layers, in the file's order.
        shapes: The rows and columns in which each vector of the header was written.
    """

    path: Path
    scale: float
    support: int
    view_centers: NDArray[np.float64]
    visible: NDArray[np.bool_]
    mirror_inds: NDArray[np.int64]
    mirror_views: NDArray[np.int64]
    confidence: NDArray[np.float64]
    sizes: NDArray[np.int64]
    own: NDArray[np.int64]
    experts: tuple[Expert, ...]
    shapes: dict[str, Any]

    @property
    def num_views(self) -> int:
        """Number of views V."""
        return len(self.view_centers)


def read_cen(path: Path, points: int) -> CenFile:
    """Reads the structure of a CEN file and checks all of it but the weights' values.

    Args:
        path: The file.
        points: Number of landmarks N of the PDM.

    Returns:
        The file's contents, with the weights still in the file.

    Raises:
        ConversionError: The file is anything but a complete CEN file for N landmarks.

    Source:
        OpenFace ``Patch_experts::Read_CEN_patch_experts`` and ``CEN_patch_expert::Read``.
    """
    with open_binary(path, WHAT) as reader:
        header = _read_header(reader, points)
        slots = _read_slots(reader, *header["visible"].shape)
        reader.view = reader.landmark = None
        reader.expect_end("the last expert")
    return CenFile(path=path, **header, **slots)


def _read_header(reader: BinaryReader, points: int) -> dict[str, Any]:
    """Everything before the experts, as fields of ``CenFile``."""
    views = read_views(reader, points)
    _refuse_older_layout(reader)
    mirror_inds = _read_mirror(reader, "the mirrored landmarks", points)
    mirror_views = _read_mirror(reader, "the mirrored views", len(views.centers))
    return {
        "scale": views.scale,
        "view_centers": views.centers,
        "visible": views.visible,
        "mirror_inds": mirror_inds[0],
        "mirror_views": mirror_views[0],
        "shapes": {
            "view_centers": [list(shape) for shape in views.center_shapes],
            "visible": [list(shape) for shape in views.visible_shapes],
            "mirror_inds": list(mirror_inds[1]),
            "mirror_views": list(mirror_views[1]),
        },
    }


def _read_mirror(reader: BinaryReader, what: str, count: int) -> tuple[NDArray[np.int64], tuple[int, int]]:
    """A table of ``count`` indices below ``count``, and its shape in the file."""
    place = reader.place
    values, shape = reader.vector(what, INT32, count)
    if values.min() < 0 or values.max() >= count:
        found = f"values from {values.min()} to {values.max()}"
        raise ConversionError(place, expected=f"{what}, from 0 to {count - 1}", found=found)
    return values.astype(np.int64), shape


def _refuse_older_layout(reader: BinaryReader) -> None:
    """The first CE-CLM files had experts (6, width, height, layers) where the mirror tables belong."""
    content = reader.peek(16)
    if len(content) < 16:
        return
    marker, width, height, layers = struct.unpack("<4i", content)
    if marker == MARKER and width == height and height not in DTYPES and 0 <= layers < 100:
        raise ConversionError(
            reader.place, expected="the table of mirrored landmarks", found="an expert", remedy=OLDER_LAYOUT
        )


def _read_slots(reader: BinaryReader, views: int, points: int) -> dict[str, Any]:
    """All V x N experts, as fields of ``CenFile``."""
    reader.require(24 * views * points, f"{views} x {points} experts of at least 24 bytes")
    own = np.full((views, points), -1, np.int64)
    sizes = np.zeros((views, points, 2), np.int64)
    confidence = np.zeros((views, points))
    experts: list[Expert] = []
    support = 0
    for view, landmark in np.ndindex(views, points):
        reader.view, reader.landmark = view, landmark
        sizes[view, landmark], layers, confidence[view, landmark] = read_expert(reader, support)
        if layers:
            support = int(sizes[view, landmark, 0])
            own[view, landmark] = len(experts)
            experts.append(Expert(view=view, landmark=landmark, layers=layers))
    if not experts:
        raise ConversionError(reader.file, expected="at least one expert with layers", found="empty experts only")
    return {"support": support, "own": own, "sizes": sizes, "confidence": confidence, "experts": tuple(experts)}
