"""A convolution of maps with borders, its weights packed for the compiled loops: directly, or in Winograd's tiles."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from torch import nn

from clnf_torch.compilation.compiler import Array, f32
from clnf_torch.compilation.products import NOTHING, pack
from clnf_torch.models.kernels.cpu.convolutions import BORDER, convolve
from clnf_torch.models.kernels.cpu.winograd import can_be_tiles, convolve_tiles, divides_into_tiles, pack_tiles

# Least number behind a ReLU
ZERO = f32(0)


@dataclass(frozen=True)
class Layer:
    """A convolution; its filters are packed when the first maps come that want them so.

    Attributes:
        filters: Shape (side, side, C, C').
        bias: Shape (C',).
        stride: Pixels between the filters.
    """

    filters: Array
    bias: Array
    stride: int

    @classmethod
    def of(cls, convolution: nn.Conv2d) -> "Layer":
        """The convolution of a layer of a network."""
        return cls(*_numbers(convolution), convolution.stride[0])

    def __call__(self, maps: Array, least: Any = ZERO, added: Array = NOTHING, border: int = BORDER) -> Array:
        """Maps of maps with borders, by default through a ReLU."""
        if self._can_be_tiles and divides_into_tiles(maps):
            found: Array = convolve_tiles(maps, self._tiles, self.bias, least, added)
            return found
        return convolve(maps, border, self._packed, self.bias, len(self.filters), self.stride, least, added, BORDER)

    @cached_property
    def _can_be_tiles(self) -> bool:
        return can_be_tiles(self.filters.shape, self.stride)

    @cached_property
    def _packed(self) -> Array:
        return pack(self.filters.reshape(-1, len(self.bias)))

    @cached_property
    def _tiles(self) -> Array:
        return pack_tiles(self.filters)


def score_rows(head: nn.Conv2d) -> Array:
    """The layer that gives the scores, as `heatmaps_of` wants it: for each a bias and C factors, (N, 1 + C)."""
    filters, bias = _numbers(head)
    return np.ascontiguousarray(np.concatenate((bias[:, None], filters.reshape(-1, len(bias)).T), 1))


def _numbers(convolution: nn.Conv2d) -> tuple[Array, Array]:
    """Filters (side, side, C, C') and bias (C',)."""
    assert convolution.bias is not None
    filters = convolution.weight.detach().permute(2, 3, 1, 0).contiguous().numpy()
    return filters, convolution.bias.detach().numpy().copy()
