"""The U-Net of heatmap experts on arrays: its layers as compiled loops, its weights packed once."""

from typing import Any, NamedTuple

from torch import nn

from clnf_torch.compilation.compiler import Array, f32
from clnf_torch.compilation.kept import Kept
from clnf_torch.compilation.products import LOWEST
from clnf_torch.models.kernels.cpu.convolution_layer import Layer, score_rows
from clnf_torch.models.kernels.cpu.convolutions import add_upsampled, heatmaps_of, standardise

# Faces whose maps go through a layer together, so that its weights are read once for all of them
FACES = 4


class UNetLayers(NamedTuple):
    """The layers of a network, by name; and the last one, see `heatmaps_of`."""

    layers: dict[str, Layer]
    head: Array

    def __call__(self, levels: int, least_deviation: float, gray: Array, found: Array) -> None:
        """Fills in the softmax of the scores of a network with so many sizes of maps.

        Args:
            levels: Number of sizes.
            least_deviation: Gray levels; see `UNet.forward`.
            gray: Images, shape (B, A, A).
            found: Becomes the heatmaps, shape (B, N, A / 2, A / 2).
        """
        for first in range(0, len(gray), FACES):
            maps = _last_maps(self.layers, levels, least_deviation, gray[first : first + FACES])
            heatmaps_of(maps, self.head, found[first : first + FACES])


def _packed(network: Any) -> UNetLayers:
    """The layers of a network."""
    convolutions = {name: part for name, part in network.named_modules() if isinstance(part, nn.Conv2d)}
    head = score_rows(convolutions.pop("head"))
    return UNetLayers({name: Layer.of(convolution) for name, convolution in convolutions.items()}, head)


# Of a `UNet`, packed anew where its numbers have changed
layers_of: Any = Kept(_packed, lambda network: network.numbers())


def _last_maps(layers: dict[str, Layer], levels: int, least_deviation: float, gray: Array) -> Array:
    """Maps (B, A / 2, A / 2, C) with borders, of which the scores are made; see `UNet.forward`."""
    stem = layers["stem.0"]
    border = len(stem.filters) // 2
    maps = stem(standardise(gray, border, f32(least_deviation)), border=border)
    kept = [maps]
    for level in range(levels - 1):
        maps = _residual(layers, f"down.{level}.1", layers[f"down.{level}.0.0"](maps))
        kept.append(maps)
    maps = _residual(layers, "deepest", kept.pop())
    for level in range(levels - 1):
        before = kept.pop()
        add_upsampled(before, layers[f"narrow.{level}"](maps, LOWEST))
        maps = layers[f"up.{level}.0"](before)
    return maps


def _residual(layers: dict[str, Layer], name: str, maps: Array) -> Array:
    """Two convolutions whose result is added to what they were given."""
    return layers[f"{name}.second.0"](layers[f"{name}.first.0"](maps), added=maps.reshape(-1))
