"""What patch experts look at, as loops: the areas around the landmarks of a face."""

import math

import numpy as np

from clnf_torch.compilation.compiler import Array, compiled, compiled_exactly, f32
from clnf_torch.geometry.kernels.cpu.sampling import lerp, whole
from clnf_torch.geometry.sampling import MARGIN


@compiled_exactly
def cut_areas(
    padded: Array, index: Array, landmarks: Array, to_image: Array, on_32nds: bool, whole_numbers: bool, areas: Array
) -> None:
    """`ImageBatch.cut_areas` for faces one by one; of uint8 images on the lattice to the same last bit.

    Args:
        padded: Images with black margins, shape (F, H + 4, W + 4), uint8 or float32.
        index: Image of each face, int64, shape (B,).
        landmarks: Centres, pixels, shape (B, N, 2).
        to_image: Shape (B, 2, 2).
        on_32nds: Read on the 1/32-pixel lattice.
        whole_numbers: Whether the images are uint8.
        areas: Becomes the gray levels, shape (B, N, A, A).
    """
    width = areas.shape[3]
    half = f32((width - 1) / 2)
    places, steps = np.empty((4, width), np.float64), np.empty((2, width), np.int32)
    for b in range(len(areas)):
        a, c = to_image[b, 0, 0], -to_image[b, 0, 1]
        for i in range(areas.shape[1]):
            # In the order of `area_to_image`, which decides ties of the lattice
            x = landmarks[b, i, 0] - a * half + c * half
            y = landmarks[b, i, 1] - a * half - c * half
            if on_32nds:
                steps_in_32nds(a, c, x, y, places)
                if whole_numbers and is_inside(padded[index[b]], places):
                    cut_inside(padded[index[b]], places, steps, areas[b, i])
                else:
                    cut_on_32nds(padded[index[b]], places, areas[b, i])
            else:
                cut_exactly(padded[index[b]], a, c, x, y, areas[b, i])


@compiled
def keep_readable(areas: Array, readable: Array) -> None:
    """Which faces' areas (B, N, A, A) show nothing but finite numbers, (B,); those of the others become black."""
    for b in range(len(areas)):
        total, flat = f32(0), areas[b].reshape(-1)
        for i in range(len(flat)):
            total += flat[i]
        # A comparison: the compiler takes math.isfinite for true where sums may be taken in any order
        readable[b] = abs(total) < np.inf
        if not readable[b]:
            flat[:] = 0


@compiled_exactly
def steps_in_32nds(a: float, c: float, x: float, y: float, places: Array) -> None:
    """The parts of `affine_cells_32nds` that columns (rows 0 and 1) and rows of the area (2 and 3) add, x and y."""
    for k in range(places.shape[1]):
        places[0, k] = whole(np.rint(float(a) * k * 1024))
        places[1, k] = whole(np.rint(float(c) * k * 1024))
        places[2, k] = whole(np.rint((float(-c) * k + float(x)) * 1024)) + 16
        places[3, k] = whole(np.rint((float(a) * k + float(y)) * 1024)) + 16


@compiled_exactly
def cut_on_32nds(image: Array, places: Array, area: Array) -> None:
    """One area (A, A), read at multiples of 1/32 pixel."""
    for v in range(len(area)):
        for u in range(len(area)):
            x = (np.int32(places[0, u]) + np.int32(places[2, v])) >> 5
            y = (np.int32(places[1, u]) + np.int32(places[3, v])) >> 5
            area[v, u] = between(image, x >> 5, y >> 5, f32(x & 31) / f32(32), f32(y & 31) / f32(32))


@compiled_exactly
def is_inside(image: Array, places: Array) -> bool:
    """Whether all pixels that an area is read from are inside the image: those of its corners, and so of all others."""
    rows, columns = image.shape
    inside, last = True, places.shape[1] - 1
    for u in (0, last):
        for v in (0, last):
            x, y = (places[0, u] + places[2, v]) / 1024, (places[1, u] + places[3, v]) / 1024
            # A pixel more for what is rounded
            inside = inside and 1 <= x < columns - 2 * MARGIN - 2 and 1 <= y < rows - 2 * MARGIN - 2
    return inside


@compiled_exactly
def cut_inside(image: Array, places: Array, steps: Array, area: Array) -> None:
    """`cut_on_32nds` of an area inside a uint8 image: whole numbers give the same, to the last bit."""
    columns, pixels = image.shape[1], image.reshape(-1)
    across, down = steps[0], steps[1]
    for u in range(len(area)):
        across[u], down[u] = np.int32(places[0, u]), np.int32(places[1, u])
    for v in range(len(area)):
        row, left, top = area[v], np.int32(places[2, v]), np.int32(places[3, v])
        for u in range(len(area)):
            x, y = (across[u] + left) >> np.int32(5), (down[u] + top) >> np.int32(5)
            corner = ((y >> np.int32(5)) + np.int32(MARGIN)) * np.int64(columns) + (x >> np.int32(5)) + np.int32(MARGIN)
            right, below = x & np.int32(31), y & np.int32(31)
            upper = np.int32(pixels[corner]) * (np.int32(32) - right) + np.int32(pixels[corner + 1]) * right
            lower = np.int32(pixels[corner + columns]) * (np.int32(32) - right)
            lower += np.int32(pixels[corner + columns + 1]) * right
            row[u] = f32(upper * (np.int32(32) - below) + lower * below) / f32(1024)


@compiled_exactly
def cut_exactly(image: Array, a: float, c: float, x: float, y: float, area: Array) -> None:
    """One area (A, A), read where its pixels lie."""
    for v in range(len(area)):
        for u in range(len(area)):
            column, row = a * f32(u) + (-c * f32(v) + x), c * f32(u) + (a * f32(v) + y)
            left, top = f32(math.floor(column)), f32(math.floor(row))
            area[v, u] = between(image, np.int32(whole(left)), np.int32(whole(top)), column - left, row - top)


@compiled_exactly
def between(image: Array, column: int, row: int, right: float, down: float) -> float:
    """The gray level between four pixels of an image with margins, as `read_bilinear` reads it."""
    rows, columns = image.shape
    u = min(max(column, -MARGIN), columns - 2 * MARGIN) + MARGIN
    v = min(max(row, -MARGIN), rows - 2 * MARGIN) + MARGIN
    top = lerp(f32(image[v, u]), f32(image[v, u + 1]), right)
    return lerp(top, lerp(f32(image[v + 1, u]), f32(image[v + 1, u + 1]), right), down)
