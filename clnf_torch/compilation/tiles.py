"""What stays in vector registers, in LLVM's own words: sums of tiles of matrix products, and filters of channels."""

from typing import Any, NamedTuple

from llvmlite import binding, ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

_FEATURES = binding.get_host_cpu_features()
_X86 = "sse2" in _FEATURES
if _X86 and not _FEATURES.get("fma"):
    raise ImportError("a processor without fused multiply-adds would call a function for each of them")
# Numbers of a vector register
LANES = 16 if _FEATURES.get("avx512f") else 8 if _X86 else 4
# Vectors and rows of the largest tile: its sums, a row of weights and a factor fill 16 registers, or most of 32
VECTORS, ROWS = 3, 4 if LANES == 8 else 8
# float32 numbers of a cache line
LINE = 16

INT, _NUMBER = ir.IntType(64), ir.FloatType()
VECTOR, _BYTES = ir.VectorType(_NUMBER, LANES), ir.IntType(8).as_pointer()
_FLAG, _SHUFFLE = ir.IntType(32), ir.VectorType(ir.IntType(32), LANES)


class _Tile(NamedTuple):
    """The arguments of `tile` as LLVM's values; lists are pointers to the first number of each row."""

    source: list[Any]
    segments: Any
    apart: Any
    length: Any
    weight: Any
    step: Any
    bias: Any
    added: list[Any]
    adds: Any
    found: list[Any]
    least: Any
    ahead: Any


def _tile(
    typing: Any, size: Any, source: Any, segments: Any, weight: Any, bias: Any, found: Any, added: Any, ahead: Any
) -> Any:
    """Some columns of the products of some rows with a matrix; see `multiply`.

    Args:
        typing: numba's.
        size: Rows and vectors of columns, at most `ROWS` and `VECTORS`.
        source: Numbers, where each row begins among them, and the number of the first row.
        segments: Of each row: how many, how far apart, and how long.
        weight: Numbers, where the first column begins among them, and how far apart rows of the matrix are.
        bias: Numbers, and the first column.
        found: Numbers to write to, where each row begins among them, and the first column.
        added: Numbers to add, beginning likewise, whether to, and the least result.
        ahead: Numbers to fetch, and the first of them.
    """
    arguments = (size, source, segments, weight, bias, found, added, ahead)
    return types.void(*arguments), _generate


tile: Any = intrinsic(_tile)


def _generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    """A branch for each size of tile."""
    values = [
        cgutils.unpack_tuple(builder, argument, len(kind))
        for argument, kind in zip(arguments, signature.args, strict=True)
    ]

    def data(k: int, i: int) -> Any:
        return context.make_array(signature.args[k][i])(context, builder, values[k][i]).data

    def at(pointer: Any, index: Any) -> Any:
        return builder.gep(pointer, [index])

    (count, vectors), (_, _, row), segments = values[0], values[1], values[2]
    done = builder.append_basic_block("done")
    cases = builder.switch(builder.add(builder.mul(vectors, INT(ROWS)), count), done)
    for wide in range(1, VECTORS + 1):
        for high in range(1, ROWS + 1):
            block = builder.append_basic_block(f"tile_{high}_{wide}")
            cases.add_case(INT(wide * ROWS + high), block)
            builder.position_at_end(block)
            begins = [builder.load(at(data(1, 1), builder.add(row, INT(r)))) for r in range(high)]
            places = [
                builder.add(builder.load(at(data(5, 1), builder.add(row, INT(r)))), values[5][2]) for r in range(high)
            ]
            parts = _Tile(
                source=[at(data(1, 0), begin) for begin in begins],
                segments=segments[0],
                apart=segments[1],
                length=segments[2],
                weight=at(data(3, 0), values[3][1]),
                step=values[3][2],
                bias=at(data(4, 0), values[4][1]),
                added=[at(data(6, 0), place) for place in places],
                adds=values[6][1],
                found=[at(data(5, 0), place) for place in places],
                least=values[6][2],
                ahead=at(data(7, 0), values[7][1]),
            )
            _accumulate(builder, parts, wide)
            builder.branch(done)
    builder.position_at_end(done)
    return context.get_dummy_value()


