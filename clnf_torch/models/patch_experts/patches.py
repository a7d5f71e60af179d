"""Cutting areas into contrast-normalised patches, and laying the answers out as response maps again."""

import torch
from torch import Tensor
from torch.nn.functional import layer_norm

# A variance of gray levels that no patch has, unless it is constant
TINY = 1e-20


def cut_patches(areas: Tensor, support: int, checkerboard: bool) -> Tensor:
    """The patches of each area that an expert looks at, minus their mean, divided by their length.

    A length of 0 counts as 1.

    Args:
        areas: Gray levels, shape (..., A, A).
        support: Side S of a patch.
        checkerboard: Only the cells with an odd column + row, in the order that `lay_out` expects; otherwise all, row
            by row.

    Returns:
        Patches, shape (..., cells, S * S), pixels row by row.
    """
    cells = areas.unfold(-2, support, 1).unfold(-2, support, 1)  # (..., R, R, S, S), a view
    if checkerboard:
        many, few = cells.shape[-3] - cells.shape[-3] // 2, cells.shape[-3] // 2
        patches = areas.new_empty(*areas.shape[:-2], 2 * many * few, support, support)
        patches[..., : many * few, :, :].unflatten(-3, (many, few)).copy_(cells[..., 0::2, 1::2, :, :])
        patches[..., many * few :, :, :].unflatten(-3, (few, many)).copy_(cells[..., 1::2, 0::2, :, :])
        patches = patches.flatten(-2)
    else:
        patches = cells.flatten(-4, -3).flatten(-2)
    return _normalise(patches)


def _normalise(patches: Tensor) -> Tensor:
    """Patches (..., P) minus their mean, divided by their length.

    Without gradients one fused pass does it: a layer norm, whose standard deviation is the length over sqrt(P).
    Constant patches become 0 there too, but the gradient through them would not be finite.
    """
    size = patches.shape[-1]
    if not patches.requires_grad:
        return layer_norm(patches, (size,), patches.new_full((size,), size**-0.5), eps=TINY)
    patches = patches - patches.mean(-1, keepdim=True)
    length = torch.linalg.vector_norm(patches, dim=-1, keepdim=True)
    return patches / torch.where(length > 0, length, 1)


def lay_out(answers: Tensor, checkerboard: bool) -> Tensor:
    """Answers per cell as maps.

    On a checkerboard every cell that was not looked at gets the mean of its two to four neighbours.

    Args:
        answers: One number per cell that `cut_patches` cut, shape (..., cells).
        checkerboard: As there.

    Returns:
        Maps, shape (..., R, R), rows along y.

    Source:
        OpenFace ``CEN_patch_expert::ResponseSparse`` and ``interpolationMatrix``.
    """
    if not checkerboard:
        window = round(answers.shape[-1] ** 0.5)
        return answers.unflatten(-1, (window, window))
    window = round((2 * answers.shape[-1] + 1) ** 0.5)
    # Odd and even rows (or columns) of the board
    few, many = window // 2, (window + 1) // 2
    padded = answers.new_zeros(*answers.shape[:-1], window + 2, window + 2)
    board = padded[..., 1:-1, 1:-1]
    board[..., 0::2, 1::2] = answers[..., : many * few].unflatten(-1, (many, few))
    board[..., 1::2, 0::2] = answers[..., many * few :].unflatten(-1, (few, many))
    around = padded[..., :-2, 1:-1] + padded[..., 2:, 1:-1] + padded[..., 1:-1, :-2] + padded[..., 1:-1, 2:]
    return board + around / _neighbours(window, answers)


def _neighbours(window: int, like: Tensor) -> Tensor:
    """How many direct neighbours each cell of a map has, shape (R, R)."""
    inner = torch.full((window,), 2.0, dtype=like.dtype, device=like.device)
    if window > 1:
        inner[0] = inner[-1] = 1
    return inner[:, None] + inner[None, :]
