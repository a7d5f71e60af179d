"""Matrix products as compiled loops.

Every sum is one chain of fused multiply-adds, in the order of the inner dimension, whatever tile it falls into. So a
row's products do not depend on the rows beside it, nor on the number of threads.
"""

import numpy as np

from clnf_torch.compilation.compiler import Array, compiled_exactly, f32
from clnf_torch.compilation.tiles import LANES, LINE, ROWS, VECTORS, tile

# Where nothing is added, or fetched
NOTHING = np.zeros(1, np.float32)
# Of results that are not raised
LOWEST = f32(-np.inf)


@compiled_exactly
def multiply(
    source: Array,
    begins: Array,
    segments: tuple[int, int, int],
    weight: Array,
    packed: bool,
    bias: Array,
    found: Array,
    places: Array,
    added: Array,
    least: float,
    ahead: Array,
) -> None:
    """Products of rows with a matrix (K, C), plus a bias: ``max(rows @ weight + bias + added, least)``.

    A row's K numbers are segments of equal length, equally far apart: what a filter sees of an image whose channels are
    its last axis is a segment for each row of the filter.

    Args:
        source: Numbers, flat.
        begins: Where each row begins among them, int64, shape (R,).
        segments: How many a row has, how far apart they are, and their length.
        weight: The matrix, flat, row by row; or packed: panel by panel, see `pack`.
        packed: Which of the two.
        bias: Shape (C,); C is at least `LANES`.
        found: Becomes the products, flat.
        places: Where those of a row begin there, int64, shape (R,).
        added: What is added to them, flat, at the same places; `NOTHING` for nothing.
        least: Results below are raised to it.
        ahead: What will be read next, flat, and is fetched into the cache meanwhile.
    """
    width, inner = len(bias), segments[0] * segments[2]
    blocks = (len(begins) + ROWS - 1) // ROWS
    fetched, column, done = 0, 0, 0
    while column < width:
        column, vectors = next_panel(column, width)
        first, step = (done * inner, vectors * LANES) if packed else (column, width)
        row = 0
        for block in range(blocks):
            count = (len(begins) - row + blocks - block - 1) // (blocks - block)
            tile(
                (count, vectors),
                (source, begins, row),
                segments,
                (weight, first, step),
                (bias, column),
                (found, places, column),
                (added, len(added) > 1, least),
                (ahead, fetched),
            )
            row += count
            fetched = min(fetched + inner * LINE, len(ahead) - 1)
        column += vectors * LANES
        done += vectors * LANES


@compiled_exactly
def next_panel(column: int, width: int) -> tuple[int, int]:
    """First column and vectors of the panel from a column on; the last columns come with as many before as it takes."""
    vectors = min(VECTORS, (width - column) // LANES)
    return (column, vectors) if vectors else (width - LANES, 1)


def pack(weight: np.ndarray) -> np.ndarray:
    """A matrix (K, C) panel by panel, each row by row, flat: in the order in which `multiply` reads it."""
    panels, column, width = [], 0, weight.shape[1]
    while column < width:
        column, vectors = next_panel(column, width)
        panels.append(weight[:, column : column + vectors * LANES].ravel())
        column += vectors * LANES
    return np.concatenate(panels)
