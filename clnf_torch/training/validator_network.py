"""The network of a validator while it is trained, and as the plain layers of a bundle."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

KERNEL = 3  # side of the filters but the first
FIRST = 5  # side of the first filters, which see the picture itself


def make_network(side: int, widths: Sequence[int], hidden: int, bins: int) -> nn.Sequential:
    """A network of random weights.

    Args:
        side: Of the pictures that it looks at, pixels.
        widths: Channels after each convolution; all but the last are halved in size afterwards.
        hidden: Width of the layer before the scores.
        bins: Number of scores C.

    Returns:
        Maps pictures (B, 1, side, side) to scores (B, C).
    """
    layers: list[nn.Module] = []
    for number, (before, after) in enumerate(zip((1, *widths), widths, strict=False)):
        kernel = KERNEL if number else FIRST
        layers += [_convolution(before, after, kernel), nn.ReLU()]
        side -= kernel - 1
        if number < len(widths) - 1:
            layers.append(nn.MaxPool2d(2, 2, ceil_mode=True))
            side = (side + 1) // 2
    if side < 1:
        raise ValueError(f"{len(widths)} convolutions leave nothing of the pictures; make them larger")
    layers += [nn.Flatten(), nn.Linear(widths[-1] * side * side, hidden), nn.ReLU(), nn.Linear(hidden, bins)]
    return nn.Sequential(*layers)


def layers_of(network: nn.Sequential) -> list[dict[str, Any]]:
    """The layers of a bundle, weights in float16; see converters/README.md."""
    records = (_record(module) for module in network)
    return [record for record in records if record is not None]


def _convolution(before: int, after: int, kernel: int) -> nn.Conv2d:
    """A valid convolution whose weights lie in memory as its fastest implementation on the CPU wants them."""
    module = nn.Conv2d(before, after, kernel)
    module.weight = nn.Parameter(module.weight.detach().contiguous(memory_format=torch.channels_last))
    return module


def _record(module: nn.Module) -> dict[str, Any] | None:
    """A layer of a bundle; None for what `linear` does by itself."""
    if isinstance(module, (nn.Conv2d, nn.Linear)):
        kind = "conv" if isinstance(module, nn.Conv2d) else "linear"
        return {"kind": kind, **{name: _stored(value) for name, value in module.state_dict().items()}}
    if isinstance(module, nn.MaxPool2d):
        return {"kind": "max_pool", "kernel": [2, 2], "stride": [2, 2]}
    return {"kind": "relu"} if isinstance(module, nn.ReLU) else None


def _stored(weights: Tensor) -> Tensor:
    """Weights as a bundle holds them."""
    return weights.detach().cpu().half().contiguous()
