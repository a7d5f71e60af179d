"""The network of a validator while it is trained, and as the plain layers of a bundle."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from clnf_torch.detection.validator import confidence_of, is_face


def passing_bins(bins: int) -> int:
    """How many of C bins the runtime takes for faces."""
    return int(is_face(confidence_of(torch.eye(bins))).sum())


def bin_positions(errors: Tensor, bins: int, failure_limit: float) -> Tensor:
    """Where errors lie among the bins, in bins: between k and k + 1 in bin k; those in the last one lie in its middle.

    Args:
        errors: Shape (B,), maybe infinite.
        bins: Number of bins C.
        failure_limit: The error below which landmarks are taken for a face.
    """
    return (errors * (passing_bins(bins) / failure_limit)).clamp(max=bins - 0.5)


def soft_targets(errors: Tensor, bins: int, failure_limit: float, target_sigma: float) -> Tensor:
    """What the softmax of the scores shall be: a Gaussian around the error, since next to right is nearly right.

    Args:
        errors: Shape (B,).
        bins: Number of bins C.
        failure_limit: The error below which landmarks are taken for a face.
        target_sigma: Width of the Gaussian, bins.

    Returns:
        Shares, shape (B, C).
    """
    middles = torch.arange(bins, device=errors.device) + 0.5
    away = middles - bin_positions(errors, bins, failure_limit)[:, None]
    return torch.softmax(-0.5 * (away / target_sigma).square(), -1)


# Side of the filters but the first
KERNEL = 3
# Side of the first filters, which see the image itself
FIRST = 5


def make_network(side: int, widths: Sequence[int], hidden: int, bins: int) -> nn.Sequential:
    """A network of random weights.

    Args:
        side: Of the images that it looks at, pixels.
        widths: Channels after each convolution; all but the last are halved in size afterwards.
        hidden: Width of the layer before the scores.
        bins: Number of scores C.

    Returns:
        Maps images (B, 1, side, side) to scores (B, C).
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
        raise ValueError(f"{len(widths)} convolutions leave nothing of the images; make them larger")
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
