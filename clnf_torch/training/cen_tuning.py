"""What CEN experts learn by when they are tuned: ideal response maps near their landmarks and farther away."""

from functools import partial

import torch
from torch import Tensor

from clnf_torch.models.numerics import EXACT
from clnf_torch.models.patch_experts.cen import CENExperts
from clnf_torch.training.cen_samples import FAR, NEAR, UprightFaces, gaussian_maps
from clnf_torch.training.cen_views import ViewRows
from clnf_torch.training.dice import Dice
from clnf_torch.training.spoiling import CLEAN, Spoiling
from clnf_torch.training.tuning import Losses

WINDOW = 9  # side of the response maps that are compared with what they should be
SIGMA = 1.0  # width of what the experts should answer, reference pixels
NEAR_BY = 0.5  # share of the areas that lie near their landmark


def cen_losses(experts: CENExperts, faces: UprightFaces, rotation: Tensor, spoiling: Spoiling) -> Losses:
    """Mean squared differences between response maps and Gaussians around the truth.

    Args:
        experts: Those of one scale.
        faces: F faces in the reference frame of that scale.
        rotation: Of their heads, shape (F, 3).
        spoiling: What happens to the pictures that are learned from.
    """
    loss = partial(_loss, experts, faces, rotation)
    return Losses(partial(loss, spoiling=spoiling), partial(loss, spoiling=CLEAN))


def _loss(
    experts: CENExperts, faces: UprightFaces, rotation: Tensor, rows: Tensor, dice: Dice, spoiling: Spoiling
) -> Tensor:
    """The mean over the visible landmarks of some faces, half of which are mirrored."""
    landmarks = faces.landmarks.shape[1]
    flip = dice.chance(0.5, len(rows))
    turned = torch.where(flip[:, None], rotation[rows] * rotation.new_tensor([1.0, -1.0, -1.0]), rotation[rows])
    view = experts.nearest_view(turned)
    away = torch.where(dice.chance(NEAR_BY, len(rows), 1, 1), NEAR, FAR)
    offsets = (dice.normal(1, len(rows), landmarks, 2) * away).round()
    level = int(dice.choice(len(faces.levels), 1))
    every = torch.arange(landmarks, device=rows.device)
    width = WINDOW + experts.support - 1
    areas = faces.cut(ViewRows(rows, flip), offsets, every, level, spoiling, dice, width)
    wrong = (experts(areas, view, EXACT) - gaussian_maps(offsets, WINDOW, SIGMA)).square().mean((-2, -1))
    seen = experts.visible[view]
    return (wrong * seen).sum() / seen.sum().clamp(min=1)
