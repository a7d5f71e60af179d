"""Landmarks that lie wrong without any fit: true ones whose pose and shape have been changed."""

from math import pi

import torch
from torch import Tensor

from clnf_torch.models.pdm import PDM
from clnf_torch.models.shape_params import ShapeParams
from clnf_torch.training.dice import Dice

LOST = 0.2  # share of the faces that end anywhere, at any angle and of any size


def disturb(pdm: PDM, params: ShapeParams, dice: Dice) -> Tensor:
    """Landmarks of faces whose pose and shape have been changed a little, much, or beyond all measure.

    Args:
        pdm: The shape model.
        params: Of the faces, B rows.
        dice: Decides.

    Returns:
        Pixels, shape (B, N, 2).
    """
    count, modes = params.local.shape
    lost = dice.chance(LOST, count)

    def changed(deviation: float, *shape: int) -> Tensor:
        """Gaussian numbers, some rows much smaller than others."""
        return dice.normal(deviation, count, *shape) * dice.ratio(0.03, 1, count).view(-1, *[1] * len(shape))

    turn = changed(0.4, 3)
    turn[:, 2] = torch.where(lost, dice.uniform(-pi, pi, count), turn[:, 2])
    size = torch.where(lost, dice.ratio(0.4, 2, count), changed(0.25).exp())
    shift = torch.where(lost[:, None], dice.uniform(-120, 120, count, 2), changed(25, 2))  # millimetres
    bent = pdm.clamp(params.local + changed(1.5, modes) * pdm.variances.sqrt())
    return pdm.landmarks(
        ShapeParams(
            params.scale * size,
            params.rotation + turn,
            params.translation + params.scale[:, None] * shift,
            bent,
        )
    )
