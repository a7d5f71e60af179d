"""The U-Net of heatmap experts on arrays: its layers as compiled loops, its weights packed once."""

from typing import Any, NamedTuple

from torch import nn

from clnf_torch.compilation.compiler import Array, f32
from clnf_torch.compilation.kept import Kept
from clnf_torch.compilation.products import LOWEST, NOTHING, pack
from clnf_torch.models.kernels.cpu.convolutions import BORDER, add_upsampled, convolve, softmax, standardise

# Faces whose maps go through a layer together, so that its weights are read once for all of them
FACES = 4
# Least number behind a ReLU
ZERO = f32(0)


class Layer(NamedTuple):
    """A convolution: its filters, packed, and what `convolve` needs to know."""

    weight: Array
    bias: Array
    side: int
    stride: int

    @classmethod
    def of(cls, convolution: nn.Conv2d) -> "Layer":
        """The convolution of a layer of a network."""
        assert convolution.bias is not None
        weight = convolution.weight.detach().permute(2, 3, 1, 0).flatten(0, 2).contiguous().numpy()
        bias = convolution.bias.detach().numpy().copy()
        return cls(pack(weight), bias, convolution.kernel_size[0], convolution.stride[0])

    def __call__(self, maps: Array, least: Any = ZERO, added: Array = NOTHING, border: int = BORDER) -> Array:
        """Maps of maps with borders, by default through a ReLU."""
        return convolve(maps, border, self.weight, self.bias, self.side, self.stride, least, added, BORDER)


def _packed(network: nn.Module) -> dict[str, Layer]:
    """The layers of a network by their names."""
    convolutions = {name: part for name, part in network.named_modules() if isinstance(part, nn.Conv2d)}
    return {name: Layer.of(convolution) for name, convolution in convolutions.items()}


# Of a `UNet`, packed anew where its numbers have changed
layers_of: Any = Kept(_packed, lambda network: network.numbers())


def heatmaps(layers: dict[str, Layer], levels: int, least_deviation: float, gray: Array, found: Array) -> None:
    """Softmax of the scores of a `UNet` with so many sizes of maps.

    Args:
        layers: Of the network, by name.
        levels: Number of sizes.
        least_deviation: Gray levels; see `UNet.forward`.
        gray: Images, shape (B, A, A).
        found: Becomes the heatmaps, shape (B, N, A / 2, A / 2).
    """
    for first in range(0, len(gray), FACES):
        scores = _scores(layers, levels, least_deviation, gray[first : first + FACES])
        softmax(scores, found[first : first + FACES])


def _scores(layers: dict[str, Layer], levels: int, least_deviation: float, gray: Array) -> Array:
    """Scores (B, A / 2, A / 2, N); see `UNet.forward`."""
    stem = layers["stem.0"]
    border = stem.side // 2
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
    weight, bias, side, stride = layers["head"]
    return convolve(maps, BORDER, weight, bias, side, stride, LOWEST, NOTHING, 0)


def _residual(layers: dict[str, Layer], name: str, maps: Array) -> Array:
    """Two convolutions whose result is added to what they were given."""
    return layers[f"{name}.second.0"](layers[f"{name}.first.0"](maps), added=maps.reshape(-1))
