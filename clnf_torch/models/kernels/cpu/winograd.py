"""3 x 3 convolutions by Winograd's algorithm: a quarter of the multiplications.

What the filters see of each 4 x 4 tile of results, 6 x 6 pixels, is transformed; so are the filters, once. Each of the
36 numbers of all tiles and channels is then a matrix product, and its results are transformed back.

Source:
    A. Lavin and S. Gray, *Fast Algorithms for Convolutional Neural Networks*, CVPR 2016: F(4 x 4, 3 x 3).
"""

import numpy as np

from clnf_torch.compilation.compiler import Array, compiled_exactly
from clnf_torch.compilation.products import LOWEST, NOTHING, multiply, pack
from clnf_torch.compilation.tiles import LANES, LINE
from clnf_torch.compilation.winograd_tiles import INPUT_SIDE, OUTPUT_SIDE, transform_input, transform_output
from clnf_torch.models.kernels.cpu.convolutions import BORDER, clear_border

# Tiles at once, whose numbers stay in a core's cache
TILES = 32
# Maps of fewer tiles a side are not worth filters of four times as many numbers
LEAST = 2
# Matrix products for each tile: as many as its input has pixels
PRODUCTS = INPUT_SIDE**2
# Of each filter: its rows, and then its columns, become six numbers
FILTER_TRANSFORM = np.array(
    [[1 / 4, 0, 0], [-1 / 6] * 3, [-1 / 6, 1 / 6, -1 / 6], [1 / 24, 1 / 12, 1 / 6], [1 / 24, -1 / 12, 1 / 6], [0, 0, 1]]
)


def can_be_tiles(shape: tuple[int, ...], stride: int) -> bool:
    """Whether filters (side, side, C, C') at so many pixels from each other can be worked off in tiles."""
    return shape[:2] == (3, 3) and stride == 1 and min(shape[2:]) >= LANES


def divides_into_tiles(maps: Array) -> bool:
    """Whether maps with borders do, into at least `LEAST` by as many; one alone as among others."""
    high, wide = maps.shape[1] - 2 * BORDER, maps.shape[2] - 2 * BORDER
    return min(high, wide) >= LEAST * OUTPUT_SIDE and high % OUTPUT_SIDE == wide % OUTPUT_SIDE == 0


def pack_tiles(weight: Array) -> Array:
    """Filters (3, 3, C, C') transformed, each of the 36 matrices packed, (36, K)."""
    rows = FILTER_TRANSFORM @ weight.reshape(3, -1).astype(np.float64)
    both = FILTER_TRANSFORM @ rows.reshape(INPUT_SIDE, 3, -1)
    return np.stack([pack(matrix.astype(np.float32)) for matrix in both.reshape(PRODUCTS, *weight.shape[2:])])


@compiled_exactly
def convolve_tiles(maps: Array, weight: Array, bias: Array, least: float, added: Array) -> Array:
    """A 3 x 3 convolution of maps with borders of a pixel, whose height and width are multiples of 4.

    Args:
        maps: Maps, shape (B, H + 2, W + 2, C).
        weight: Filters, from `pack_tiles`.
        bias: Shape (C',).
        least: Results below are raised to it.
        added: Flat maps of the result's shape, which are added to it; `NOTHING` for none.

    Returns:
        Maps, shape (B, H + 2, W + 2, C').
    """
    faces, rows, columns, channels = maps.shape
    width, high, wide = len(bias), (rows - 2) // OUTPUT_SIDE, (columns - 2) // OUTPUT_SIDE
    found = np.empty((faces, rows, columns, width), np.float32)
    clear_border(found, BORDER)
    count = faces * high * wide
    most = min(count, TILES)
    # Planes a line further apart than a power of two, so that a tile's numbers do not drive each other from the cache
    input_plane, output_plane = most * channels + LINE, most * width + LINE
    seen, products = np.empty(PRODUCTS * input_plane, np.float32), np.empty(PRODUCTS * output_plane, np.float32)
    nothing, begins, places = np.zeros(width, np.float32), np.arange(most) * channels, np.arange(most) * width
    source, target = maps.reshape(-1), found.reshape(-1)
    for first in range(0, count, most):
        tiles = min(most, count - first)
        for i in range(tiles):
            place = corner(first + i, high, wide, rows, columns) * channels
            for c in range(0, channels, LANES):
                own = min(c, channels - LANES)
                transform_input(
                    (source, place + own), (columns * channels, channels), (seen, i * channels + own), input_plane
                )
        for k in range(PRODUCTS):
            inputs = seen[k * input_plane : (k + 1) * input_plane]
            outputs = products[k * output_plane : (k + 1) * output_plane]
            multiply(
                inputs, begins[:tiles], (1, 0, channels), weight[k], True, nothing,
                outputs, places[:tiles], NOTHING, LOWEST, weight[min(k + 1, PRODUCTS - 1)],
            )  # fmt: skip
        for i in range(tiles):
            place = (corner(first + i, high, wide, rows, columns) + columns + 1) * width
            for c in range(0, width, LANES):
                own = min(c, width - LANES)
                transform_output(
                    (products, i * width + own), output_plane, (bias, own), (added, len(added) > 1, least),
                    (target, place + own), (columns * width, width),
                )  # fmt: skip
    return found


@compiled_exactly
def corner(tile: int, high: int, wide: int, rows: int, columns: int) -> int:
    """The upper left cell that the filters see of a tile, in maps of all faces with their borders."""
    face, inside = tile // (high * wide), tile % (high * wide)
    return (face * rows + inside // wide * OUTPUT_SIDE) * columns + inside % wide * OUTPUT_SIDE
