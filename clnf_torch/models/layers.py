"""Small convolutional networks, built from the list of plain layers that a bundle holds."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from clnf_torch.compilation.conditions import load_kernels
from clnf_torch.models import compiled
from clnf_torch.models.batch_invariant import Conv2d, Linear, in_fast_order

Layer = Mapping[str, Any]
"""A layer of a bundle: its `kind`, a key of `BUILDERS`, and what that kind needs."""


class LayerNetwork(compiled.KnownNumbers, nn.Sequential):
    """A network of a bundle's layers; on the CPU, where there is a compiler, they are compiled loops."""

    def forward(self, images: Tensor) -> Tensor:
        """Maps (B, C', H', W') or vectors (B, C') of images (B, C, H, W)."""
        return self.respond([images])[0] if self.has_loops_for(images) else super().forward(images)

    def respond(self, batches: Sequence[Tensor]) -> list[Tensor]:
        """As `forward`, of batches of images that are shared among threads, by the loops."""
        found: list[Tensor] = _loops().respond(self, batches)
        return found

    def has_loops_for(self, images: Tensor) -> bool:
        """Whether the responses to images can be loops'; those to rows of numbers are products."""
        plain = (
            images.ndim == 4
            and len(images) > 0
            and compiled.usable(images, self.numbers())
            and self.is_as_made()
            and _loops() is not None
        )
        return plain and bool(_loops().has_layers(self))


def respond_to_all(network: nn.Module, batches: Sequence[Tensor]) -> list[Tensor]:
    """What a network makes of batches of images of one number type, device and number of channels."""
    if batches and isinstance(network, LayerNetwork) and network.has_loops_for(batches[0]):
        return network.respond(batches)
    return [network(images) for images in batches]


def _loops() -> Any:
    """The compiled loops of layers; None where there are none."""
    return load_kernels("clnf_torch.models.kernels.cpu.layers")


def build_network(layers: Sequence[Layer], dtype: torch.dtype = torch.float32) -> LayerNetwork:
    """A network of layers.

    Args:
        layers: In order; `converters/openface/network.py` describes their fields.
        dtype: Number type of the weights and of the arithmetic.

    Returns:
        Maps images (B, C, H, W) to maps (B, C', H', W') or, with a `linear` layer, to vectors (B, C').

    Raises:
        ValueError: A layer's kind is unknown.
        KeyError: A field is missing.
    """
    unknown = sorted({str(layer["kind"]) for layer in layers} - set(BUILDERS))
    if unknown:
        raise ValueError(f"layers {unknown} are not known; the known ones are {sorted(BUILDERS)}")
    return LayerNetwork(*(BUILDERS[layer["kind"]](layer, dtype) for layer in layers))


def layer_records(network: nn.Module) -> list[Layer]:
    """The layers of a network as a bundle holds them, in the number type of their weights; `build_network` reads them.

    Raises:
        ValueError: A layer is of a kind that bundles do not hold.
    """
    if isinstance(network, nn.Sequential):
        return [record for module in network for record in layer_records(module)]
    # `linear` flattens by itself
    if isinstance(network, nn.Flatten):
        return []
    weights = {name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()}
    if isinstance(network, nn.Conv2d):
        return [{"kind": "conv", **weights}]
    if isinstance(network, nn.Linear):
        return [{"kind": "linear", **weights}]
    if isinstance(network, nn.PReLU):
        return [{"kind": "prelu", "slope": weights["weight"]}]
    if isinstance(network, nn.MaxPool2d):
        return [{"kind": "max_pool", "kernel": _pair(network.kernel_size), "stride": _pair(network.stride)}]
    if isinstance(network, (nn.ReLU, nn.Sigmoid)):
        return [{"kind": "relu" if isinstance(network, nn.ReLU) else "sigmoid"}]
    raise ValueError(f"{network} is no layer of a bundle; the kinds of layers are {sorted(BUILDERS)}")


def _pair(size: int | tuple[int, ...]) -> list[int]:
    """A size [height, width]."""
    return [size, size] if isinstance(size, int) else list(size)


def _convolution(layer: Layer, dtype: torch.dtype) -> nn.Module:
    """A valid cross-correlation of stride 1: weight (C', C, h, w), bias (C',)."""
    outputs, inputs, *kernel = layer["weight"].shape
    module = Conv2d(inputs, outputs, tuple(kernel), device="meta")
    return _with_weights(module, dtype, weight=in_fast_order(layer["weight"]), bias=layer["bias"])


def _max_pooling(layer: Layer, dtype: torch.dtype) -> nn.Module:
    """Maxima of windows `kernel` (h, w), `stride` (h, w) apart; those at the right and lower border may be cut off.

    OpenFace: the number of windows is rounded half up, which for strides of 1 and 2 is the ceiling.
    """
    kernel, stride = tuple(layer["kernel"]), tuple(layer["stride"])
    if any(step not in (1, 2) or size < step for size, step in zip(kernel, stride, strict=True)):
        raise ValueError(f"pooling {kernel} with stride {stride}: expected strides of 1 or 2, and windows as large")
    return nn.MaxPool2d(kernel, stride, ceil_mode=True)


def _linear(layer: Layer, dtype: torch.dtype) -> nn.Module:
    """A fully connected layer: weight (C', C * H * W) over maps in the order of memory, bias (C',)."""
    outputs, inputs = layer["weight"].shape
    module = Linear(inputs, outputs, device="meta")
    weight = in_fast_order(layer["weight"])
    return nn.Sequential(nn.Flatten(), _with_weights(module, dtype, weight=weight, bias=layer["bias"]))


def _prelu(layer: Layer, dtype: torch.dtype) -> nn.Module:
    """A rectifier with a slope (C,) for the negative numbers of each channel."""
    module = nn.PReLU(layer["slope"].shape[0], device="meta")
    return _with_weights(module, dtype, weight=layer["slope"])


def _with_weights(module: nn.Module, dtype: torch.dtype, **weights: Tensor) -> nn.Module:
    """A module with these weights in place of its own, which were never made."""
    for name, values in weights.items():
        setattr(module, name, nn.Parameter(values.to(dtype), requires_grad=False))
    return module


BUILDERS = {
    "conv": _convolution,
    "max_pool": _max_pooling,
    "linear": _linear,
    "prelu": _prelu,
    "relu": lambda layer, dtype: nn.ReLU(),
    "sigmoid": lambda layer, dtype: nn.Sigmoid(),
}
