"""The layers of a TensorFlow Lite file that have weights, in the order of computation, the weights dense."""

import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Number types that weights are stored in, as the format numbers them
FLOATS: dict[int, np.dtype[Any]] = {0: np.dtype("<f4"), 1: np.dtype("<f2")}
# What the file holds of a sparse axis: where each row's values begin, and their columns
SPARSE_AXIS = 1
# A tensor's axes in the order of their numbers
MOST_AXES = 4


def read_layers(content: bytes) -> list[tuple[str, list[NDArray[Any]]]]:
    """The layers of a network.

    Args:
        content: A ``.tflite`` file.

    Returns:
        Of each ``"conv"``, ``"depthwise"`` or ``"prelu"``, and its arrays, float16 or float32: weights of shape
        (out, height, width, in) or (1, height, width, channels) and biases, or slopes of shape (1, 1, channels).

    Raises:
        ValueError: It is no such file, or its weights are stored in another way.
        ImportError: The package ``tflite`` is not installed.
    """
    import tflite

    if content[4:8] != b"TFL3":
        raise ValueError("the file does not begin as TensorFlow Lite's do")
    try:
        model = tflite.Model.GetRootAs(content, 0)
        graph = _Graph(model, model.Subgraphs(0))
        kinds = {
            tflite.BuiltinOperator.CONV_2D: "conv",
            tflite.BuiltinOperator.DEPTHWISE_CONV_2D: "depthwise",
            tflite.BuiltinOperator.PRELU: "prelu",
        }
        return [
            (kinds[kind], [graph.constant(index) for index in operator.InputsAsNumpy().tolist()[1:3]])
            for kind, operator in graph.operators
            if kind in kinds
        ]
    # Whatever a file leads the reader to whose offsets point elsewhere
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, struct.error) as error:
        raise ValueError(f"its tables cannot be read: {error}") from error


class _Graph:
    """A network's operators, and the constants among its tensors.

    Args:
        model: The file's root table.
        graph: Its first subgraph.
    """

    def __init__(self, model: Any, graph: Any) -> None:
        self._model, self._graph = model, graph
        operators = [graph.Operators(number) for number in range(graph.OperatorsLength())]
        self.operators = [(self._kind(operator), operator) for operator in operators]
        self._makers = {operator.Outputs(0): operator for _, operator in self.operators}

    def _kind(self, operator: Any) -> int:
        """The number of an operator's kind; old files have it in a field of one byte."""
        code = self._model.OperatorCodes(operator.OpcodeIndex())
        return max(code.BuiltinCode(), code.DeprecatedBuiltinCode())

    def constant(self, index: int) -> NDArray[Any]:
        """The values of a tensor, stored as they are or behind operators that widen them or make them dense."""
        for _ in range(MOST_AXES):
            if index not in self._makers:
                break
            index = self._makers[index].Inputs(0)
        tensor = self._graph.Tensors(index)
        shape = tensor.ShapeAsNumpy().tolist()
        if tensor.Type() not in FLOATS or not 1 <= len(shape) <= MOST_AXES:
            raise ValueError(f"weights of type {tensor.Type()} and shape {shape}; expected float16 or float32")
        buffer = self._model.Buffers(tensor.Buffer())
        values = np.frombuffer(buffer.DataAsNumpy().tobytes(), FLOATS[tensor.Type()])
        return values.reshape(shape) if tensor.Sparsity() is None else dense(values, shape, tensor.Sparsity())


def dense(values: NDArray[Any], shape: list[int], sparsity: Any) -> NDArray[Any]:
    """The array of which the values other than zero are stored.

    Args:
        values: Row by row, shape (K,).
        shape: Of the array.
        sparsity: The format's record: dense axes, then one of which each row names its columns; no blocks.

    Raises:
        ValueError: It is stored in another way, or rows and columns do not fit the values.
    """
    axes = [sparsity.DimMetadata(axis) for axis in range(sparsity.DimMetadataLength())]
    order = sparsity.TraversalOrderAsNumpy().tolist()
    formats = [axis.Format() for axis in axes]
    if (
        sparsity.BlockMapLength()
        or order != list(range(len(shape)))
        or formats != [0] * (len(shape) - 1) + [SPARSE_AXIS]
    ):
        raise ValueError(f"sparse weights in order {order} and formats {formats}; expected the last axis alone sparse")
    starts, columns = _whole(axes[-1], "ArraySegments"), _whole(axes[-1], "ArrayIndices")
    rows = int(np.prod(shape[:-1]))
    counts = np.diff(starts)
    fits = (
        len(starts) == rows + 1 and not starts[0] and (counts >= 0).all() and starts[-1] == len(columns) == len(values)
    )
    if not fits or (columns < 0).any() or (columns >= shape[-1]).any():
        raise ValueError(f"{len(values)} sparse weights whose rows and columns do not fit shape {shape}")
    array = np.zeros((rows, shape[-1]), values.dtype)
    array[np.repeat(np.arange(rows), counts), columns] = values
    return array.reshape(shape)


def _whole(axis: Any, name: str) -> NDArray[np.int64]:
    """Whole numbers of an axis, a vector of 32, 16 or 8 bits."""
    import tflite

    vectors = {1: tflite.Int32Vector, 2: tflite.Uint16Vector, 3: tflite.Uint8Vector}
    table = getattr(axis, name)()
    vector = vectors[getattr(axis, f"{name}Type")()]()
    vector.Init(table.Bytes, table.Pos)
    return vector.ValuesAsNumpy().astype(np.int64)
