"""The U-Net of heatmap experts on arrays: its layers as compiled loops, its weights packed once."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from torch import nn

from clnf_torch.compilation.compiler import Array, f32
from clnf_torch.compilation.kept import Kept
from clnf_torch.compilation.products import LOWEST
from clnf_torch.models.kernels.cpu.convolution_layer import Layer, score_rows
from clnf_torch.models.kernels.cpu.convolutions import add_upsampled, standardise
from clnf_torch.models.patch_experts.heatmap_network import LEAST_DEVIATION

# Faces whose maps go through a layer together, so that its weights are read once for all of them
FACES = 4


class UNetLayers(NamedTuple):
    """The layers of a network, by name, with so many sizes of maps; and the last one, see `heatmaps_of`."""

    layers: dict[str, Layer]
    levels: int
    head: Array

    def blocks(self, gray: Array) -> Iterator[tuple[slice, Array]]:
        """Of some of the images (B, A, A) at a time, the maps that scores are made of, (b, A / 2 + 2, A / 2 + 2, C)."""
        for first in range(0, len(gray), FACES):
            rows = slice(first, first + FACES)
            yield rows, self._last_maps(gray[rows])

    def _last_maps(self, gray: Array) -> Array:
        """Maps with borders, of which the scores are made; see `UNet.forward`."""
        layers = self.layers
        stem = layers["stem.0"]
        border = len(stem.filters) // 2
        maps = stem(standardise(gray, border, f32(LEAST_DEVIATION)), border=border)
        kept = [maps]
        for level in range(self.levels - 1):
            maps = self._residual(f"down.{level}.1", layers[f"down.{level}.0.0"](maps))
            kept.append(maps)
        maps = self._residual("deepest", kept.pop())
        for level in range(self.levels - 1):
            before = kept.pop()
            add_upsampled(before, layers[f"narrow.{level}"](maps, LOWEST))
            maps = layers[f"up.{level}.0"](before)
        return maps

    def _residual(self, name: str, maps: Array) -> Array:
        """Two convolutions whose result is added to what they were given."""
        return self.layers[f"{name}.second.0"](self.layers[f"{name}.first.0"](maps), added=maps.reshape(-1))


def _packed(network: Any) -> UNetLayers:
    """The layers of a network."""
    convolutions = {name: part for name, part in network.named_modules() if isinstance(part, nn.Conv2d)}
    head = score_rows(convolutions.pop("head"))
    layers = {name: Layer.of(convolution) for name, convolution in convolutions.items()}
    return UNetLayers(layers, len(network.widths), head)


# Of a `UNet`, packed anew where its numbers have changed
layers_of: Any = Kept(_packed, lambda network: network.numbers())
