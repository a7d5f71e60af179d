"""The mean shift as loops: a Gaussian kernel over response maps."""

import numpy as np

from clnf_torch.compilation.compiler import Array, Arrays, compiled, f32
from clnf_torch.fitting.mean_shift import EDGE


@compiled
def shift_landmarks(landmarks: Array, maps: Arrays, widths: Arrays, kernel: Array, found: Array, shift: Array) -> None:
    """`mean_shift` of landmarks (2, N) in pixels, (2, N), and where they are in their maps, cells, (N, 2)."""
    responses, base, to_reference, to_image, weight = maps
    window = responses.shape[1]
    for i in range(len(base)):
        x, y = landmarks[0, i] - base[i, 0], landmarks[1, i] - base[i, 1]
        for a in range(2):
            found[i, a] = to_reference[a, 0] * x + to_reference[a, 1] * y + f32((window - 1) // 2)
        shift[0, i], shift[1, i] = 0, 0
        if weight[i] == 0:
            continue
        x = min(max(found[i, 0], f32(0)), f32(window) - f32(EDGE))
        y = min(max(found[i, 1], f32(0)), f32(window) - f32(EDGE))
        total, mean_x, mean_y = kernel_mean(responses[i], x, y, widths, kernel)
        if not total <= 0:
            across, down = mean_x / total - x, mean_y / total - y
            shift[0, i] = to_image[0, 0] * across + to_image[0, 1] * down
            shift[1, i] = to_image[1, 0] * across + to_image[1, 1] * down


@compiled
def kernel_mean(responses: Array, x: float, y: float, widths: Arrays, kernel: Array) -> tuple[Array, Array, Array]:
    """The kernel-weighted sum of a response map (R, R) around (x, y), and the sums of its columns and rows."""
    sigma, apart, _ = widths
    if apart > 0:
        x, y = f32(np.rint(x / apart)) * apart, f32(np.rint(y / apart)) * apart
    across, ramp, down, _ = kernel
    gaussian(x, sigma, kernel[3], across)
    gaussian(y, sigma, kernel[3], down)
    for u in range(len(across)):
        ramp[u] = across[u] * f32(u)
    total, sum_x, sum_y = f32(0), f32(0), f32(0)
    for v in range(len(down)):
        row, own, own_x = responses[v], f32(0), f32(0)
        for u in range(len(across)):
            own += row[u] * across[u]
            own_x += row[u] * ramp[u]
        total += own * down[v]
        sum_x += own_x * down[v]
        sum_y += own * down[v] * f32(v)
    return total, sum_x, sum_y


@compiled
def gaussian(centre: float, sigma: float, power: Array, values: Array) -> None:
    """exp(-(centre - u)^2 / 2 sigma^2) at u = 0, 1, ... R - 1: 2^k, made of its bits, times a polynomial of the rest.

    Both loops are vector instructions; the library's exponential, as accurate, takes one number at a time.
    """
    bits = power.view(np.int32)
    factor = f32(-0.5) / (sigma * sigma)
    for u in range(len(values)):
        exponent = max((centre - f32(u)) * (centre - f32(u)) * factor, f32(-87))
        whole = np.rint(exponent * f32(1.44269504))
        # ln 2 in two parts, so that the difference is exact
        rest = exponent - whole * f32(0.693359375) + whole * f32(2.12194440e-4)
        series = (f32(1.9875691500e-4) * rest + f32(1.3981999507e-3)) * rest + f32(8.3334519073e-3)
        series = ((series * rest + f32(4.1665795894e-2)) * rest + f32(1.6666665459e-1)) * rest + f32(5.0000001201e-1)
        values[u] = series * rest * rest + rest + f32(1)
        bits[u] = (np.int32(whole) + np.int32(127)) << 23
    for u in range(len(values)):
        values[u] *= power[u]
