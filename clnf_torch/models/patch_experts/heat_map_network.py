"""A small U-shaped convolutional network: one grey picture of a face in, one map of scores per landmark out."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

STEM = 5  # side of the first filters
LEAST_DEVIATION = 1.0  # grey levels; a picture flatter than this is not made more contrasty


class HeatMapNetwork(nn.Module):
    """Maps of scores at half the resolution of the picture.

    The picture is halved again and again, so that the deepest layers see the whole face, and brought back with what
    each size knew before.

    Args:
        landmarks: Number N of maps.
        widths: Channels at 1/2, 1/4, 1/8, ... of the picture's side; the picture's side must be divisible by
            2 to the power of their number.
        normalised: With batch normalisation, as it is trained; otherwise with biases, see `folded`.
    """

    def __init__(self, landmarks: int, widths: Sequence[int], normalised: bool = True) -> None:
        super().__init__()
        self.landmarks, self.widths = landmarks, tuple(widths)
        self.stem = _convolution(1, widths[0], STEM, normalised, stride=2)
        self.down = nn.ModuleList(
            nn.Sequential(_convolution(wide, wider, 3, normalised, stride=2), _Residual(wider, normalised))
            for wide, wider in pairwise(widths)
        )
        self.deepest = _Residual(widths[-1], normalised)
        upwards = list(pairwise(reversed(self.widths)))
        self.narrow = nn.ModuleList(nn.Conv2d(wider, wide, 1) for wider, wide in upwards)
        self.up = nn.ModuleList(_convolution(wide, wide, 3, normalised) for _, wide in upwards)
        self.head = nn.Conv2d(widths[0], landmarks, 1)

    def forward(self, grey: Tensor) -> Tensor:
        """Scores (B, N, A/2, A/2) of grey pictures (B, A, A); each picture's own brightness and contrast are lost."""
        deviation, mean = torch.std_mean(grey, (-2, -1), keepdim=True)
        maps = self.stem(((grey - mean) / deviation.clamp(min=LEAST_DEVIATION))[:, None])
        levels = [maps]
        for down in self.down:
            maps = down(maps)
            levels.append(maps)
        maps = self.deepest(levels.pop())
        for narrow, up in zip(self.narrow, self.up, strict=True):
            maps = up(interpolate(narrow(maps), scale_factor=2, mode="nearest") + levels.pop())
        return self.head(maps)

    def channels_last(self) -> "HeatMapNetwork":
        """This network, its filters in the order of numbers in which convolutions are fastest."""
        for parameter in self.parameters():
            if parameter.ndim == 4:
                parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
        return self

    def folded(self) -> "HeatMapNetwork":
        """The same network for use, its batch normalisations folded into the convolutions before them."""
        plain = HeatMapNetwork(self.landmarks, self.widths, normalised=False)
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
        return torch.relu(maps + self.second(self.first(maps)))


def _convolution(inputs: int, outputs: int, side: int, normalised: bool, stride: int = 1) -> nn.Sequential:
    """Convolution, batch normalisation (or its place) and ReLU."""
    convolution = nn.Conv2d(inputs, outputs, side, stride=stride, padding=side // 2, bias=not normalised)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs) if normalised else nn.Identity(), nn.ReLU())


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
