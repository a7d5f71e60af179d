"""One CEN expert in a file: a small network, layer after layer."""

from dataclasses import dataclass, replace

from clnf_torch.converters.openface.errors import ConversionError
from clnf_torch.converters.openface.matrix import FLOAT32, FLOAT32_MAX, FLOAT64, TYPE_NAMES, BinaryMatrix, BinaryReader

MARKER = 6  # begins every CEN expert
ACTIVATIONS = ("sigmoid", "tanh", "relu", "linear")  # by the file's number


@dataclass(frozen=True, kw_only=True, slots=True)
class Layer:
    """A layer of an expert: ``outputs = activation(weight @ inputs + bias)``.

    Attributes:
        activation: Index into ``ACTIVATIONS``.
        bias: (outputs, 1) or (1, outputs) in the file.
        weight: (outputs, inputs); the first layer's first column multiplies a constant 1.
    """

    activation: int
    bias: BinaryMatrix
    weight: BinaryMatrix


@dataclass(frozen=True, kw_only=True, slots=True)
class Expert:
    """An expert that has layers, and the slot of the file that owns it."""

    view: int
    landmark: int
    layers: tuple[Layer, ...]


def read_expert(reader: BinaryReader, support: int) -> tuple[tuple[int, int], tuple[Layer, ...], float]:
    """Reads one expert, an empty one too.

    Args:
        reader: The file, at the expert's marker.
        support: Side S of the experts before it, which it must share, or 0 for the first.

    Returns:
        Its width and height, its layers (none when it is empty), and its confidence.

    Raises:
        ConversionError: It is damaged, or its layers do not follow from one another.
    """
    width, height, count = _read_size(reader, support)
    layers = _read_layers(reader, count, 1 + width * width)
    return (width, height), layers, _read_confidence(reader)


def _read_size(reader: BinaryReader, support: int) -> tuple[int, int, int]:
    """Width, height and number of layers, after the marker."""
    place = reader.place
    marker = reader.take("i", f"an expert's marker ({MARKER})")
    if marker != MARKER:
        raise ConversionError(place, expected=f"an expert's marker ({MARKER})", found=str(marker))
    place = reader.place
    width, height, count = reader.take("3i", "an expert's width, height and number of layers")
    if width < 0 or height < 0:
        raise ConversionError(place, expected="a width and height of at least 0", found=f"{width} x {height}")
    if count < 0 or 28 * count > reader.remaining:  # a layer is at least an activation and two matrix headers
        place = replace(place, byte=reader.offset - 4)
        raise ConversionError(place, expected="a number of layers that the file can hold", found=str(count))
    if count and (width < 1 or width != height or support not in (0, width)):
        side = support or "S"
        expected = f"an expert of {side} x {side} pixels, as all of a file are"
        raise ConversionError(place, expected=expected, found=f"{width} x {height}")
    return width, height, count


def _read_layers(reader: BinaryReader, count: int, inputs: int) -> tuple[Layer, ...]:
    """The layers of an expert, checked to chain from ``inputs`` to one output."""
    layers: list[Layer] = []
    for k in range(count):
        last = k == count - 1
        layer = _read_layer(reader, f"layer {k + 1} of {count}", inputs, outputs=1 if last else None)
        layers.append(layer)
        inputs = layer.weight.rows
    return tuple(layers)


def _read_layer(reader: BinaryReader, name: str, inputs: int, outputs: int | None) -> Layer:
    """A layer of ``inputs`` columns and ``outputs`` rows (None: any)."""
    place = reader.place
    activation = reader.take("i", f"the activation of {name}")
    if not 0 <= activation < len(ACTIVATIONS):
        expected = f"an activation of {name} from 0 to {len(ACTIVATIONS) - 1}"
        raise ConversionError(place, expected=expected, found=str(activation))
    bias = _read_float_matrix(reader, f"the bias of {name}")
    weight = _read_float_matrix(reader, f"the weights of {name}")
    if weight.cols != inputs or (outputs is not None and weight.rows != outputs):
        expected = f"weights of {name} of {'any' if outputs is None else outputs} x {inputs}"
        raise ConversionError(weight.place, expected=expected, found=f"{weight.rows} x {weight.cols}")
    if bias.shape not in ((weight.rows, 1), (1, weight.rows)):
        expected = f"{weight.rows} biases of {name} as one row or one column"
        raise ConversionError(bias.place, expected=expected, found=f"{bias.rows} x {bias.cols}")
    return Layer(activation=activation, bias=bias, weight=weight)


def _read_float_matrix(reader: BinaryReader, what: str) -> BinaryMatrix:
    """The place of a float32 or float64 matrix."""
    matrix = reader.matrix(what)
    if matrix.code not in (FLOAT32, FLOAT64):
        found = TYPE_NAMES[matrix.code]
        raise ConversionError(matrix.place, expected=f"{what} as float32 or float64", found=found)
    return matrix


def _read_confidence(reader: BinaryReader) -> float:
    """The confidence that ends an expert."""
    place = reader.place
    confidence = reader.take("d", "an expert's confidence (float64)")
    if not abs(confidence) <= FLOAT32_MAX:  # not a number is not, either
        raise ConversionError(place, expected="a finite confidence", found=str(confidence))
    return float(confidence)
