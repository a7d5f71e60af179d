"""Non-uniform regularised landmark mean shift: the inner loop of the fit, at one scale."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.functional import pad

from clnf_torch.fitting.config import ScaleConfig
from clnf_torch.fitting.gauss_newton import normal_equations, solve
from clnf_torch.fitting.mean_shift import mean_shift
from clnf_torch.fitting.responses import ResponseField
from clnf_torch.models.pdm import PDM, PosedShape, ShapeParams

# Parameters before the shape coefficients: scale, three turns, x, y
POSE = 6


@dataclass(frozen=True)
class RlmsResult:
    """Where NU-RLMS ended."""

    params: ShapeParams
    positions: Tensor  # (B, N, 2) the landmarks in their maps when the last step was computed


def nu_rlms(
    pdm: PDM,
    start: ShapeParams,
    field: ResponseField,
    config: ScaleConfig,
    *,
    rigid: bool,
    kernel_step: float | None,
) -> RlmsResult:
    """Move faces to where their response maps and the shape prior agree.

    Rows stop by themselves: one whose landmarks moved less than the tolerance keeps its parameters while others go on.

    Args:
        pdm: The shape model.
        start: Parameters to begin with.
        field: The response maps.
        config: Iterations, kernel width, weight of the prior, and tolerance.
        rigid: Change the pose alone, without prior.
        kernel_step: See `mean_shift`.

    Source:
        OpenFace ``CLNF::NU_RLMS``.
    """
    shape, positions, previous = PosedShape.of(start), None, None
    moving = torch.ones_like(start.scale, dtype=torch.bool)
    prior, limit = _prior(pdm, config.regularisation), pdm.local_limit
    prior_matrix = prior.diag_embed()
    for _ in range(config.iterations):
        landmarks, jacobian = pdm.landmarks_and_jacobian(shape, rigid)
        if previous is not None and config.tolerance > 0:
            moving = moving & (torch.linalg.vector_norm(landmarks - previous, dim=(-2, -1)) >= config.tolerance)
        current = field.positions(landmarks)
        positions = current if positions is None else torch.where(moving[:, None, None], current, positions)
        shift = torch.bmm(mean_shift(field.responses, current, config.sigma, kernel_step), field.to_image.mT)
        hessian, right = normal_equations(jacobian, field.weight, shift)
        if not rigid:
            hessian, right = hessian + prior_matrix, right - prior * pad(shape.local, (POSE, 0))
        stepped = shape.step(solve(hessian, right).masked_fill(~moving[:, None], 0))
        shape, previous = replace(stepped, local=stepped.local.clamp(-limit, limit)), landmarks
    assert positions is not None
    return RlmsResult(shape.params(), positions)


def _prior(pdm: PDM, regularisation: Tensor | float) -> Tensor:
    """Weight of the shape prior on each parameter, shape (1 or B, P): 0 on the pose, less on modes that vary much."""
    strength = torch.as_tensor(regularisation, dtype=pdm.variances.dtype, device=pdm.variances.device)
    return pad(strength.reshape(-1, 1) / pdm.variances, (POSE, 0))
