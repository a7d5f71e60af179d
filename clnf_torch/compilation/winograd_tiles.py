"""Winograd's transforms of 4 x 4 results of 3 x 3 filters, in vector registers; see `models/kernels/cpu/winograd.py`.

Source:
    A. Lavin and S. Gray, *Fast Algorithms for Convolutional Neural Networks*, CVPR 2016: F(4 x 4, 3 x 3).
"""

from typing import Any

from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from clnf_torch.compilation.tiles import INT, LANES, VECTOR, fuse, load, spread, vector_at

# Sides of a tile of results, and of what the filters see of it
OUTPUT_SIDE, INPUT_SIDE = 4, 6


def _transform_input(typing: Any, source: Any, apart: Any, found: Any, plane: Any) -> Any:
    """What the filters see of a tile, a vector of channels of it, transformed.

    Args:
        typing: numba's.
        source: Numbers, and the first of the tile's upper left cell.
        apart: How far apart rows and columns are there.
        found: Numbers to write to, and the first of them.
        plane: How far apart the `INPUT_SIDE` * `INPUT_SIDE` numbers of a channel become.
    """
    arguments = (source, apart, found, plane)
    return types.void(*arguments), _generate_input


def _transform_output(typing: Any, source: Any, plane: Any, bias: Any, added: Any, found: Any, apart: Any) -> Any:
    """A tile of results, a vector of channels of it, from the products of what the filters see: the way back.

    Args:
        typing: numba's.
        source: Numbers, and the first of the products.
        plane: How far apart those of a channel are.
        bias: Numbers, and the first channel.
        added: Numbers to add at the places of the results, whether to, and the least result.
        found: Numbers to write to, and the first of the tile's upper left cell.
        apart: How far apart rows and columns are there.
    """
    arguments = (source, plane, bias, added, found, apart)
    return types.void(*arguments), _generate_output


transform_input: Any = intrinsic(_transform_input)
transform_output: Any = intrinsic(_transform_output)


def _generate_input(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    """All rows, then all columns."""
    source, found = (_pointer(context, builder, signature.args[k], arguments[k]) for k in (0, 2))
    down, across = cgutils.unpack_tuple(builder, arguments[1], 2)
    seen = [
        [load(builder, _at(builder, source, [(down, y), (across, x)]), 0) for x in range(INPUT_SIDE)]
        for y in range(INPUT_SIDE)
    ]
    rows = [_input_row(builder, row) for row in seen]
    columns = [_input_row(builder, list(column)) for column in zip(*rows, strict=True)]
    for x, column in enumerate(columns):
        for y, value in enumerate(column):
            place = _at(builder, found, [(arguments[3], y * INPUT_SIDE + x)])
            builder.store(value, vector_at(builder, place, 0), align=4)
    return context.get_dummy_value()


def _generate_output(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    """All columns, then all rows."""
    source, bias, found = (_pointer(context, builder, signature.args[k], arguments[k]) for k in (0, 2, 4))
    down, across = cgutils.unpack_tuple(builder, arguments[5], 2)
    added, adds, least = cgutils.unpack_tuple(builder, arguments[3], 3)
    more = context.make_array(signature.args[3][0])(context, builder, added).data
    first = cgutils.unpack_tuple(builder, arguments[4], 2)[1]
    products = [
        [load(builder, _at(builder, source, [(arguments[1], y * INPUT_SIDE + x)]), 0) for y in range(INPUT_SIDE)]
        for x in range(INPUT_SIDE)
    ]
    columns = [_output_row(builder, column) for column in products]
    rows = [_output_row(builder, list(row)) for row in zip(*columns, strict=True)]
    start, lowest = load(builder, bias, 0), spread(builder, least)
    results = [[builder.fadd(value, start) for value in row] for row in rows]
    kept = [[cgutils.alloca_once_value(builder, value) for value in row] for row in results]
    with builder.if_then(adds):
        for y, row in enumerate(kept):
            for x, place in enumerate(row):
                other = load(builder, _at(builder, builder.gep(more, [first]), [(down, y), (across, x)]), 0)
                builder.store(builder.fadd(builder.load(place), other), place)
    for y, row in enumerate(kept):
        for x, place in enumerate(row):
            value = builder.load(place)
            # A NaN stays one
            value = builder.select(builder.fcmp_ordered("<", value, lowest), lowest, value)
            builder.store(value, vector_at(builder, _at(builder, found, [(down, y), (across, x)]), 0), align=4)
    return context.get_dummy_value()


def _input_row(builder: Any, seen: list[Any]) -> list[Any]:
    """Six numbers of six neighbours."""

    def plus(factor: float, one: Any, other: Any) -> Any:
        return fuse(builder, VECTOR([factor] * LANES), one, other)

    even, odd = plus(-4.0, seen[2], seen[4]), plus(-4.0, seen[1], seen[3])
    wide, far = builder.fsub(seen[4], seen[2]), builder.fsub(seen[3], seen[1])
    return [
        plus(4.0, seen[0], plus(-5.0, seen[2], seen[4])),
        builder.fadd(even, odd),
        builder.fsub(even, odd),
        plus(2.0, far, wide),
        plus(-2.0, far, wide),
        plus(4.0, seen[1], plus(-5.0, seen[3], seen[5])),
    ]


def _output_row(builder: Any, products: list[Any]) -> list[Any]:
    """Four results of six products."""

    def plus(factor: float, one: Any, other: Any) -> Any:
        return fuse(builder, VECTOR([factor] * LANES), one, other)

    near, apart = builder.fadd(products[1], products[2]), builder.fsub(products[1], products[2])
    far, wide = builder.fadd(products[3], products[4]), builder.fsub(products[3], products[4])
    return [
        builder.fadd(products[0], builder.fadd(near, far)),
        plus(2.0, wide, apart),
        plus(4.0, far, near),
        builder.fadd(plus(8.0, wide, apart), products[5]),
    ]


def _pointer(context: Any, builder: Any, kind: Any, argument: Any) -> Any:
    """Pointer to a number, of an array and an index."""
    array, index = cgutils.unpack_tuple(builder, argument, 2)
    return builder.gep(context.make_array(kind[0])(context, builder, array).data, [index])


def _at(builder: Any, pointer: Any, steps: list[tuple[Any, int]]) -> Any:
    """A pointer moved by so many steps of some lengths."""
    offset = INT(0)
    for length, count in steps:
        offset = builder.add(offset, builder.mul(length, INT(count)))
    return builder.gep(pointer, [offset])
