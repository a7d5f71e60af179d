"""What joint experts are taught: a map of scores per landmark whose softmax is a Gaussian around the true point."""

import torch
from torch import Tensor


def map_loss(scores: Tensor, positions: Tensor, width: float, weight: Tensor | None = None) -> Tensor:
    """Mean cross-entropy between the experts' maps and Gaussians, in nats above the Gaussian's own entropy.

    Args:
        scores: Maps before the softmax, rows along y, shape (B, N, H, H).
        positions: True landmarks (x, y) in cells of the maps, shape (B, N, 2). Those outside their map do not count.
        width: Standard deviation of the Gaussians, cells.
        weight: Of each landmark, shape (N,) or (B, N).

    Returns:
        A number.
    """
    side = scores.shape[-1]
    cells = torch.arange(side, dtype=positions.dtype, device=positions.device)
    target = (-0.5 * ((positions[..., None] - cells) / width).square()).exp()  # (B, N, 2, H)
    target = target / target.sum(-1, keepdim=True).clamp(min=1e-6)
    hit = torch.einsum("bnyx,bnx,bny->bn", scores, target[..., 0, :], target[..., 1, :])
    cross = scores.flatten(2).logsumexp(-1) - hit
    entropy = -(target * target.clamp(min=1e-12).log()).sum((-2, -1))
    inside = ((positions >= 0) & (positions <= side - 1)).all(-1).to(scores.dtype)
    inside = inside if weight is None else inside * weight
    return ((cross - entropy) * inside).sum() / inside.sum().clamp(min=1)
