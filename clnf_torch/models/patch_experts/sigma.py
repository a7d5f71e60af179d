"""Sigma: how a CCNF expert smooths its response, computed from what it knows of neighbouring cells."""

import torch
from torch import Tensor


def sigma_matrices(alphas: Tensor, betas: Tensor, components: Tensor) -> Tensor:
    """The smoothing matrices of E experts for one window size, ``(2 (sum(alpha) I + sum_c beta_c B_c))^-1``.

    Args:
        alphas: Weights of all K neurons, those too that the response leaves out, shape (E, K).
        betas: Weights of the components, shape (E, C).
        components: Symmetric relations between the cells of a window, row by row, shape (C, R * R, R * R).

    Returns:
        Symmetric matrices in the number type of `alphas`, shape (E, R * R, R * R). They are computed in float64.
        OpenFace: zeros where the matrix to invert is not positive definite, as ``cv::invert`` gives.

    Source:
        OpenFace ``CCNF_patch_expert::ComputeSigmas``.
    """
    own = alphas.double().sum(-1)
    identity = torch.eye(components.shape[-1], dtype=own.dtype, device=own.device)
    precision = torch.einsum("ec,cpq->epq", betas.double(), components.double()) + own[:, None, None] * identity
    lower, failed = torch.linalg.cholesky_ex(2 * precision)
    return torch.cholesky_inverse(lower).masked_fill(failed[:, None, None] > 0, 0).to(alphas.dtype)


def lone_sigma(alphas: Tensor) -> Tensor:
    """What takes Sigma's place for window sizes without components: one factor per expert, shape (E,).

    OpenFace: such windows, e.g. 5 and 13, lose their smoothing without a word.
    """
    own = alphas.sum(-1)
    positive = own > 0
    return (0.5 / own.masked_fill(~positive, 1)).masked_fill(~positive, 0)
