"""What joint experts learn by when they are tuned: maps of faces misplaced, bent and spoilt as in their training."""

from functools import partial

from torch import Tensor

from clnf_torch.models.patch_experts.joint import ZOOM, JointExperts
from clnf_torch.training.bending import Bend
from clnf_torch.training.dice import Dice
from clnf_torch.training.joint import JointConfig
from clnf_torch.training.joint_loss import map_loss
from clnf_torch.training.recipe import COARSE, FINE
from clnf_torch.training.samples import Stage, draw_samples
from clnf_torch.training.spoiling import CLEAN, Spoiling
from clnf_torch.training.tuning import Losses


def nearest_config(scale: float) -> JointConfig:
    """The settings that the recipe's experts of about that scale, pixels per millimetre, were trained with."""
    return min((COARSE, FINE), key=lambda config: abs(config.scale - scale))


def joint_losses(experts: JointExperts, stage: Stage, mirror: Tensor, spoiling: Spoiling) -> Losses:
    """Cross-entropies between the experts' maps and Gaussians around the truth; see `map_loss`.

    Args:
        experts: Those of one scale.
        stage: The faces; to be learned from, they are bent, misplaced and spoilt; to be judged by, misplaced alone.
        mirror: Each landmark's partner on the other side of the face, int64, shape (N,).
        spoiling: What happens to the pictures.
    """
    loss = partial(_loss, experts, stage, mirror)
    bend = nearest_config(experts.scale).bend
    return Losses(partial(loss, bend=bend, spoiling=spoiling), partial(loss, bend=Bend(), spoiling=CLEAN))


def _loss(
    experts: JointExperts, stage: Stage, mirror: Tensor, rows: Tensor, dice: Dice, bend: Bend, spoiling: Spoiling
) -> Tensor:
    """The mean over all landmarks of some faces that lie inside their maps."""
    config, zoom = nearest_config(experts.scale), ZOOM * experts.scale
    shown = draw_samples(stage, rows, config.aim, bend, zoom, experts.width, mirror, dice)
    grey = spoiling(shown.grey, shown.landmarks, dice)
    return map_loss(experts.network(grey), shown.landmarks / ZOOM, config.target)
