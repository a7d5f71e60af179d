"""TensorFlow Lite files of convolutions and rectifiers, as MediaPipe's hold them: float16, some weights sparse."""

from __future__ import annotations

from collections.abc import Sequence

import flatbuffers
import numpy as np
import tflite

# A layer's kind; weights in TensorFlow's order of axes and biases, or slopes and None
Layer = tuple[str, np.ndarray, np.ndarray | None]


def write_tflite(layers: Sequence[Layer], sparse: bool) -> bytes:
    """A file whose operators widen weights and biases, and compute the layers one after the other."""
    builder = flatbuffers.Builder(1 << 20)
    kinds = {
        "conv": tflite.BuiltinOperator.CONV_2D,
        "depthwise": tflite.BuiltinOperator.DEPTHWISE_CONV_2D,
        "prelu": tflite.BuiltinOperator.PRELU,
    }
    codes = [*kinds.values(), tflite.BuiltinOperator.DEQUANTIZE, tflite.BuiltinOperator.DENSIFY]
    buffers, tensors, operators = [_buffer(builder, b"")], [], []

    def tensor(shape: Sequence[int], kind: int, values: np.ndarray | None = None, axis: int | None = None) -> int:
        """Number of a new tensor."""
        number = 0
        if values is not None:
            number = len(buffers)
            buffers.append(_buffer(builder, values.tobytes()))
        tensors.append(_tensor(builder, shape, kind, number, axis))
        return len(tensors) - 1

    def operator(code: int, inputs: Sequence[int], output: int) -> int:
        """The output of a new operator."""
        operators.append(_operator(builder, codes.index(code), inputs, output))
        return output

    def widened(values: np.ndarray, packed: bool) -> int:
        """Number of the tensor that the operators make of float16 values."""
        if packed:
            rows = values.reshape(-1, values.shape[-1])
            filled = rows != 0
            starts = np.concatenate(([0], filled.sum(1).cumsum()))
            axis = _sparsity(builder, values.shape, starts, filled.nonzero()[1])
            stored = tensor(values.shape, tflite.TensorType.FLOAT16, rows[filled], axis)
            stored = operator(tflite.BuiltinOperator.DENSIFY, [stored], tensor(values.shape, 1))
        else:
            stored = tensor(values.shape, tflite.TensorType.FLOAT16, values)
        return operator(tflite.BuiltinOperator.DEQUANTIZE, [stored], tensor(values.shape, 0))

    maps = tensor([1, 8, 8, 3], tflite.TensorType.FLOAT32)
    for kind, weight, bias in layers:
        inputs = [maps, widened(weight, sparse and kind == "conv")]
        inputs += [] if bias is None else [widened(bias, False)]
        maps = operator(kinds[kind], inputs, tensor([1, 8, 8, 1], 0))
    return _model(builder, codes, buffers, tensors, operators)


def _vector(builder: flatbuffers.Builder, offsets: Sequence[int]) -> int:
    """A vector of tables."""
    builder.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        builder.PrependUOffsetTRelative(offset)
    return builder.EndVector()


def _buffer(builder: flatbuffers.Builder, content: bytes) -> int:
    """A buffer of constants."""
    data = builder.CreateByteVector(content)
    tflite.BufferStart(builder)
    tflite.BufferAddData(builder, data)
    return tflite.BufferEnd(builder)


def _tensor(builder: flatbuffers.Builder, shape: Sequence[int], kind: int, buffer: int, sparsity: int | None) -> int:
    """A tensor, sparse or not."""
    sizes = builder.CreateNumpyVector(np.array(shape, np.int32))
    tflite.TensorStart(builder)
    tflite.TensorAddShape(builder, sizes)
    tflite.TensorAddType(builder, kind)
    tflite.TensorAddBuffer(builder, buffer)
    if sparsity is not None:
        tflite.TensorAddSparsity(builder, sparsity)
    return tflite.TensorEnd(builder)


def _operator(builder: flatbuffers.Builder, code: int, inputs: Sequence[int], output: int) -> int:
    """An operator without options."""
    given = builder.CreateNumpyVector(np.array(inputs, np.int32))
    made = builder.CreateNumpyVector(np.array([output], np.int32))
    tflite.OperatorStart(builder)
    tflite.OperatorAddOpcodeIndex(builder, code)
    tflite.OperatorAddInputs(builder, given)
    tflite.OperatorAddOutputs(builder, made)
    return tflite.OperatorEnd(builder)


def _sparsity(builder: flatbuffers.Builder, shape: Sequence[int], starts: np.ndarray, columns: np.ndarray) -> int:
    """Dense axes, then one whose columns are named."""
    axes = []
    for size in shape[:-1]:
        tflite.DimensionMetadataStart(builder)
        tflite.DimensionMetadataAddFormat(builder, tflite.DimensionType.DENSE)
        tflite.DimensionMetadataAddDenseSize(builder, size)
        axes.append(tflite.DimensionMetadataEnd(builder))
    segments, indices = (_whole(builder, values) for values in (starts, columns))
    tflite.DimensionMetadataStart(builder)
    tflite.DimensionMetadataAddFormat(builder, tflite.DimensionType.SPARSE_CSR)
    tflite.DimensionMetadataAddArraySegmentsType(builder, tflite.SparseIndexVector.Uint16Vector)
    tflite.DimensionMetadataAddArraySegments(builder, segments)
    tflite.DimensionMetadataAddArrayIndicesType(builder, tflite.SparseIndexVector.Uint16Vector)
    tflite.DimensionMetadataAddArrayIndices(builder, indices)
    axes.append(tflite.DimensionMetadataEnd(builder))
    order, metadata = builder.CreateNumpyVector(np.arange(len(shape), dtype=np.int32)), _vector(builder, axes)
    tflite.SparsityParametersStart(builder)
    tflite.SparsityParametersAddTraversalOrder(builder, order)
    tflite.SparsityParametersAddDimMetadata(builder, metadata)
    return tflite.SparsityParametersEnd(builder)


def _whole(builder: flatbuffers.Builder, values: np.ndarray) -> int:
    """Numbers of 16 bits."""
    vector = builder.CreateNumpyVector(values.astype(np.uint16))
    tflite.Uint16VectorStart(builder)
    tflite.Uint16VectorAddValues(builder, vector)
    return tflite.Uint16VectorEnd(builder)


def _model(builder: flatbuffers.Builder, codes: Sequence[int], *parts: Sequence[int]) -> bytes:
    """The root table and everything below it."""
    buffers, tensors, operators = (_vector(builder, part) for part in parts)
    tflite.SubGraphStart(builder)
    tflite.SubGraphAddTensors(builder, tensors)
    tflite.SubGraphAddOperators(builder, operators)
    graphs = _vector(builder, [tflite.SubGraphEnd(builder)])
    kinds = []
    for code in codes:
        tflite.OperatorCodeStart(builder)
        tflite.OperatorCodeAddDeprecatedBuiltinCode(builder, code)
        tflite.OperatorCodeAddBuiltinCode(builder, code)
        kinds.append(tflite.OperatorCodeEnd(builder))
    kinds_of = _vector(builder, kinds)
    tflite.ModelStart(builder)
    tflite.ModelAddOperatorCodes(builder, kinds_of)
    tflite.ModelAddSubgraphs(builder, graphs)
    tflite.ModelAddBuffers(builder, buffers)
    builder.Finish(tflite.ModelEnd(builder), b"TFL3")
    return bytes(builder.Output())
