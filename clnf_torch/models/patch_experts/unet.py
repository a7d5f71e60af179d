"""The U-Net of heatmap experts: one network for all landmarks, in training and, its normalisation fused, in use."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from torch import Tensor, nn
from torch.nn.functional import interpolate

from clnf_torch.models import compiled
from clnf_torch.models.batch_invariant import Conv2d
from clnf_torch.models.patch_experts.heatmap_network import (
    HeatmapNetwork,
    convolution,
    standardised,
)

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
        self.stem = convolution(1, widths[0], STEM, normalised, stride=2)
        self.down = nn.ModuleList(
            nn.Sequential(convolution(wide, wider, 3, normalised, stride=2), _Residual(wider, normalised))
            for wide, wider in pairwise(widths)
        )
        self.deepest = _Residual(widths[-1], normalised)
        upwards = list(pairwise(reversed(self.widths)))
        self.narrow = nn.ModuleList(Conv2d(wider, wide, 1) for wider, wide in upwards)
        self.up = nn.ModuleList(convolution(wide, wide, 3, normalised) for _, wide in upwards)
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

    def loops(self) -> Any:
        """See `HeatmapNetwork.loops`."""
        return compiled.kernels().unet_layers(self)

    def unnormalised(self) -> "UNet":
        """See `HeatmapNetwork.unnormalised`."""
        return UNet(self.landmarks, self.widths, normalised=False)


class _Residual(nn.Module):
    """Two convolutions whose result is added to what they were given."""

    def __init__(self, width: int, normalised: bool) -> None:
        super().__init__()
        self.first = convolution(width, width, 3, normalised)
        self.second = convolution(width, width, 3, normalised)[:-1]

    def forward(self, maps: Tensor) -> Tensor:
        """Maps (B, C, H, H) of the same shape."""
        return self.second(self.first(maps)).add_(maps).relu_()
