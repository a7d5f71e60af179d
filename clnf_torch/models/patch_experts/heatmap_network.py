"""What the networks of heatmap experts have in common."""

from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor, nn

from clnf_torch.models import compiled
from clnf_torch.models.batch_invariant import Conv2d

# Gray levels; an image flatter than this is not made more contrasty
LEAST_DEVIATION = 1.0


class HeatmapNetwork(compiled.KnownNumbers):
    """A network that sees the whole face and gives maps of scores for all landmarks; where it can, as compiled loops.

    Attributes:
        landmarks: Number N of maps.
        widths: Channels of its layers.
        stride: Z, pixels of the image along a cell of the maps.
        normalised: With batch normalisation, as it is trained; otherwise with biases, see `fuse_batchnorm`.
    """

    landmarks: int
    widths: tuple[int, ...]
    stride: int
    normalised: bool

    def has_loops_for(self, gray: Tensor) -> bool:
        """Whether maps of images (B, A, A) can be compiled loops'."""
        plain = compiled.usable(gray, self.numbers()) and self.is_as_made()
        return plain and not self.normalised and compiled.kernels().fills_vectors((*self.widths, self.landmarks))

    @abstractmethod
    def loops(self) -> Any:
        """Its layers as compiled loops."""

    def fill_heatmaps(self, gray: Tensor, found: Tensor) -> None:
        """Fills in the softmax of the scores for images (B, A, A), (B, N, A / Z, A / Z), by the loops."""
        compiled.kernels().heatmaps(self.loops(), gray, found)

    def fill_windows(self, gray: Tensor, middle: Tensor, found: Tensor) -> None:
        """Fills in square parts of that, (B, N, R, R), around cells (x, y), int64, (B, N, 2); 0 outside the maps."""
        compiled.kernels().heatmap_windows(self.loops(), gray, middle, found)

    @abstractmethod
    def unnormalised(self) -> "HeatmapNetwork":
        """A network of the same sizes without batch normalisation."""

    def fuse_batchnorm(self) -> "HeatmapNetwork":
        """The same network for inference, its batch normalisations, if any, fused into the convolutions before them."""
        if not self.normalised:
            return self.eval()
        plain, named = self.unnormalised(), dict(self.named_modules())
        with torch.no_grad():
            for name, module in plain.named_modules():
                if isinstance(module, nn.Conv2d):
                    followed = named.get(_next_name(name))
                    _fuse(module, named[name], followed if isinstance(followed, nn.BatchNorm2d) else None)
                else:
                    for own, number in module.named_parameters(recurse=False):
                        number.copy_(named[name].get_parameter(own))
        return plain.eval()


def standardised(gray: Tensor) -> Tensor:
    """Images (B, A, A) minus their mean, divided by their deviation."""
    deviation, mean = torch.std_mean(gray, (-2, -1), keepdim=True)
    return (gray - mean) / deviation.clamp(min=LEAST_DEVIATION)


def convolution(inputs: int, outputs: int, side: int, normalised: bool, stride: int = 1) -> nn.Sequential:
    """Convolution, batch normalisation where there is one, and ReLU."""
    filters = Conv2d(inputs, outputs, side, stride=stride, padding=side // 2, bias=not normalised)
    return nn.Sequential(filters, *([nn.BatchNorm2d(outputs)] if normalised else []), nn.ReLU(inplace=True))


def _next_name(name: str) -> str:
    """The name of the module after one in a sequence: "up.0.0" -> "up.0.1"."""
    parent, _, place = name.rpartition(".")
    return f"{parent}.{int(place) + 1}" if place.isdigit() else ""


def _fuse(into: nn.Conv2d, convolution: nn.Module, norm: nn.BatchNorm2d | None) -> None:
    """Writes a convolution, and the normalisation after it, into another convolution."""
    assert isinstance(convolution, nn.Conv2d) and into.bias is not None
    weight = convolution.weight
    bias = weight.new_zeros(len(weight)) if convolution.bias is None else convolution.bias
    if norm is not None:
        assert norm.running_var is not None and norm.running_mean is not None
        gain = norm.weight / (norm.running_var + norm.eps).sqrt()
        weight, bias = weight * gain[:, None, None, None], (bias - norm.running_mean) * gain + norm.bias
    into.weight.copy_(weight)
    into.bias.copy_(bias)
