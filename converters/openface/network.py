"""Small convolutional networks of OpenFace's binary files: MTCNN's and the landmark validator's.

A network becomes a list of plain layers, each a dictionary with its ``kind`` and

- ``conv``: ``weight`` (out, in, height, width) and ``bias`` (out,), stride 1, no padding;
- ``max_pool``: ``kernel`` and ``stride``, both [height, width];
- ``linear``: ``weight`` (out, in) over maps in row-major (channel, y, x) order and ``bias`` (out,);
- ``prelu``: ``slope`` (channels,);
- ``relu`` and ``sigmoid``: nothing.
"""

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from clnf_torch.converters.openface.binary import FLOAT32, HEADER, TYPE_NAMES, BinaryReader
from clnf_torch.converters.openface.errors import ConversionError, Place

# OpenFace's have up to 14
MAX_LAYERS = 100
CONVOLUTION, POOLING, CONNECTED, RECTIFIER, SIGMOID = range(5)

Layer = dict[str, Any]
Shape = tuple[int, ...]
"""Of what flows through a network: maps (channels, height, width) or a vector (channels,)."""


@dataclass(frozen=True, kw_only=True)
class LayerCodes:
    """What the codes of pooling and rectifiers mean, which differs between the files.

    Attributes:
        sized_pools: Pooling names its windows; otherwise they are 2 x 2, two apart.
        slopes: Rectifiers are PReLUs with stored slopes; otherwise plain ReLUs.
    """

    sized_pools: bool
    slopes: bool


MTCNN = LayerCodes(sized_pools=True, slopes=True)
VALIDATOR = LayerCodes(sized_pools=False, slopes=False)


def read_network(reader: BinaryReader, codes: LayerCodes, inputs: tuple[int, int, int]) -> tuple[list[Layer], Shape]:
    """Reads a network: the number of its layers, then one after the other.

    Args:
        reader: The file, at the number of layers.
        codes: ``MTCNN`` or ``VALIDATOR``.
        inputs: Shape of the network's input, (channels, height, width); the smallest that it must accept.

    Returns:
        Its layers, and the shape of its output.

    Raises:
        ConversionError: It is damaged, or a layer does not follow from the one before.

    Source:
        OpenFace ``CNN::Read`` of its face detector and ``DetectionValidator::Read``.
    """
    place = reader.place
    count = reader.take("i", "the number of layers (int32)")
    if not 1 <= count <= MAX_LAYERS:
        raise ConversionError(place, expected=f"a number of layers from 1 to {MAX_LAYERS}", found=str(count))
    layers: list[Layer] = []
    shape: Shape = inputs
    for k in range(count):
        layer, shape = _read_layer(reader, f"layer {k + 1} of {count}", codes, shape)
        layers.append(layer)
    return layers, shape


def _read_layer(reader: BinaryReader, name: str, codes: LayerCodes, shape: Shape) -> tuple[Layer, Shape]:
    """A layer, and the shape that it makes of its input's."""
    place = reader.place
    code = reader.take("i", f"the kind of {name} (int32)")
    if code in (CONVOLUTION, POOLING) and len(shape) == 1:
        raise ConversionError(place, expected=f"{name} for a vector of {shape[0]}", found=f"one for maps, code {code}")
    if code == CONVOLUTION:
        return _read_convolution(reader, name, shape)
    if code == POOLING:
        return _read_pooling(reader, name, codes.sized_pools, shape)
    if code == CONNECTED:
        return _read_connected(reader, name, shape)
    if code == RECTIFIER and codes.slopes:
        slope, _ = reader.vector(f"the slopes of {name}", FLOAT32, shape[0])
        return {"kind": "prelu", "slope": torch.from_numpy(slope)}, shape
    if code in (RECTIFIER, SIGMOID):
        return {"kind": "relu" if code == RECTIFIER else "sigmoid"}, shape
    raise ConversionError(place, expected=f"a kind of {name} from 0 to {SIGMOID}", found=str(code))


def _read_convolution(reader: BinaryReader, name: str, shape: Shape) -> tuple[Layer, Shape]:
    """A convolution: numbers of inputs and outputs, biases, and a matrix for each pair of both."""
    place, (channels, height, width) = reader.place, shape
    inputs, outputs = reader.take("2i", f"the inputs and kernels of {name}")
    if inputs != channels or outputs < 1:
        expected = f"{name} with {channels} inputs and at least one kernel"
        raise ConversionError(place, expected=expected, found=f"{inputs} and {outputs}")
    bias = _read_floats(reader, outputs, f"the biases of {name}")
    kernels = _read_kernels(reader, (inputs, outputs), (height, width), name)
    # The file has all outputs of an input together
    weight = np.ascontiguousarray(kernels.transpose(1, 0, 2, 3))
    rows, cols = weight.shape[2:]
    layer = {"kind": "conv", "weight": torch.from_numpy(weight), "bias": torch.from_numpy(bias)}
    return layer, (outputs, height - rows + 1, width - cols + 1)


