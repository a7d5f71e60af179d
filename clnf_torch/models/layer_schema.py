"""What the records of small convolutional networks must be, whose layers `models.layers` builds."""

import math
from typing import Any

from clnf_torch.models.array_schema import Array
from clnf_torch.models.schema import Context, Fields, Number, SchemaError, Several, refuse

# Layers of a network, its channels, and the numbers of its largest maps, beyond those of any model
MOST_LAYERS, MOST_CHANNELS, MOST_NUMBERS = 64, 4096, 1 << 22

Shape = tuple[int, ...]


def check_network(layers: Any, where: str, shape: Shape, context: Context) -> Shape:
    """Refuses layers that do not fit each other or the images that they are given.

    Args:
        layers: Records of layers; see ``clnf_torch/models/layers.py``.
        where: How they are reached, for messages.
        shape: Of an image: channels, height, width.
        context: What is known already.

    Returns:
        The shape of the answer: channels, height, width; or its length, after a fully connected layer.
    """
    if not isinstance(layers, (list, tuple)) or not 1 <= len(layers) <= MOST_LAYERS:
        raise refuse(where, f"a list of 1 to {MOST_LAYERS} layers", layers)
    for number, layer in enumerate(layers):
        here = f"{where}[{number}]"
        kind = layer.get("kind") if isinstance(layer, dict) else None
        if not isinstance(kind, str) or kind not in LAYERS:
            raise refuse(f"{here}.kind", " or ".join(LAYERS), kind)
        shape = LAYERS[kind](layer, here, shape, context)
        if min(shape) < 1 or shape[0] > MOST_CHANNELS or math.prod(shape) > MOST_NUMBERS:
            raise SchemaError(f"{here}: expected a layer for maps of its size, found one that leaves {shape}")
    return shape


def _convolution(layer: dict[str, Any], where: str, shape: Shape, context: Context) -> Shape:
    """A valid convolution of stride 1."""
    own = context.inner(inputs=shape[0])
    weight = Array("outputs", "inputs", "height", "width", longest=MOST_CHANNELS)
    Fields({"weight": weight, "bias": Array("outputs")}).check(layer, where, own)
    _require_maps(shape, where)
    return own.sizes["outputs"], shape[1] - own.sizes["height"] + 1, shape[2] - own.sizes["width"] + 1


def _max_pooling(layer: dict[str, Any], where: str, shape: Shape, context: Context) -> Shape:
    """Maxima of windows, the last of which may be cut off."""
    sides = {"kernel": Several(Number(1, 64, whole=True), 2, 2), "stride": Several(Number(1, 2, whole=True), 2, 2)}
    Fields(sides).check(layer, where, context)
    _require_maps(shape, where)
    if any(size < step for size, step in zip(layer["kernel"], layer["stride"], strict=True)):
        raise SchemaError(f"{where}: expected windows at least as large as their stride, found {layer['kernel']}")
    windows = zip(shape[1:], layer["kernel"], layer["stride"], strict=True)
    return shape[0], *(-(-(size - kernel) // stride) + 1 for size, kernel, stride in windows)


def _linear(layer: dict[str, Any], where: str, shape: Shape, context: Context) -> Shape:
    """A fully connected layer."""
    own = context.inner(inputs=math.prod(shape))
    Fields({"weight": Array("outputs", "inputs"), "bias": Array("outputs")}).check(layer, where, own)
    return (own.sizes["outputs"],)


def _prelu(layer: dict[str, Any], where: str, shape: Shape, context: Context) -> Shape:
    """A rectifier with a slope for each channel."""
    Fields({"slope": Array(shape[0])}).check(layer, where, context)
    return shape


def _same(layer: dict[str, Any], where: str, shape: Shape, context: Context) -> Shape:
    """An activation without numbers of its own."""
    return shape


def _require_maps(shape: Shape, where: str) -> None:
    """Refuses a layer for maps behind one that leaves none."""
    if len(shape) != 3:
        raise SchemaError(f"{where}: expected a layer for {shape[0]} numbers, found one for maps")


LAYERS = {
    "conv": _convolution,
    "max_pool": _max_pooling,
    "linear": _linear,
    "prelu": _prelu,
    "relu": _same,
    "sigmoid": _same,
}
