"""Small convolutional networks on arrays: their layers as compiled loops, their weights packed once."""

from collections.abc import Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from clnf_torch.compilation.compiler import Array
from clnf_torch.compilation.conditions import loop_threads
from clnf_torch.compilation.kept import Kept
from clnf_torch.compilation.products import pack
from clnf_torch.compilation.threads import arrays, together
from clnf_torch.compilation.tiles import LANES
from clnf_torch.models.kernels.cpu.valid_convolutions import connect, convolve_and_pool

# Each pixel is a window of its own
NO_POOL = (1, 1, 1, 1)


class Convolution(NamedTuple):
    """A convolution, its activation and its pooling; see `convolve_and_pool`."""

    weight: Array
    bias: Array
    gains: Array
    sides: tuple[int, int]
    pool: tuple[int, int, int, int]
    inputs: int

    def __call__(self, maps: Array) -> Array:
        """Maps of maps."""
        _check(maps.shape[1:], self.inputs, self.sides)
        found: Array = convolve_and_pool(maps, *self[:5])
        return found


class Product(NamedTuple):
    """A fully connected layer and its activation; see `connect`."""

    weight: Array
    bias: Array
    gains: Array
    inputs: int

    def __call__(self, maps: Array) -> Array:
        """Rows of maps, or of rows."""
        rows = maps.reshape(len(maps), -1)
        _check(rows.shape[1:], self.inputs)
        found: Array = connect(rows, *self[:3])
        return found


Layers: TypeAlias = tuple[Convolution | Product, ...]


def respond(network: nn.Module, batches: Sequence[Tensor]) -> list[Tensor]:
    """What a network makes of batches of images (B, C, H, W), each batch in one of the threads."""
    layers, found = layers_of(network), [Tensor()] * len(batches)
    # A list that one thread empties while another one looks at it would raise
    waiting: SimpleQueue[tuple[int, Tensor]] = SimpleQueue()
    for numbered in enumerate(batches):
        waiting.put(numbered)

    def work() -> None:
        with suppress(Empty):
            while True:
                number, images = waiting.get_nowait()
                found[number] = _respond(layers, images)

    threads = min(loop_threads(), len(batches))
    if threads > 1:
        together([work] * threads)
    else:
        work()
    return found


def has_layers(network: nn.Module) -> bool:
    """Whether there are loops for all layers of a network."""
    return layers_of(network) is not None


def _respond(layers: Layers, images: Tensor) -> Tensor:
    """Maps (B, C', H', W') or vectors (B, C') of images (B, C, H, W)."""
    (maps,) = arrays(images.permute(0, 2, 3, 1))
    for layer in layers:
        maps = layer(maps)
    answers = torch.from_numpy(maps)
    return answers.permute(0, 3, 1, 2) if maps.ndim == 4 else answers


def _packed(network: nn.Module) -> Layers | None:
    """The layers of a network; None where there is one of another kind, or they follow each other in another way."""
    waiting = [part for part in network.modules() if not isinstance(part, nn.Sequential | nn.Flatten)][::-1]
    layers: list[Convolution | Product] = []
    # Of the maps that a fully connected layer sees, whose numbers come in another order; not known before the first one
    channels = 0
    while waiting:
        layer = waiting.pop()
        gains = _gains(waiting.pop() if waiting and isinstance(waiting[-1], nn.ReLU | nn.PReLU) else None)
        if isinstance(layer, nn.Linear) and channels:
            weight = layer.weight.detach().unflatten(1, (channels, -1)).permute(2, 1, 0).flatten(0, 1)
            layers.append(Product(*_columns(weight, layer.bias, gains), layer.in_features))
            channels = 1
        elif isinstance(layer, nn.Conv2d) and _is_plain(layer):
            pool = _windows(waiting[-1] if waiting else None)
            del waiting[len(waiting) - (pool is not NO_POOL) :]
            weight, channels = layer.weight.detach().permute(2, 3, 1, 0).flatten(0, 2), layer.out_channels
            numbers, sides = _columns(weight, layer.bias, gains), _pair(layer.kernel_size)
            layers.append(Convolution(*numbers, sides, pool, layer.in_channels))
        else:
            return None
    return tuple(layers)


def _gains(activation: nn.Module | None) -> Tensor:
    """What an activation multiplies negative numbers by, a number or one for each channel."""
    if activation is None:
        return torch.ones((), dtype=torch.float32, device="cpu")
    return (
        activation.weight.detach()
        if isinstance(activation, nn.PReLU)
        else torch.zeros((), dtype=torch.float32, device="cpu")
    )


def _columns(weight: Tensor, bias: Tensor | None, gains: Tensor) -> tuple[Array, Array, Array]:
    """A matrix, packed, with a bias and gains for its columns; as many columns as fill a vector."""
    channels = weight.shape[1]
    bias = weight.new_zeros(channels) if bias is None else bias.detach()
    lacking = max(0, LANES - channels)
    matrix, offsets, factors = arrays(pad(weight, (0, lacking)), pad(bias, (0, lacking)), gains.expand(channels))
    return pack(matrix), np.array(offsets), np.array(factors)


def _is_plain(layer: nn.Conv2d) -> bool:
    """Whether a convolution is neither padded nor has steps, holes or groups."""
    return layer.stride == layer.dilation == (1, 1) and layer.padding == (0, 0) and layer.groups == 1


def _windows(layer: nn.Module | None) -> tuple[int, int, int, int]:
    """Height, width and distances of the windows of a pooling that `build_network` made; of what is none, `NO_POOL`."""
    if not isinstance(layer, nn.MaxPool2d):
        return NO_POOL
    return *_pair(layer.kernel_size), *_pair(layer.stride)


def _check(shape: tuple[int, ...], inputs: int, sides: tuple[int, ...] = ()) -> None:
    """Refuses maps (H, W, C), or rows (K,), of another number of channels, or smaller than a filter.

    Raises:
        ValueError: They are.
    """
    if shape[-1] != inputs or any(size < side for size, side in zip(shape, sides, strict=False)):
        raise ValueError(
            f"a layer is given maps of shape {shape}; expected {inputs} channels, and at least {sides} of them"
        )


def _pair(size: int | tuple[int, ...]) -> tuple[int, int]:
    """Height and width."""
    return (size, size) if isinstance(size, int) else (size[0], size[1])


# Of a network from `build_network`, packed anew where its numbers have changed
layers_of: Any = Kept(_packed, lambda network: tuple(network.parameters()))
