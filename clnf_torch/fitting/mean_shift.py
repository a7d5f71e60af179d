"""Where response maps pull each landmark: the mean shift of a Gaussian kernel density."""

import torch
from torch import Tensor

EDGE = 0.1  # OpenFace: landmarks that left their window are held inside, in [0, R - 0.1]


def mean_shift(responses: Tensor, positions: Tensor, sigma: float, kernel_step: float | None = None) -> Tensor:
    """Mean-shift vectors of landmarks in their response maps.

    The kernel is a product of a row and a column factor, so the sums over the map are taken one direction at a time.

    Args:
        responses: Non-negative response maps, rows along y, shape (B, N, R, R).
        positions: Landmarks (x, y) in cells of their maps, the middle being (R - 1) / 2, shape (B, N, 2).
        sigma: Kernel width, cells.
        kernel_step: Kernels are centred on multiples of this many cells (0.1 in OpenFace, whose kernels come from a
            table); None: on the landmark.

    Returns:
        Shift from each landmark to its kernel-weighted mean, cells (x, y), shape (B, N, 2); 0 where a map is empty.

    Source:
        OpenFace ``CLNF::NonVectorisedMeanShift_precalc_kde``.
    """
    window = responses.shape[-1]
    positions = positions.clamp(0, window - EDGE)
    centres = positions if kernel_step is None else (positions.detach() / kernel_step).round() * kernel_step
    cells = torch.arange(window, dtype=positions.dtype, device=positions.device)
    kernel = ((centres[..., None] - cells).square() * (-0.5 / sigma**2)).exp()  # (B, N, 2, R)
    across, down = kernel[..., :1, :], kernel[..., 1, :]
    weighted = responses * across
    per_row = weighted.sum(-1) * down  # (B, N, R)
    total = per_row.sum(-1, keepdim=True)
    # Products and sums: a matrix routine would round a face differently by its place in the batch.
    sums = torch.stack((((weighted * cells).sum(-1) * down).sum(-1), (per_row * cells).sum(-1)), dim=-1)
    empty = total <= 0
    return (sums / total.masked_fill(empty, 1) - positions).masked_fill(empty, 0)
