"""A network that sees pen marks on a face, and what the skin below them looks like."""

from collections.abc import Mapping
from functools import lru_cache
from itertools import pairwise
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate, pixel_shuffle, pixel_unshuffle
from torch.nn.utils import fuse_conv_bn_eval

from clnf_torch.models.array_schema import Array
from clnf_torch.models.batch_invariant import Conv2d, order_filters
from clnf_torch.models.schema import Context, Fields, Number, Several

# Pixels along each axis that become channels before the first layer, and pixels again after the last one
BLOCK = 2
# Red, green and blue
COLOURS = 3
# Sizes and channels of a network, beyond those of any model
MOST_SIZES, MOST_CHANNELS = 6, 256
# Times that images are halved where marks are filled from around them
HALVINGS = 5
# Of weights that are divided by
LEAST_WEIGHT = 1e-4
# Probabilities up to which nothing is a mark, so that what is not drawn on stays as it is, and from which on all is.
# Training weighs marks threefold: these are odds of 1 to 1 and of 33 to 1 without
NO_MARK, MARK = 0.75, 0.99


class EraserNetwork(nn.Module):
    """A U-Net of residual blocks: images of faces with pen marks in, the bare skin and the marks' probability out.

    It says where marks are. What lies around them fills them, and the network corrects what that fills in.

    Args:
        widths: Channels of its maps, which are halved from each to the next.
        normalised: With batch normalisation, as it is trained; otherwise with biases, see `fused`.

    Source:
        Ronneberger, Fischer, Brox: U-Net: convolutional networks for biomedical image segmentation, MICCAI 2015.
    """

    def __init__(self, widths: tuple[int, ...], normalised: bool = False) -> None:
        super().__init__()
        self.widths, self.normalised = tuple(widths), normalised
        pairs = list(pairwise(widths))
        self.first = Conv2d(COLOURS * BLOCK**2, widths[0], 3, padding=1)
        self.inward = nn.ModuleList([ResidualBlock(width, normalised) for width in widths])
        self.halve = nn.ModuleList([Conv2d(wide, narrow, 2, stride=2) for wide, narrow in pairs])
        self.widen = nn.ModuleList([Conv2d(narrow, wide, 1) for wide, narrow in reversed(pairs)])
        self.outward = nn.ModuleList([ResidualBlock(wide, normalised) for wide, _ in reversed(pairs)])
        self.last = Conv2d(widths[0], (COLOURS + 1) * BLOCK**2, 3, padding=1)

    @property
    def multiple(self) -> int:
        """What divides the side of its images."""
        return int(BLOCK * 2 ** len(self.halve))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """What images show without pen marks, and logits of these marks.

        Args:
            images: RGB in 0 to 255, floating point, shape (B, 3, S, S), S divisible by `multiple`.

        Returns:
            Skin (B, 3, S, S) in 0 to 255, which means something where a mark is; logits (B, 1, S, S).
        """
        maps = self.first(pixel_unshuffle(images / 127.5 - 1, BLOCK)).relu()
        beside = []
        for block, halve in zip(self.inward, [*self.halve, None], strict=True):
            maps = block(maps)
            if halve is not None:
                beside.append(maps)
                maps = halve(maps).relu()
        for widen, block in zip(self.widen, self.outward, strict=True):
            wider = interpolate(widen(maps), scale_factor=2, mode="bilinear")
            maps = block(wider + beside.pop())
        corrections, logits = pixel_shuffle(self.last(maps), BLOCK).float().split((COLOURS, 1), 1)
        around = filled(images, (-logits).sigmoid(), HALVINGS)
        return (around + 255 * corrections).clamp(0, 255), logits

    @torch.no_grad()
    def fused(self) -> "EraserNetwork":
        """The same network for inference, its batch normalisations in the convolutions before them."""
        plain = EraserNetwork(self.widths)
        numbers = {name: value for name, value in self.state_dict().items() if name in plain.state_dict()}
        plain.load_state_dict(numbers, strict=False)
        blocks = zip([*self.inward, *self.outward], [*plain.inward, *plain.outward], strict=True)
        for block, bare in blocks:
            for layers, into in ((block.one, bare.one), (block.two, bare.two)):
                own = fuse_conv_bn_eval(layers[0], layers[1]) if self.normalised else layers[0]
                into[0].load_state_dict(own.state_dict())
        return plain.eval()

    def to_record(self) -> dict[str, Any]:
        """The network as a bundle holds it, its weights in float16."""
        weights = {name: value.detach().half() for name, value in self.state_dict().items()}
        return {"widths": list(self.widths), "weights": weights}

    @classmethod
    def check_record(cls, record: Any, where: str, context: Context) -> None:
        """Refuses what is no record of `to_record`.

        Raises:
            SchemaError: Something in it is not what it should be.
        """
        Fields({"widths": Several(Number(1, MOST_CHANNELS, whole=True), 1, MOST_SIZES)}).check(record, where, context)
        weights = Fields(
            {name: Array(*shape) for name, shape in _weight_shapes(tuple(record["widths"])).items()}, closed=True
        )
        Fields({"weights": weights}).check(record, where, context)

    @classmethod
    def from_record(cls, record: Mapping[str, Any], dtype: torch.dtype = torch.float32) -> "EraserNetwork":
        """The network in a record."""
        with torch.device("meta"):
            network = cls(tuple(record["widths"]))
        weights = {name: values.to(dtype) for name, values in record["weights"].items()}
        network.load_state_dict(weights, assign=True)
        network.requires_grad_(False)
        return cast("EraserNetwork", order_filters(network).eval())


def filled(images: Tensor, weights: Tensor, halvings: int) -> Tensor:
    """Images that are filled from around where they weigh little.

    Args:
        images: Shape (B, C, S, S), S divisible by two so many times.
        weights: What each pixel weighs, 0 to 1, shape (B, 1, S, S).
        halvings: How many; twice as many pixels are reached with each.

    Source:
        Gortler, Grzeszczuk, Szeliski, Cohen: The Lumigraph, SIGGRAPH 1996; its push and pull.
    """
    if not halvings:
        return images
    share = avg_pool2d(weights, 2)
    half = avg_pool2d(images * weights, 2) / share.clamp_min(LEAST_WEIGHT)
    coarse = filled(half, (4 * share).clamp_max(1), halvings - 1)
    around = interpolate(coarse, scale_factor=2, mode="bilinear")
    return torch.lerp(around, images, weights)


def mark_strength(logits: Tensor) -> Tensor:
    """How much of the skin is shown instead of a mark with such logits, 0 to 1; both are reached."""
    return ((logits.sigmoid() - NO_MARK) / (MARK - NO_MARK)).clamp(0, 1)


class ResidualBlock(nn.Module):
    """Two convolutions, whose maps are added to those that they were made of.

    Args:
        width: Channels.
        normalised: With batch normalisation; otherwise with biases.
    """

    def __init__(self, width: int, normalised: bool) -> None:
        super().__init__()
        self.one, self.two = (
            nn.Sequential(
                Conv2d(width, width, 3, padding=1, bias=not normalised),
                *([nn.BatchNorm2d(width)] if normalised else []),
            )
            for _ in range(2)
        )

    def forward(self, maps: Tensor) -> Tensor:
        """Maps of the same shape."""
        after: Tensor = self.two(self.one(maps).relu())
        return (maps + after).relu()


@lru_cache
def _weight_shapes(widths: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    """Shapes of a network's weights by their names."""
    with torch.device("meta"):
        network = EraserNetwork(widths)
    return {name: tuple(value.shape) for name, value in network.state_dict().items()}
