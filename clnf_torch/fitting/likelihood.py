"""How well landmarks sit on their response maps."""

import torch
from torch import Tensor

UNSEEN = -1e8  # OpenFace's landmark likelihood of a landmark that is not visible
FLOOR = 1e-8  # keeps the logarithm finite


def landmark_likelihoods(responses: Tensor, positions: Tensor, visible: Tensor, sigma: float) -> Tensor:
    """Kernel-weighted response at each landmark.

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
