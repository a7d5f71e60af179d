"""BlazeFace's full range on arrays: its layers as compiled loops, its weights packed once."""

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from clnf_torch.compilation.compiler import Array, f32
from clnf_torch.compilation.kept import Kept
from clnf_torch.compilation.products import LOWEST, NOTHING, pack
from clnf_torch.compilation.threads import arrays, in_threads
from clnf_torch.compilation.tiles import LANES
from clnf_torch.models.kernels.cpu.convolution_layer import Layer
from clnf_torch.models.kernels.cpu.convolutions import BORDER
from clnf_torch.models.kernels.cpu.separable import add_interpolated, separable

# Least number behind a ReLU
ZERO = f32(0)


class Separable(NamedTuple):
    """A filter for each channel and a product; see `separable`."""

    filters: Array
    stride: int
    weight: Array
    bias: Array
    least: Any

    @classmethod
    def of(cls, filters: nn.Conv2d, weight: Tensor, bias: Tensor, least: Any = ZERO) -> "Separable":
        """Filters of C channels, and a matrix (C, C') and bias (C',); channels that lack to a vector are 0."""
        assert filters.bias is not None
        inputs, outputs = max(0, LANES - filters.out_channels), max(0, LANES - len(bias))
        own = torch.cat((filters.bias[None], filters.weight.flatten(1).mT))
        numbers = pad(own, (0, inputs)).flatten(), pad(weight, (0, outputs, 0, inputs)), pad(bias, (0, outputs))
        by_channel, matrix, added = (np.array(values) for values in arrays(*numbers))
        return cls(by_channel, filters.stride[0], pack(matrix), added, least)

    def __call__(self, maps: Array, added: Array = NOTHING) -> Array:
        """Maps of maps, both with borders."""
        return separable(maps, self.filters, self.stride, self.weight, self.bias, self.least, added)


class Bottleneck(NamedTuple):
    """Two separable convolutions, with few channels between; see the network's own."""

    first: Separable
    second: Separable
    adds: bool

    @classmethod
    def of(cls, block: Any) -> "Bottleneck":
        """The layers of a block of the network."""
        first, second = (
            Separable.of(filters, product.weight.flatten(1).mT, product.bias)
            for filters, product in ((block.first, block.reduce), (block.second, block.expand))
        )
        return cls(first, second, block.first.stride == (1, 1))

    def __call__(self, maps: Array) -> Array:
        """Maps of maps, both with borders."""
        return self.second(self.first(maps), maps.reshape(-1) if self.adds else NOTHING)


class FullRange(NamedTuple):
    """The layers of the network; both heads are one."""

    stem: Layer
    down: list[list[Bottleneck]]
    across: list[Layer]
    up: list[list[Bottleneck]]
    along: list[Layer]
    mix: Layer
    head: Separable
    numbers: tuple[int, int]

    def __call__(self, images: Array, logits: Array, regressions: Array) -> None:
        """Fills in logits (F, A) and regressions (F, A, 16) of images (F, S, S, 3)."""
        for image, logit, regression in zip(images, logits, regressions, strict=True):
            maps = np.zeros((1, len(image) + 2 * BORDER, len(image) + 2 * BORDER, 3), np.float32)
            maps[0, BORDER:-BORDER, BORDER:-BORDER] = image
            # Four pixels of a cell lie behind each other
            one, many = (found.reshape(len(logit), -1) for found in self._cells(self._finest(maps)))
            logit[:], regression[:] = one[:, 0], many

    def _finest(self, maps: Array) -> Array:
        """The largest of the maps that faces are told by."""
        maps, levels = _through(self.down[0], self.stem(maps)), []
        for down, across in zip(self.down[1:], self.across, strict=True):
            maps = _through(down, maps)
            levels.append(across(maps))
        maps = levels.pop()
        for number, up in enumerate(self.up):
            maps = self.along[number - 1](maps) if number else maps
            larger = levels.pop()
            add_interpolated(larger, maps)
            maps = _through(up, larger)
        return maps

    def _cells(self, maps: Array) -> list[Array]:
        """What each head says of each pixel, (H, W, numbers)."""
        found = self.head(self.mix(maps, LOWEST))[0, BORDER:-BORDER, BORDER:-BORDER]
        size, first, parts = len(found), 0, []
        for numbers in self.numbers:
            own = found[..., first : first + 4 * numbers].reshape(size, size, 2, 2, numbers)
            parts.append(own.transpose(0, 2, 1, 3, 4).reshape(2 * size, 2 * size, numbers))
            first += 4 * numbers
        return parts


def respond(network: nn.Module, images: Tensor) -> tuple[Tensor, Tensor]:
    """Logits (F, A) and regressions (F, A, 16) of a `FullRange` network for images (F, 3, S, S)."""
    layers: FullRange = layers_of(network)
    anchors = (images.shape[2] // 4) ** 2
    logits, regressions = images.new_empty(len(images), anchors), images.new_empty(len(images), anchors, 16)
    in_threads(lambda rows: layers(*rows), (arrays(images.permute(0, 2, 3, 1), logits, regressions),), len(images))
    return logits, regressions


def _through(blocks: list[Bottleneck], maps: Array) -> Array:
    for block in blocks:
        maps = block(maps)
    return maps


def _packed(network: Any) -> FullRange:
    """The layers of a network."""
    with torch.no_grad():
        heads = network.logits, network.regressors
        mix = nn.Conv2d(heads[0].mix.in_channels, sum(head.mix.out_channels for head in heads), 1)
        filters = nn.Conv2d(mix.out_channels, mix.out_channels, 3, 2, 1, groups=mix.out_channels)
        for layer, parts in ((mix, [head.mix for head in heads]), (filters, [head.filters for head in heads])):
            layer.weight = nn.Parameter(torch.cat([part.weight for part in parts]), requires_grad=False)
            layer.bias = nn.Parameter(torch.cat([part.bias for part in parts]), requires_grad=False)
        # A product that changes nothing
        unchanged = torch.eye(mix.out_channels, dtype=torch.float32, device="cpu")
        head = Separable.of(filters, unchanged, unchanged.new_zeros(mix.out_channels), LOWEST)
        return FullRange(
            Layer.of(network.stem),
            [[Bottleneck.of(block) for block in stage] for stage in network.down],
            [Layer.of(layer) for layer in network.across],
            [[Bottleneck.of(block) for block in stage] for stage in network.up],
            [Layer.of(layer) for layer in network.along],
            Layer.of(mix),
            head,
            tuple(head.mix.out_channels // 4 for head in heads),
        )


# Packed anew where its numbers have changed
layers_of: Any = Kept(_packed, lambda network: network.numbers())
