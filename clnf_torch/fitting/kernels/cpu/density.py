"""The mean shift as loops: a Gaussian kernel over response maps."""

from typing import Any

import numpy as np

from clnf_torch.compilation.compiler import Array, compiled, f32, inlined
from clnf_torch.compilation.tiles import LANES
from clnf_torch.fitting.kernels.cpu.records import Maps, Widths
from clnf_torch.fitting.mean_shift import EDGE

# Of a table that stays in a core's caches
MOST_KERNELS = 1024


@compiled
def pad_rows(responses: Array) -> Array:
    """Response maps (N, R, R) with rows as wide as fills vectors, 0 beyond the maps, (N, R, W)."""
    window = responses.shape[2]
    padded = np.zeros((len(responses), window, -(-window // LANES) * LANES), np.float32)
    for i in range(len(responses)):
        for v in range(window):
            for u in range(window):
                padded[i, v, u] = responses[i, v, u]
    return padded


@compiled
def kernel_table(window: int, sigma: float, apart: float) -> Array:
    """Kernels around all multiples of a distance in a map, and each times its cells' numbers, (K, 2, W).

    Without rows where kernels may be centred anywhere, or on more places than are worth it.
    """
    width = -(-window // LANES) * LANES
    rows = int(np.rint((f32(window) - f32(EDGE)) / apart)) + 1 if apart > 0 else 0
    table, power = np.empty((rows if rows <= MOST_KERNELS else 0, 2, width), np.float32), np.empty(width, np.float32)
    for k in range(len(table)):
        set_kernel(f32(k) * apart, sigma, power, table[k])
    return table


@compiled
def shift_landmarks(landmarks: Array, maps: Maps, widths: Widths, table: Array, found: Array, shift: Array) -> None:
    """`mean_shift` of landmarks in pixels, and where they are in their maps.

    Args:
        landmarks: Where they are in the image, shape (2, N).
        maps: Those of a face, as of `pad_rows`.
        widths: Of the kernels.
        table: Of `kernel_table`.
        found: Output: the places in the maps, cells, shape (N, 2).
        shift: Output: the shifts in the image, shape (2, N).
    """
    responses, base, to_reference, to_image, weight = maps
    window = responses.shape[1]
    own, power = np.empty((2, 2, responses.shape[2]), np.float32), np.empty(responses.shape[2], np.float32)
    for i in range(len(base)):
        x, y = landmarks[0, i] - base[i, 0], landmarks[1, i] - base[i, 1]
        for a in range(2):
            found[i, a] = to_reference[a, 0] * x + to_reference[a, 1] * y + f32((window - 1) // 2)
        shift[0, i], shift[1, i] = 0, 0
        if weight[i] == 0:
            continue
        x = min(max(found[i, 0], f32(0)), f32(window) - f32(EDGE))
        y = min(max(found[i, 1], f32(0)), f32(window) - f32(EDGE))
        # A landmark that is nowhere has no row
        if len(table) > 0 and x == x and y == y:
            column, row = int(np.rint(x / widths.kernel_step)), int(np.rint(y / widths.kernel_step))
            total, mean_x, mean_y = kernel_mean(responses, i, table, column, row)
        else:
            set_kernel(centre(x, widths.kernel_step), widths.sigma, power, own[0])
            set_kernel(centre(y, widths.kernel_step), widths.sigma, power, own[1])
            total, mean_x, mean_y = kernel_mean(responses, i, own, 0, 1)
        if not total <= 0:
            right, below = mean_x / total - x, mean_y / total - y
            shift[0, i] = to_image[0, 0] * right + to_image[0, 1] * below
            shift[1, i] = to_image[1, 0] * right + to_image[1, 1] * below


@compiled
def centre(place: float, apart: float) -> Any:
    """The multiple of a distance that is nearest to a place; the place itself for a distance of 0."""
    return f32(np.rint(place / apart)) * apart if apart > 0 else f32(place)


@compiled
def set_kernel(centre: float, sigma: float, power: Array, kernel: Array) -> None:
    """A kernel around a centre, and the same times its cells' numbers, (2, W)."""
    # A number that is known when loops are compiled makes a row one vector
    if len(power) == LANES:
        gaussian(centre, sigma, power, kernel, LANES)
    else:
        gaussian(centre, sigma, power, kernel, len(power))


@compiled
def kernel_mean(responses: Array, i: int, kernels: Array, column: int, row: int) -> tuple[Array, Array, Array]:
    """The kernel-weighted sum of one of response maps (N, R, W), and the sums of its columns and rows.

    Args:
        responses: The response maps.
        i: Which.
        kernels: Kernels, shape (K, 2, W).
        column: Which of them weighs columns.
        row: And which weighs rows.
    """
    if responses.shape[2] == LANES:
        return weigh(responses, i, kernels, column, row, LANES)
    return weigh(responses, i, kernels, column, row, responses.shape[2])


@inlined
def weigh(responses: Array, i: int, kernels: Array, column: int, row: int, width: int) -> tuple[Array, Array, Array]:
    """`kernel_mean` for rows of a width."""
    total, sum_x, sum_y = f32(0), f32(0), f32(0)
    for v in range(responses.shape[1]):
        own, own_x = f32(0), f32(0)
        for u in range(width):
            own += responses[i, v, u] * kernels[column, 0, u]
            own_x += responses[i, v, u] * kernels[column, 1, u]
        total += own * kernels[row, 0, v]
        sum_x += own_x * kernels[row, 0, v]
        sum_y += own * kernels[row, 1, v]
    return total, sum_x, sum_y


@inlined
def gaussian(centre: float, sigma: float, power: Array, kernel: Array, width: int) -> None:
    """exp(-(centre - u)^2 / 2 sigma^2) at u = 0, 1, ...: 2^k, made of its bits, times a polynomial of the rest.

    Both loops are vector instructions; the library's exponential, as accurate, takes one number at a time.
    """
    bits, values, ramp = power.view(np.int32), kernel[0], kernel[1]
    factor = f32(-0.5) / (sigma * sigma)
    for u in range(width):
        exponent = max((centre - f32(u)) * (centre - f32(u)) * factor, f32(-87))
        whole = np.rint(exponent * f32(1.44269504))
        # ln 2 in two parts, so that the difference is exact
        rest = exponent - whole * f32(0.693359375) + whole * f32(2.12194440e-4)
        series = (f32(1.9875691500e-4) * rest + f32(1.3981999507e-3)) * rest + f32(8.3334519073e-3)
        series = ((series * rest + f32(4.1665795894e-2)) * rest + f32(1.6666665459e-1)) * rest + f32(5.0000001201e-1)
        values[u] = series * rest * rest + rest + f32(1)
        bits[u] = (np.int32(whole) + np.int32(127)) << 23
    for u in range(width):
        values[u] *= power[u]
        ramp[u] = values[u] * f32(u)
