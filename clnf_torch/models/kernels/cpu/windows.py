"""Square parts of maps, as loops."""

from clnf_torch.compilation.compiler import Array, compiled_exactly


@compiled_exactly
def cut_windows(maps: Array, middle: Array, parts: Array) -> None:
    """`cut_windows` of heatmap experts, map by map.

    Args:
        maps: Shape (B, N, H, H).
        middle: The cell (x, y) in the middle of each part, int64, shape (B, N, 2).
        parts: Becomes the parts, 0 outside the maps, shape (B, N, R, R).
    """
    for b in range(parts.shape[0]):
        for n in range(parts.shape[1]):
            cut_window(maps[b, n], middle[b, n], parts[b, n])


@compiled_exactly
def cut_window(whole: Array, middle: Array, part: Array) -> None:
    """A square part (R, R) of a map (H, W) around a cell (x, y), 0 outside."""
    height, width = whole.shape
    left, top = middle[0] - part.shape[1] // 2, middle[1] - part.shape[0] // 2
    first, last = max(0, -left), min(part.shape[1], width - left)
    for v in range(part.shape[0]):
        part[v, :] = 0
        if 0 <= top + v < height:
            for u in range(first, last):
                part[v, u] = whole[top + v, left + u]
