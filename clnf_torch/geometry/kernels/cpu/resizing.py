"""Parts of images between their pixels as loops: what lies on grids of rows and columns."""

from typing import Any

from clnf_torch.compilation.compiler import Array, compiled_exactly, f32
from clnf_torch.geometry.kernels.cpu.warps import fused


@compiled_exactly
def read_grids(
    images: Array, index: Array, column: Array, row: Array, right: Array, down: Array, margin: int, found: Array
) -> None:
    """`resizing.read_grids`.

    Args:
        images: Images with margins, uint8, shape (F, C, H, W), in any order of memory.
        index: Image of each grid, int64, shape (K,).
        column: Pixels left of the grids' columns, int64, shape (K, w).
        row: Pixels above their rows, int64, shape (K, h).
        right: Ways from there to the next pixels, shape (K, w).
        down: Likewise, shape (K, h).
        margin: Width of the margins.
        found: Become the gray levels, shape (K, h, w, C).
    """
    for k in range(len(found)):
        for y in range(found.shape[1]):
            line, own = row[k, y] + margin, found[k, y]
            for c in range(found.shape[3]):
                upper, lower = images[index[k], c, line], images[index[k], c, line + 1]
                for x in range(len(own)):
                    left = column[k, x] + margin
                    top = lerp_fused(f32(upper[left]), f32(upper[left + 1]), right[k, x])
                    bottom = lerp_fused(f32(lower[left]), f32(lower[left + 1]), right[k, x])
                    own[x, c] = lerp_fused(top, bottom, down[k, y])


@compiled_exactly
def lerp_fused(start: float, end: float, share: float) -> Any:
    """``torch.lerp``, whose product and sum are rounded once where the processor fuses them."""
    return fused(share, end - start, start) if share < f32(0.5) else fused(share - f32(1), end - start, end)
