"""Kernel density estimates (KDE) over response maps: mean shift towards their modes, and likelihoods of landmarks."""

import torch
from torch import Tensor

# OpenFace: landmarks that left their window are held inside, in [0, R - 0.1]
EDGE = 0.1


def mean_shift(responses: Tensor, positions: Tensor, sigma: float, kernel_step: float | None = None) -> Tensor:
    """Mean-shift vectors of landmarks, under a Gaussian kernel density estimate (KDE) of their response maps.

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


# OpenFace's landmark likelihood of a landmark that is not visible
UNSEEN = -1e8
# Keeps the logarithm finite
FLOOR = 1e-8


def landmark_likelihoods(responses: Tensor, positions: Tensor, visible: Tensor, sigma: float) -> Tensor:
    """Kernel density estimate (KDE) of the responses at each landmark.

    Args:
        responses: Response maps, rows along y, shape (B, N, R, R).
        positions: Landmarks (x, y) in cells of their maps, neither clamped nor rounded, shape (B, N, 2).
        visible: Landmarks that count, bool, shape (B, N).
        sigma: Kernel width, cells.

    Returns:
        Likelihoods, shape (B, N); -1e8 where not visible.

    Source:
        OpenFace ``CLNF::NU_RLMS``, its last part.
    """
    cells = torch.arange(responses.shape[-1], dtype=positions.dtype, device=positions.device)
    kernel = (-0.5 / sigma**2 * (positions[..., None] - cells).square()).exp()  # (B, N, 2, R)
    across, down = kernel[..., 0, None, :], kernel[..., 1, :]
    likelihoods = ((responses * across).sum(-1) * down).sum(-1)
    return torch.where(visible, likelihoods, UNSEEN)


def model_likelihood(likelihoods: Tensor, visible: Tensor) -> Tensor:
    """Mean logarithm of the visible landmarks' likelihoods (B, N), shape (B,); minus infinity where none is visible."""
    logs = torch.where(visible, (torch.where(visible, likelihoods, 1) + FLOOR).log(), 0)
    count = visible.sum(-1)
    return torch.where(count > 0, logs.sum(-1) / count.clamp(min=1), -torch.inf)
