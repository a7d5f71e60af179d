"""Non-uniform regularised landmark mean shift: the inner loop of the fit, at one scale."""

from dataclasses import replace

import torch
from torch import Tensor

from clnf_torch.compilation.conditions import recorded
from clnf_torch.fitting import compiled
from clnf_torch.fitting.config import FitConfig, value_at
from clnf_torch.fitting.gauss_newton import gauss_newton_step
from clnf_torch.fitting.mean_shift import mean_shift
from clnf_torch.fitting.responses import ResponseField
from clnf_torch.models.pdm import PDM, PosedShape, ShapeParams


def search_responses(
    pdm: PDM, start: ShapeParams, field: ResponseField, config: FitConfig, kernel_step: float | None
) -> tuple[Tensor, ShapeParams, Tensor]:
    """A rigid search, and from where it ends a non-rigid one; compiled kernels do both where they can.

    Args:
        pdm: The shape model.
        start: Parameters to begin with.
        field: The response maps.
        config: The settings at this scale: see `FitConfig.at_scale`.
        kernel_step: See `mean_shift`.

    Returns:
        Scale after the rigid search, shape (B,); the parameters after the non-rigid one; and where landmarks were in
        their maps before its last step, cells, shape (B, N, 2).
    """
    prior = config.regularisation
    learned = isinstance(prior, Tensor) and recorded(prior)
    numbers = (*vars(start).values(), *vars(field).values(), pdm.mean, pdm.modes, pdm.variances)
    if not learned and compiled.usable(*numbers):
        own = compiled.kernels(start.scale.device)
        found: tuple[Tensor, ShapeParams, Tensor] = own.search_responses(pdm, start, field, config, kernel_step)
        return found
    rigid, _ = nu_rlms(pdm, PosedShape.of(start), field, config, rigid=True, kernel_step=kernel_step)
    shape, positions = nu_rlms(pdm, rigid, field, config, rigid=False, kernel_step=kernel_step)
    return rigid.scale, shape.params(), positions


def nu_rlms(
    pdm: PDM,
    start: PosedShape,
    field: ResponseField,
    config: FitConfig,
    *,
    rigid: bool,
    kernel_step: float | None,
) -> tuple[PosedShape, Tensor]:
    """Move faces to where their response maps and the shape prior agree.

    Rows stop by themselves: one whose landmarks moved less than the tolerance keeps its parameters while others go on.

    Args:
        pdm: The shape model.
        start: Pose and shape to begin with.
        field: The response maps.
        config: The settings at this scale: see `FitConfig.at_scale`.
        rigid: Change the pose alone, without prior.
        kernel_step: See `mean_shift`.

    Returns:
        Pose and shape after the last step, and where landmarks were in their maps before it, cells, shape (B, N, 2).

    Source:
        OpenFace ``CLNF::NU_RLMS``.
    """
    shape, positions, previous = start, None, None
    moving = torch.ones_like(start.scale, dtype=torch.bool)
    sigma, limit = value_at(config.sigma, 0), pdm.local_limit
    precision = None if rigid else config.prior_precision(pdm.variances)
    for _ in range(config.iterations):
        landmarks, jacobian = pdm.landmarks_and_jacobian(shape, rigid)
        if previous is not None and config.tolerance > 0:
            moving = moving & (torch.linalg.vector_norm(landmarks - previous, dim=(-2, -1)) >= config.tolerance)
        current = field.positions(landmarks)
        positions = current if positions is None else torch.where(moving[:, None, None], current, positions)
        shift = torch.bmm(mean_shift(field.responses, current, sigma, kernel_step), field.to_image.mT)
        step = gauss_newton_step(jacobian, field.weight, shift, precision, shape.local)
        stepped = shape.step(step.masked_fill(~moving[:, None], 0))
        shape, previous = replace(stepped, local=stepped.local.clamp(-limit, limit)), landmarks
    assert positions is not None
    return shape, positions
