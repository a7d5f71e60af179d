"""The U-Net of heatmap experts: one network for all landmarks, and the same one folded for use."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from clnf_torch.models import compiled
from clnf_torch.models.batch_invariant import Conv2d
from clnf_torch.models.patch_experts.heatmap_network import LEAST_DEVIATION, HeatmapNetwork, standardised

# Side of the first filters
STEM = 5


class UNet(HeatmapNetwork):
    """A U-Net: maps of scores at half the resolution of the image.

    The image is halved again and again, so that the deepest layers see the whole face, and brought back with what
    each size knew before.

    Args:
        landmarks: Number N of maps.
        widths: Channels at 1/2, 1/4, 1/8, ... of the image's side; the image's side must be divisible by
            2 to the power of their number.
        normalised: With batch normalisation, as it is trained; otherwise with biases, see `fuse_batchnorm`.
    """

    stride = 2

    def __init__(self, landmarks: int, widths: Sequence[int], normalised: bool = True) -> None:
        super().__init__()
        self.landmarks, self.widths, self.normalised = landmarks, tuple(widths), normalised
        self.stem = _convolution(1, widths[0], STEM, normalised, stride=2)
        self.down = nn.ModuleList(
            nn.Sequential(_convolution(wide, wider, 3, normalised, stride=2), _Residual(wider, normalised))
            for wide, wider in pairwise(widths)
        )
        self.deepest = _Residual(widths[-1], normalised)
        upwards = list(pairwise(reversed(self.widths)))
        self.narrow = nn.ModuleList(Conv2d(wider, wide, 1) for wider, wide in upwards)
        self.up = nn.ModuleList(_convolution(wide, wide, 3, normalised) for _, wide in upwards)
        self.head = Conv2d(widths[0], landmarks, 1)

    def forward(self, gray: Tensor) -> Tensor:
        """Scores (B, N, A/2, A/2) of gray images (B, A, A); each image's own brightness and contrast are lost."""
        maps = self.stem(standardised(gray)[:, None])
        levels = [maps]
        for down in self.down:
            maps = down(maps)
            levels.append(maps)
        maps = self.deepest(levels.pop())
        for narrow, up in zip(self.narrow, self.up, strict=True):
            maps = up(levels.pop() + interpolate(narrow(maps), scale_factor=2, mode="nearest"))
        return self.head(maps)

    def has_loops_for(self, gray: Tensor) -> bool:
        """See `HeatmapNetwork.has_loops_for`."""
        return not self.normalised and super().has_loops_for(gray)

    def fill_heatmaps(self, gray: Tensor, found: Tensor) -> None:
        """See `HeatmapNetwork.fill_heatmaps`."""
        compiled.kernels().heatmaps(self, len(self.widths), LEAST_DEVIATION, gray, found)

    def fuse_batchnorm(self) -> "UNet":
        """See `HeatmapNetwork.fuse_batchnorm`."""
        if not self.normalised:
            return self.eval()
        plain = UNet(self.landmarks, self.widths, normalised=False)
        named = dict(self.named_modules())
        with torch.no_grad():
            for name, convolution in plain.named_modules():
                if isinstance(convolution, nn.Conv2d):
                    followed = named.get(_next_name(name))
                    _fold(convolution, named[name], followed if isinstance(followed, nn.BatchNorm2d) else None)
        return plain.eval()


class _Residual(nn.Module):
    """Two convolutions whose result is added to what they were given."""

    def __init__(self, width: int, normalised: bool) -> None:
        super().__init__()
        self.first = _convolution(width, width, 3, normalised)
        self.second = _convolution(width, width, 3, normalised)[:-1]

    def forward(self, maps: Tensor) -> Tensor:
        """Maps (B, C, H, H) of the same shape."""
        return self.second(self.first(maps)).add_(maps).relu_()


def _convolution(inputs: int, outputs: int, side: int, normalised: bool, stride: int = 1) -> nn.Sequential:
    """Convolution, batch normalisation where there is one, and ReLU."""
    convolution = Conv2d(inputs, outputs, side, stride=stride, padding=side // 2, bias=not normalised)
    return nn.Sequential(convolution, *([nn.BatchNorm2d(outputs)] if normalised else []), nn.ReLU(inplace=True))


def _next_name(name: str) -> str:
    """The name of the module after one in a sequence: "up.0.0" -> "up.0.1"."""
    parent, _, place = name.rpartition(".")
    return f"{parent}.{int(place) + 1}" if place.isdigit() else ""


def _fold(into: nn.Conv2d, convolution: nn.Module, norm: nn.BatchNorm2d | None) -> None:
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
