"""The two networks of BlazeFace: short range for faces close to the camera, full range for those farther away.

Both give a logit and 16 numbers for each of their anchors: how far the centre of a box is from the anchor, its width
and height, and six keypoints. `NETWORKS` names them.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, pad, pixel_shuffle

from clnf_torch.compilation.conditions import load_kernels
from clnf_torch.models import compiled
from clnf_torch.models.blaze_block import BlazeBlock, Depthwise

# Numbers of an anchor: a box and six keypoints
NUMBERS = 16
# Inputs and outputs of the short range's blocks; where a stage begins, maps are halved
SHORT_STAGES = ((24, 24, 28), (32, 36, 42), (48, 56, 64, 72, 80, 88), (96, 96, 96, 96, 96))
# Wide channels, narrow channels and number of residual blocks of the full range's stages, downwards and upwards again
FULL_DOWN = ((32, 8, 2), (64, 16, 2), (128, 32, 2), (192, 48, 2), (384, 96, 3))
FULL_UP = ((96, 48, 2), (64, 32, 2), (48, 24, 1))


class ShortRange(nn.Module):
    """For faces up to two metres from a phone: 128 pixels, 896 anchors on maps of 16 and 8 pixels."""

    side: ClassVar[int] = 128
    # Cells across a map, and anchors of each cell
    anchors: ClassVar[Sequence[tuple[int, int]]] = ((16, 2), (8, 6))

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 24, 5, 2)
        wide = [channels for stage in SHORT_STAGES for channels in stage]
        first = {sum(map(len, SHORT_STAGES[:k])) for k in range(1, len(SHORT_STAGES))}
        blocks = [
            BlazeBlock(wide[k - 1], wide[k], 2 if k in first else 1, nn.ReLU(inplace=True)) for k in range(1, len(wide))
        ]
        last = sum(map(len, SHORT_STAGES[:-1])) - 1
        self.fine, self.coarse = nn.Sequential(*blocks[:last]), nn.Sequential(*blocks[last:])
        channels = 88, 96
        heads = list(zip(channels, self.anchors, strict=True))
        self.logits = nn.ModuleList(nn.Conv2d(wide_, count, 1) for wide_, (_, count) in heads)
        self.regressors = nn.ModuleList(nn.Conv2d(wide_, NUMBERS * count, 1) for wide_, (_, count) in heads)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (F, A) and regressions (F, A, 16) of images (F, 3, 128, 128), from -1 to 1."""
        fine = self.fine(self.stem(pad(images, (1, 2, 1, 2))).relu_())
        maps = fine, self.coarse(fine)
        logits, regressions = (
            torch.cat([by_anchor(head(some), size) for head, some in zip(heads, maps, strict=True)], 1)
            for heads, size in ((self.logits, 1), (self.regressors, NUMBERS))
        )
        return logits[..., 0], regressions


