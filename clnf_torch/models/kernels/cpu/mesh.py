"""The network of mesh experts on arrays: its layers as compiled loops, its weights packed once."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from clnf_torch.compilation.compiler import Array, compiled_exactly, f32
from clnf_torch.compilation.kept import Kept
from clnf_torch.compilation.products import LOWEST
from clnf_torch.models.blaze_block import BlazeBlock
from clnf_torch.models.kernels.cpu.convolution_layer import Layer, score_rows
from clnf_torch.models.kernels.cpu.convolutions import (
    BORDER,
    add_upsampled,
    clear_border,
    standardise,
)
from clnf_torch.models.kernels.cpu.full_range import Separable
from clnf_torch.models.kernels.cpu.valid_convolutions import activate, larger
from clnf_torch.models.patch_experts.heatmap_network import LEAST_DEVIATION

# Numbers that are rectified at once
BAND = 1 << 10


class Block(NamedTuple):
    """A filter for each channel and a product, added to the maps, or to their maxima; then a rectifier."""

    product: Separable
    slopes: Array

    @classmethod
    def of(cls, block: Any) -> "Block":
        """The layers of a block of the network."""
        pointwise = block.pointwise
        product = Separable.of(block.depthwise, pointwise.weight.flatten(1).mT, pointwise.bias, LOWEST)
        return cls(product, block.activation.weight.detach().numpy().copy())

    def __call__(self, maps: Array) -> Array:
        """Maps of maps, both with borders."""
        kept = maps
        if self.product.stride == 2:
            kept = maxima(maps, len(self.slopes))
            maps = moved(maps)
        found = self.product(maps, kept.reshape(-1))
        rectify(found.reshape(-1), self.slopes)
        return found


class Mesh(NamedTuple):
    """The layers of the network."""

    stem: Layer
    slopes: Array
    down: list[list[Block]]
    across: list[Layer]
    narrow: list[Layer]
    up: list[Any]  # layers, or blocks
    head: Array
    levels: tuple[float, float]

    def blocks(self, gray: Array) -> Iterator[tuple[slice, Array]]:
        """The maps that scores are made of, (1, A / 4 + 2, A / 4 + 2, C), of one of the images (B, A, A) at a time.

        They then stay in the cache.
        """
        for row in range(len(gray)):
            rows = slice(row, row + 1)
            yield rows, self._last_maps(standardise(gray[rows], BORDER, f32(LEAST_DEVIATION)))

    def _last_maps(self, maps: Array) -> Array:
        """Maps with borders, of which the scores are made; see `MeshNetwork.forward`."""
        mean, deviation = self.levels
        maps *= f32(deviation)
        maps += f32(mean)
        clear_border(maps, BORDER)
        maps = self.stem(moved(maps), LOWEST)
        rectify(maps.reshape(-1), self.slopes)
        levels = []
        for blocks in self.down:
            for block in blocks:
                maps = block(maps)
            levels.append(maps)
        maps = levels.pop()
        for across, narrow, up in zip(self.across, self.narrow, self.up, strict=True):
            larger = across(levels.pop(), LOWEST)
            add_upsampled(larger, narrow(maps, LOWEST))
            maps = up(larger)
        return maps


@compiled_exactly
def rectify(values: Array, slopes: Array) -> None:
    """Multiplies negative numbers of flat maps by their channel's slope."""
    channels, cells = len(slopes), max(1, BAND // len(slopes))
    gains = np.empty(cells * channels, np.float32)
    for i in range(len(gains)):
        gains[i] = slopes[i % channels]
    for first in range(0, len(values), len(gains)):
        activate(values[first : first + len(gains)], gains)


@compiled_exactly
def maxima(maps: Array, channels: int) -> Array:
    """Maxima of two by two pixels of maps (B, H + 2, W + 2, C); channels beyond theirs are 0."""
    count, rows, columns, own = maps.shape
    found = np.zeros((count, rows // 2 + BORDER, columns // 2 + BORDER, channels), np.float32)
    for b in range(count):
        for y in range(rows // 2 - BORDER):
            for x in range(columns // 2 - BORDER):
                above, below = maps[b, 2 * y + BORDER], maps[b, 2 * y + 1 + BORDER]
                left, right = 2 * x + BORDER, 2 * x + 1 + BORDER
                cell = found[b, y + BORDER, x + BORDER]
                for c in range(own):
                    upper, lower = larger(above[left, c], above[right, c]), larger(below[left, c], below[right, c])
                    cell[c] = larger(upper, lower)
    return found


def moved(maps: Array) -> Array:
    """Maps with borders, a pixel further up and left: filters that halve them then begin at their first pixel."""
    found = np.zeros_like(maps)
    found[:, :-1, :-1] = maps[:, 1:, 1:]
    return found


def _packed(network: Any) -> Mesh:
    """The layers of a network."""
    return Mesh(
        Layer.of(network.stem),
        network.rectify.weight.detach().numpy().copy(),
        [[Block.of(block) for block in blocks] for blocks in network.down],
        [Layer.of(layer) for layer in network.across],
        [Layer.of(layer) for layer in network.narrow],
        [_mixing(layers) for layers in network.up],
        score_rows(network.head),
        network.levels,
    )


def _mixing(layers: Any) -> Any:
    """The layers that mix maps on the way back: a block, or full filters."""
    if isinstance(layers, BlazeBlock):
        return Block.of(layers)
    return Layer.of(layers[0])


# Packed anew where its numbers have changed
layers_of: Any = Kept(_packed, lambda network: network.numbers())