def _accumulate(builder: Any, parts: _Tile, wide: int) -> None:
    """One tile: sums begin with the bias, take in the products, and are written."""
    sums = [[cgutils.alloca_once(builder, VECTOR) for _ in range(wide)] for _ in parts.source]
    for n in range(wide):
        start = load(builder, parts.bias, n)
        for own in sums:
            builder.store(start, own[n])
    line, weight = (cgutils.alloca_once_value(builder, pointer) for pointer in (parts.ahead, parts.weight))
    with cgutils.for_range(builder, parts.segments) as segment:
        offset = builder.mul(segment.index, parts.apart)
        rows = [builder.gep(row, [offset]) for row in parts.source]
        with cgutils.for_range(builder, parts.length) as inner:
            own = builder.load(weight)
            vectors = [load(builder, own, n) for n in range(wide)]
            for row, total in zip(rows, sums, strict=True):
                factor = spread(builder, builder.load(builder.gep(row, [inner.index])))
                for vector, place in zip(vectors, total, strict=True):
                    builder.store(fuse(builder, factor, vector, builder.load(place)), place)
            builder.store(builder.gep(own, [parts.step]), weight)
            _fetch(builder, builder.load(line))
            builder.store(builder.gep(builder.load(line), [INT(LINE)]), line)
    least = spread(builder, parts.least)
    with builder.if_then(parts.adds):
        for row, total in zip(parts.added, sums, strict=True):
            for n, place in enumerate(total):
                builder.store(builder.fadd(builder.load(place), load(builder, row, n)), place)
    for row, total in zip(parts.found, sums, strict=True):
        for n, place in enumerate(total):
            value = builder.load(place)
            # A NaN stays one
            value = builder.select(builder.fcmp_ordered("<", value, least), least, value)
            builder.store(value, vector_at(builder, row, n), align=4)


def _filter_cells(typing: Any, size: Any, source: Any, filters: Any, found: Any) -> Any:
    """3 x 3 filters of a vector of channels at cells beside each other: one chain of fused multiply-adds for each.

    Args:
        typing: numba's.
        size: Cells, how far apart they are in the source, and channels of each.
        source: Numbers, and where the three rows that the first filters see begin among them.
        filters: Offsets and nine filters, each of all channels, and the first channel.
        found: Numbers to write to, and the first of them.
    """
    arguments = (size, source, filters, found)
    return types.void(*arguments), _generate_filters


filter_cells: Any = intrinsic(_filter_cells)


def _generate_filters(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    """A loop over cells, whose filters are read before it."""
    size, source, filters, found = (
        cgutils.unpack_tuple(builder, argument, len(kind))
        for argument, kind in zip(arguments, signature.args, strict=True)
    )

    def at(k: int, array: Any, index: Any) -> Any:
        return builder.gep(context.make_array(signature.args[k][0])(context, builder, array).data, [index])

    count, apart, channels = size
    start = at(2, filters[0], filters[1])
    own = [load(builder, builder.gep(start, [builder.mul(channels, INT(k))]), 0) for k in range(10)]
    rows, results = [at(1, source[0], row) for row in source[1:]], at(3, *found)
    with cgutils.for_range(builder, count) as cell:
        place, total = builder.mul(cell.index, apart), own[0]
        for k in range(9):
            seen = builder.gep(rows[k // 3], [builder.add(place, builder.mul(channels, INT(k % 3)))])
            total = fuse(builder, own[k + 1], load(builder, seen, 0), total)
        result = builder.gep(results, [builder.mul(cell.index, channels)])
        builder.store(total, vector_at(builder, result, 0), align=4)
    return context.get_dummy_value()


def vector_at(builder: Any, pointer: Any, n: int) -> Any:
    """Pointer to the nth vector from a number on."""
    return builder.bitcast(builder.gep(pointer, [INT(n * LANES)]), VECTOR.as_pointer())


def load(builder: Any, pointer: Any, n: int) -> Any:
    """The nth vector from a number on."""
    return builder.load(vector_at(builder, pointer, n), align=4)


def spread(builder: Any, number: Any) -> Any:
    """A vector of equal numbers."""
    first = builder.insert_element(VECTOR(ir.Undefined), number, _FLAG(0))
    return builder.shuffle_vector(first, VECTOR(ir.Undefined), _SHUFFLE([0] * LANES))


def fuse(builder: Any, one: Any, other: Any, total: Any) -> Any:
    """``one * other + total``, rounded once."""
    kind = ir.FunctionType(VECTOR, [VECTOR] * 3)
    function = cgutils.get_or_insert_function(builder.module, kind, f"llvm.fma.v{LANES}f32")
    return builder.call(function, [one, other, total])


def _fetch(builder: Any, pointer: Any) -> None:
    """Fetches the line of a number into the second cache, to be read."""
    kind = ir.FunctionType(ir.VoidType(), [_BYTES, _FLAG, _FLAG, _FLAG])
    function = builder.module.declare_intrinsic("llvm.prefetch", [_BYTES], kind)
    builder.call(function, [builder.bitcast(pointer, _BYTES), _FLAG(0), _FLAG(2), _FLAG(1)])
