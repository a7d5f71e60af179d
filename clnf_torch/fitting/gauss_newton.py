"""One weighted, regularised Gauss-Newton step for every face at once."""

import torch
from torch import Tensor
from torch.nn.functional import pad

# Parameters of a system on the CPU, a multiple of it: four numbers of float32 fill a register. MKL rounds a matrix
# otherwise that begins within one, as each second one of a batch of odd size does
ALIGNED = 4


def gauss_newton_step(
    jacobian: Tensor, weight: Tensor, shift: Tensor, precision: Tensor | None = None, local: Tensor | None = None
) -> Tensor:
    """Steps d of (J' W J + L) d = J' W v - L p: maximum a posteriori, with a Gaussian prior on the last parameters.

    Args:
        jacobian: Shape (B, 2, N, P).
        weight: Weight of each landmark, 0 leaves it out, shape (B, N).
        shift: Where each landmark should go, pixels, shape (B, N, 2).
        precision: Diagonal of L, shape (1 or B, M): weight of the prior on the last M parameters; None: no prior.
        local: Current values p of these parameters, whose prior mean is 0, shape (B, M).

    Returns:
        Steps, shape (B, P); see `solve`.

    Source:
        OpenFace ``CLNF::NU_RLMS``, ``PDM::CalcParams``.
    """
    hessian, right = normal_equations(jacobian, weight, shift)
    if precision is not None and local is not None:
        pose = jacobian.shape[-1] - local.shape[-1]
        # In place: both are new, and only the part of them that has a prior changes
        hessian.diagonal(dim1=-2, dim2=-1)[:, pose:].add_(precision)
        right[:, pose:].sub_(precision * local)
    return solve(hessian, right)


def normal_equations(jacobian: Tensor, weight: Tensor, shift: Tensor) -> tuple[Tensor, Tensor]:
    """The left and right sides of J' W J d = J' W v.

    Args:
        jacobian: Shape (B, 2, N, P).
        weight: Weight of each landmark, 0 leaves it out, shape (B, N).
        shift: Where each landmark should go, pixels, shape (B, N, 2).

    Returns:
        J' W J, shape (B, P, P), and J' W v, shape (B, P).
    """
    stacked = jacobian.flatten(1, 2)  # (B, 2N, P): all x, then all y
    weighted = (jacobian * weight[:, None, :, None]).flatten(1, 2).mT
    # A product and a sum: a matrix-vector product is rounded for a single face in another way than in a batch
    return torch.bmm(weighted, stacked), (weighted * shift.mT.flatten(1)[:, None]).sum(-1)


def solve(hessian: Tensor, right: Tensor) -> Tensor:
    """Steps d with H d = r by Cholesky; rows whose H is not positive definite get a zero step.

    Args:
        hessian: Symmetric matrices H, shape (B, P, P).
        right: Right sides r, shape (B, P).

    Returns:
        Steps, shape (B, P).

    Source:
        OpenFace ``CLNF::NU_RLMS``, where ``cv::solve`` leaves a zero step behind.
    """
    count = right.shape[1]
    lacking = -count % ALIGNED
    if lacking and right.is_cpu:
        hessian, right = pad(hessian, (0, lacking, 0, lacking)), pad(right, (0, lacking))
        hessian.diagonal(dim1=-2, dim2=-1)[:, count:].fill_(1)
    factor, failed = torch.linalg.cholesky_ex(hessian)
    singular = (failed != 0)[:, None]
    # A failed row must not send NaN back to what the rows share
    if hessian.requires_grad or right.requires_grad:
        identity = torch.eye(hessian.shape[-1], dtype=hessian.dtype, device=hessian.device)
        factor, _ = torch.linalg.cholesky_ex(torch.where(singular[..., None], identity, hessian))
    steps = _back_substituted(factor, right[..., None]).squeeze(-1)[:, :count]
    return steps.masked_fill(singular | ~steps.sum(-1, keepdim=True).isfinite(), 0)


def _back_substituted(factor: Tensor, right: Tensor) -> Tensor:
    """Solutions (B, P, 1) of systems with these right sides (B, P, 1), given their lower Cholesky factors (B, P, P)."""
    if right.is_cpu:
        return torch.cholesky_solve(right, factor)
    # On a card torch may give a batch of `cholesky_solve` to MAGMA, which waits for the card and cannot be captured;
    # these are cuBLAS's
    forward = torch.linalg.solve_triangular(factor, right, upper=False)
    return torch.linalg.solve_triangular(factor.mT, forward, upper=True)
