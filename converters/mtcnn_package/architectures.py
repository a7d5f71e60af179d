"""The three networks of the package, and the layers that their arrays make."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from clnf_torch.converters.mtcnn_package.arrays import FloatArray

Layer = dict[str, Any]
Shape = tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """A network: convolutions, perhaps a hidden layer, then several output heads beside each other.

    Every layer but the heads is followed by a PReLU.

    Attributes:
        side: Pixels of the square that it looks at.
        convolutions: For each the number of outputs, the kernel's side, and the side of the windows whose maxima are
            taken afterwards, two apart (0: none).
        hidden: Outputs of the fully connected layer, or None.
        heads: How many numbers each head puts out, in the order of the file.
        order: The heads in our order: face or not, corrections, landmarks.
    """

    side: int
    convolutions: tuple[tuple[int, int, int], ...]
    hidden: int | None
    heads: tuple[int, ...]
    order: tuple[int, ...]


ARCHITECTURES = {
    "pnet": Architecture(
        side=12, convolutions=((10, 3, 2), (16, 3, 0), (32, 3, 0)), hidden=None, heads=(4, 2), order=(1, 0)
    ),
    "rnet": Architecture(
        side=24, convolutions=((28, 3, 3), (48, 3, 3), (64, 2, 0)), hidden=128, heads=(4, 2), order=(1, 0)
    ),
    "onet": Architecture(
        side=48,
        convolutions=((32, 3, 3), (64, 3, 3), (64, 3, 2), (128, 2, 0)),
        hidden=256,
        heads=(4, 10, 2),
        order=(2, 0, 1),
    ),
}


def array_shapes(network: Architecture) -> list[Shape]:
    """The shapes of a network's arrays, in the order of its file."""
    shapes: list[Shape] = []
    inputs, side = 3, network.side
    for outputs, kernel, pool in network.convolutions:
        shapes += [(kernel, kernel, inputs, outputs), (outputs,), (1, 1, outputs)]
        inputs, side = outputs, _side_after(side, kernel, pool)
    if network.hidden is not None:
        shapes += [(side * side * inputs, network.hidden), (network.hidden,), (network.hidden,)]
    for count in network.heads:
        shapes += [(1, 1, inputs, count) if network.hidden is None else (network.hidden, count), (count,)]
    return shapes


def network_layers(network: Architecture, arrays: Sequence[FloatArray]) -> list[Layer]:
    """The layers of a bundle.

    The package keeps images as (row, column, channel), and flattens maps column by column, all channels of a place
    together; a bundle has the channels first and flattens channel by channel and row by row. Both cut the last windows
    of a pooling at the right and lower border.

    Args:
        network: What it is.
        arrays: Its numbers, with the shapes of `array_shapes`.
    """
    remaining = iter(arrays)
    layers: list[Layer] = []
    side = network.side
    for _, kernel, pool in network.convolutions:
        layers += [_convolution(next(remaining), next(remaining)), _prelu(next(remaining))]
        layers += [{"kind": "max_pool", "kernel": [pool, pool], "stride": [2, 2]}] if pool else []
        side = _side_after(side, kernel, pool)
    if network.hidden is None:
        return [*layers, _convolution(*_heads(network, remaining))]
    weight, bias = next(remaining), next(remaining)
    # Column, row, channel
    by_position = weight.reshape(side, side, -1, weight.shape[1])
    channel_first = by_position.transpose(2, 1, 0, 3).reshape(weight.shape)
    return [*layers, _linear(channel_first, bias), _prelu(next(remaining)), _linear(*_heads(network, remaining))]


def _heads(network: Architecture, remaining: Iterator[FloatArray]) -> tuple[FloatArray, FloatArray]:
    """The weights and biases of all heads, beside each other in our order."""
    pairs = [(next(remaining), next(remaining)) for _ in network.heads]
    weights, biases = zip(*(pairs[place] for place in network.order), strict=True)
    return np.concatenate(weights, axis=-1), np.concatenate(biases)


def _side_after(side: int, kernel: int, pool: int) -> int:
    """The side of maps after a convolution and a pooling."""
    side = side - kernel + 1
    return math.ceil((side - pool) / 2) + 1 if pool else side


def _convolution(weight: FloatArray, bias: FloatArray) -> Layer:
    """A convolution: the package's weight is (row, column, in, out)."""
    return {"kind": "conv", "weight": _tensor(weight.transpose(3, 2, 0, 1)), "bias": _tensor(bias)}


def _linear(weight: FloatArray, bias: FloatArray) -> Layer:
    """A fully connected layer: the package's weight is (in, out)."""
    return {"kind": "linear", "weight": _tensor(weight.T), "bias": _tensor(bias)}


def _prelu(slope: FloatArray) -> Layer:
    """A rectifier with one slope for each channel."""
    return {"kind": "prelu", "slope": _tensor(slope.reshape(-1))}


def _tensor(values: FloatArray) -> torch.Tensor:
    """A compact copy."""
    return torch.from_numpy(np.array(values, np.float32, order="C"))
