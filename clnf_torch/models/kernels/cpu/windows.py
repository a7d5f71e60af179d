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
    height, width = maps.shape[2:]
    half = parts.shape[3] // 2
    for b in range(parts.shape[0]):
        for n in range(parts.shape[1]):
            left, top = middle[b, n, 0] - half, middle[b, n, 1] - half
            first, last = max(0, -left), min(parts.shape[3], width - left)
            for v in range(parts.shape[2]):
                row = parts[b, n, v]
                row[:] = 0
                if 0 <= top + v < height:
                    for u in range(first, last):
                        row[u] = maps[b, n, top + v, left + u]
