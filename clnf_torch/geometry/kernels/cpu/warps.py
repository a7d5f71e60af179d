"""Piecewise affine warps as loops: the gray levels of a face, seen in a triangulated frame of reference."""

from typing import Any

import numpy as np

from clnf_torch.compilation.compiler import Array, Arrays, compiled_exactly, f32
from clnf_torch.geometry.kernels.cpu.sampling import lerp, whole


@compiled_exactly
def read_warped(
    padded: Array,
    size: tuple[int, int],
    margin: int,
    index: Array,
    landmarks: Array,
    corner: Array,
    table: Arrays,
    on_32nds: bool,
    found: Array,
) -> None:
    """Gray levels between landmarks; see `warp.read_warped`.

    Args:
        padded: Images with margins, shape (F, H, W), uint8 or float32.
        size: Height and width of what is read of the images; everything else is black.
        margin: Width of the margins.
        index: Image of each face, int64, shape (B,).
        landmarks: Corners of triangles, pixels from the corner on, shape (B, N, 2).
        corner: Whole pixels, shape (B, 2).
        table: Triangles (T, 3), alpha (T, 3), beta (T, 3), pixels (P, 2) and the triangle of each (P,).
        on_32nds: Read at multiples of 1/32 pixel.
        found: Become the gray levels, shape (B, P).
    """
    triangles, alpha, beta, pixels, triangle = table
    maps = np.empty((len(triangles), 3, 2), np.float32)
    for b in range(len(found)):
        for t in range(len(triangles)):
            set_map(landmarks[b], triangles[t], alpha[t], beta[t], maps[t])
        left, top = np.int64(whole(corner[b, 0])), np.int64(whole(corner[b, 1]))
        image = padded[index[b]]
        for p in range(len(pixels)):
            own = maps[triangle[p]]
            x = fused(pixels[p, 1], own[2, 0], fused(pixels[p, 0], own[1, 0], own[0, 0]))
            y = fused(pixels[p, 1], own[2, 1], fused(pixels[p, 0], own[1, 1], own[0, 1]))
            if on_32nds:
                u, v = np.int64(whole(np.rint(x * f32(32)))), np.int64(whole(np.rint(y * f32(32))))
                right, down = f32(u & 31) / f32(32), f32(v & 31) / f32(32)
                u, v = u >> 5, v >> 5
            else:
                u, v = np.int64(whole(np.floor(x))), np.int64(whole(np.floor(y)))
                right, down = x - np.floor(x), y - np.floor(y)
            found[b, p] = between(image, size, margin, u + left, v + top, right, down)


@compiled_exactly
def set_map(landmarks: Array, corners: Array, alpha: Array, beta: Array, found: Array) -> None:
    """`triangle_maps` of one triangle, (3, 2)."""
    for a in range(2):
        first = landmarks[corners[0], a]
        second, third = landmarks[corners[1], a] - first, landmarks[corners[2], a] - first
        found[0, a] = fused(beta[0], third, fused(alpha[0], second, first))
        found[1, a] = fused(alpha[1], second, beta[1] * third)
        found[2, a] = fused(alpha[2], second, beta[2] * third)


@compiled_exactly
def fused(a: float, b: float, c: float) -> Any:
    """The sum a * b + c, rounded once."""
    return f32(np.float64(a) * np.float64(b) + np.float64(c))


@compiled_exactly
def between(image: Array, size: tuple[int, int], margin: int, u: int, v: int, right: float, down: float) -> Any:
    """The gray level between four pixels of an image with margins."""
    top = lerp(pixel(image, size, margin, u, v), pixel(image, size, margin, u + 1, v), right)
    bottom = lerp(pixel(image, size, margin, u, v + 1), pixel(image, size, margin, u + 1, v + 1), right)
    return lerp(top, bottom, down)


@compiled_exactly
def pixel(image: Array, size: tuple[int, int], margin: int, u: int, v: int) -> Any:
    """One pixel of an image with margins; 0 outside."""
    return f32(image[v + margin, u + margin]) if 0 <= u < size[1] and 0 <= v < size[0] else f32(0)