def _read_kernels(
    reader: BinaryReader, pairs: tuple[int, int], largest: tuple[int, int], name: str
) -> NDArray[np.float32]:
    """The matrices of a convolution, all of one size, shape (inputs, outputs, rows, cols).

    Tens of thousands of tiny matrices: they are read at once, not one by one.
    """
    place, count = reader.place, math.prod(pairs)
    reader.require(HEADER.size, f"the first kernel of {name}, a matrix header")
    rows, cols, code = HEADER.unpack(reader.peek(HEADER.size))
    if code != FLOAT32 or not (1 <= rows <= largest[0] and 1 <= cols <= largest[1]):
        expected = f"kernels of {name} of float32 that fit into maps of {largest[0]} x {largest[1]}"
        raise ConversionError(place, expected=expected, found=f"{rows} x {cols} of {TYPE_NAMES.get(code, code)}")
    matrix = np.dtype([("header", "<i4", 3), ("values", "<f4", (rows, cols))])
    size = count * matrix.itemsize
    reader.require(size, f"{count} kernels of {name} of {rows} x {cols}")
    matrices = np.frombuffer(reader.take(f"{size}s", f"the kernels of {name}"), matrix)
    other = np.flatnonzero((matrices["header"] != (rows, cols, code)).any(1))
    if other.size:
        found = " x ".join(map(str, matrices["header"][other[0], :2])) + f" of type {matrices['header'][other[0], 2]}"
        place = _moved(place, int(other[0]) * matrix.itemsize)
        raise ConversionError(place, expected=f"another kernel of {name}, {rows} x {cols} of float32", found=found)
    values = matrices["values"]
    for k in np.argwhere(~np.isfinite(values))[:1]:
        place = _moved(place, int(k[0]) * matrix.itemsize + HEADER.size)
        expected = f"finite numbers in the kernels of {name}"
        raise ConversionError(place, expected=expected, found=str(values[tuple(k)]))
    return values.reshape(*pairs, rows, cols)


def _read_pooling(reader: BinaryReader, name: str, sized: bool, shape: Shape) -> tuple[Layer, Shape]:
    """Max pooling; its windows may reach over the right and lower border."""
    place, (channels, height, width) = reader.place, shape
    sizes = reader.take("4i", f"the window and stride of {name}") if sized else (2, 2, 2, 2)
    kernel_x, kernel_y, stride_x, stride_y = sizes
    fits = stride_x <= kernel_x <= width and stride_y <= kernel_y <= height
    if stride_x not in (1, 2) or stride_y not in (1, 2) or not fits:
        expected = f"windows of {name} within maps of {height} x {width}, and strides of 1 or 2 within the windows"
        found = f"windows of {kernel_y} x {kernel_x}, strides of {stride_y} x {stride_x}"
        raise ConversionError(place, expected=expected, found=found)
    layer = {"kind": "max_pool", "kernel": [kernel_y, kernel_x], "stride": [stride_y, stride_x]}
    # OpenFace: rounded half up, where others round down
    return layer, (channels, -(-(height - kernel_y) // stride_y) + 1, -(-(width - kernel_x) // stride_x) + 1)


def _read_connected(reader: BinaryReader, name: str, shape: Shape) -> tuple[Layer, Shape]:
    """A fully connected layer, or a 1 x 1 convolution where it has an input for each map."""
    bias, _ = reader.vector(f"the biases of {name}", FLOAT32)
    matrix = reader.matrix(f"the weights of {name}")
    inputs, outputs = math.prod(shape), len(bias)
    if matrix.code != FLOAT32 or matrix.rows not in (shape[0], inputs) or matrix.cols != outputs:
        expected = f"weights of {name}, {inputs} x {outputs} of float32"
        raise ConversionError(matrix.place, expected=expected, found=matrix.description)
    weight, bias_tensor = torch.from_numpy(matrix.read()).mT, torch.from_numpy(bias)
    if len(shape) == 3 and matrix.rows == shape[0]:
        layer = {"kind": "conv", "weight": weight[:, :, None, None].contiguous(), "bias": bias_tensor}
        return layer, (outputs, *shape[1:])
    # OpenFace: maps are flattened column by column
    if len(shape) == 3:
        channels, height, width = shape
        weight = weight.reshape(outputs, channels, width, height).mT.reshape(outputs, inputs)
    return {"kind": "linear", "weight": weight.contiguous(), "bias": bias_tensor}, (outputs,)


def _read_floats(reader: BinaryReader, count: int, what: str) -> NDArray[np.float32]:
    """Bare float32 numbers, (count,)."""
    place = reader.place
    reader.require(4 * count, f"{what}, {count} numbers")
    values = np.frombuffer(reader.take(f"{4 * count}s", what), "<f4").copy()
    for k in np.flatnonzero(~np.isfinite(values))[:1]:
        place = _moved(place, 4 * int(k))
        raise ConversionError(place, expected=f"finite numbers in {what}", found=str(values[k]))
    return values


def _moved(place: Place, count: int) -> Place:
    """A place some bytes further on."""
    return replace(place, byte=(place.byte or 0) + count)
