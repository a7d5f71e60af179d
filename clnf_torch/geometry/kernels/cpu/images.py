"""Gray levels of colours and images of half the size, one pixel after the other instead of one operation."""

import numpy as np

from clnf_torch.compilation.compiler import Array, compiled_exactly

# In OpenCV's 15-bit fixed point
HALF, BITS = 1 << 14, 15


@compiled_exactly
def to_gray(colours: Array, weights: tuple[int, int, int], gray: Array) -> None:
    """Gray levels of uint8 frames, rounded as OpenCV rounds.

    Args:
        colours: Shape (F, 3, H, W), in any order of memory.
        weights: Of red, green and blue, in 32,768ths.
        gray: Become the gray levels, shape (F, H, W).
    """
    red, green, blue = np.int32(weights[0]), np.int32(weights[1]), np.int32(weights[2])
    for f in range(len(gray)):
        for y in range(gray.shape[1]):
            own, first, second, third = gray[f, y], colours[f, 0, y], colours[f, 1, y], colours[f, 2, y]
            for x in range(len(own)):
                total = np.int32(first[x]) * red + np.int32(second[x]) * green + np.int32(third[x]) * blue
                own[x] = np.uint8((total + np.int32(HALF)) >> np.int32(BITS))


@compiled_exactly
def interleaved_to_gray(colours: Array, weights: tuple[int, int, int], gray: Array) -> None:
    """`to_gray` of pixels whose three numbers follow each other in memory, shape (3 P,), as gray levels (P,).

    What is known to lie side by side becomes vector instructions.
    """
    red, green, blue = np.int32(weights[0]), np.int32(weights[1]), np.int32(weights[2])
    for p in range(len(gray)):
        total = np.int32(colours[3 * p]) * red + np.int32(colours[3 * p + 1]) * green
        total += np.int32(colours[3 * p + 2]) * blue
        gray[p] = np.uint8((total + np.int32(HALF)) >> np.int32(BITS))


@compiled_exactly
def halve(images: Array, found: Array) -> None:
    """Means of four pixels, a half rounded to the even one, of uint8 images (F, H, W) as images (F, H // 2, W // 2)."""
    for f in range(len(found)):
        for y in range(found.shape[1]):
            own, upper, lower = found[f, y], images[f, 2 * y], images[f, 2 * y + 1]
            for x in range(len(own)):
                left = np.int32(upper[2 * x]) + np.int32(lower[2 * x])
                total = left + np.int32(upper[2 * x + 1]) + np.int32(lower[2 * x + 1])
                own[x] = np.uint8((total + np.int32(1) + ((total >> np.int32(2)) & np.int32(1))) >> np.int32(2))