class Bottleneck(nn.Module):
    """Two filters of each channel, with few channels between; added to the maps where these keep their shape."""

    def __init__(self, inputs: int, narrow: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.first, self.reduce = Depthwise(inputs, stride), nn.Conv2d(inputs, narrow, 1)
        self.second, self.expand = Depthwise(narrow), nn.Conv2d(narrow, outputs, 1)
        self._adds = stride == 1

    def forward(self, maps: Tensor) -> Tensor:
        """Maps (F, C', H', W') of maps (F, C, H, W)."""
        residual = self.expand(self.second(self.reduce(self.first(maps)).relu_()))
        return residual.add_(maps).relu_() if self._adds else residual.relu_()


class Head(nn.Module):
    """Numbers of each cell: four times as many on maps of half the size, which are spread out again."""

    def __init__(self, inputs: int, numbers: int) -> None:
        super().__init__()
        self.mix, self.filters, self._numbers = nn.Conv2d(inputs, 4 * numbers, 1), Depthwise(4 * numbers, 2), numbers

    def forward(self, maps: Tensor) -> Tensor:
        """Maps (F, numbers, H, W) of maps (F, C, H, W)."""
        # TensorFlow: the channels of one pixel lie together; torch: the pixels of one channel
        return pixel_shuffle(self.filters(self.mix(maps)).unflatten(1, (4, -1)).transpose(1, 2).flatten(1, 2), 2)


class FullRange(compiled.KnownNumbers):
    """For faces up to five metres from a phone: 192 pixels, 2,304 anchors on maps of 48 pixels."""

    side: ClassVar[int] = 192
    anchors: ClassVar[Sequence[tuple[int, int]]] = ((48, 1),)

    def __init__(self) -> None:
        super().__init__()
        wide = [channels for channels, _, _ in FULL_DOWN]
        self.stem = nn.Conv2d(3, wide[0], 3, 2, 1)
        self.down, self.across = nn.ModuleList(), nn.ModuleList()
        for level, (channels, narrow, count) in enumerate(FULL_DOWN):
            start = [Bottleneck(wide[level - 1], narrow, channels, 2)] if level else []
            self.down.append(nn.Sequential(*start, *(Bottleneck(channels, narrow, channels) for _ in range(count))))
        # What is handed across is as wide as the maps that it is added to, the smallest maps as those above them
        upper = [channels for channels, _, _ in FULL_UP]
        for channels, out in zip(wide[1:], [*reversed(upper), upper[0]], strict=True):
            self.across.append(nn.Conv2d(channels, out, 1))
        self.up, self.along = nn.ModuleList(), nn.ModuleList()
        for channels, narrow, count in FULL_UP:
            self.up.append(nn.Sequential(*(Bottleneck(channels, narrow, channels) for _ in range(count))))
        for channels, out in pairwise(upper):
            self.along.append(nn.Conv2d(channels, out, 1))
        self.logits, self.regressors = Head(upper[-1], 1), Head(upper[-1], NUMBERS)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (F, A) and regressions (F, A, 16) of images (F, 3, 192, 192), from -1 to 1."""
        own_size = images.shape[1:] == (3, self.side, self.side)
        if (
            own_size
            and self.is_as_made()
            and compiled.usable(images, self.numbers())
            and (loops := _loops()) is not None
        ):
            found: tuple[Tensor, Tensor] = loops.respond(self, images)
            return found
        maps, levels = self.down[0](self.stem(images).relu_()), []
        for down, across in zip(self.down[1:], self.across, strict=True):
            maps = down(maps)
            levels.append(across(maps).relu_())
        maps = levels.pop()
        for k, up in enumerate(self.up):
            maps = self.along[k - 1](maps).relu_() if k else maps
            larger = interpolate(maps, scale_factor=2.0, mode="bilinear", align_corners=False)
            maps = up(levels.pop() + larger)
        return by_anchor(self.logits(maps), 1)[..., 0], by_anchor(self.regressors(maps), NUMBERS)


NETWORKS: dict[str, type[ShortRange] | type[FullRange]] = {"short_range": ShortRange, "full_range": FullRange}
"""The networks by name."""


def _loops() -> Any:
    """The compiled loops of the full range; None where there are none."""
    return load_kernels("clnf_torch.models.kernels.cpu.full_range")


def by_anchor(maps: Tensor, numbers: int) -> Tensor:
    """Maps (F, anchors of a cell * numbers, h, w) as numbers of each anchor, row by row, (F, A, numbers)."""
    return maps.permute(0, 2, 3, 1).reshape(len(maps), -1, numbers)


def anchor_centres(anchors: Sequence[tuple[int, int]]) -> Tensor:
    """The centres (A, 2) of a network's anchors, x and y in sides of its image."""
    centres = []
    for cells, count in anchors:
        middle = (torch.arange(cells, dtype=torch.float32, device="cpu") + 0.5) / cells
        rows, columns = torch.meshgrid(middle, middle, indexing="ij")
        centres.append(torch.stack((columns, rows), -1).flatten(0, 1).repeat_interleave(count, 0))
    return torch.cat(centres)
