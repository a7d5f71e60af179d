"""Trained CEN experts as the bundle stores them: each mirrored expert once, numbered view by view."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from clnf_torch.models.pdm import PDM
from clnf_torch.training.cen_samples import SUPPORT
from clnf_torch.training.cen_training import TrainedExperts
from clnf_torch.training.cen_views import CenViews


def left_half(pdm: PDM, mirror: Tensor) -> Tensor:
    """Landmarks in the picture's left half of a frontal face, and those that are their own partners; bool, (N,)."""
    across = pdm.mean.detach()[:, 0].to(mirror.device)
    return (across < across[mirror]) | (mirror == torch.arange(len(mirror), device=mirror.device))


def landmarks_to_train(views: CenViews, view: int, left: Tensor, mirror: Tensor) -> Tensor:
    """The landmarks that have experts of their own in a trained view, int64, shape (E,).

    In the frontal view one of two mirrored landmarks has, and those that serve both come first.
    """
    seen = views.visible(left, mirror)[view]
    if views.yaws[view]:
        return seen.nonzero().squeeze(-1)
    single = mirror == torch.arange(len(mirror), device=mirror.device)
    return torch.cat([(left & ~single).nonzero(), single.nonzero()]).squeeze(-1)


def cen_record(
    scale: float, views: CenViews, left: Tensor, mirror: Tensor, trained: Mapping[int, TrainedExperts]
) -> dict[str, Any]:
    """The record of one scale; `converters/README.md` describes it.

    Args:
        scale: Pixels per millimetre.
        views: The views.
        left: See `left_half`.
        mirror: Each landmark's partner on the other side of the face, int64, shape (N,).
        trained: The experts of each trained view, in the order of `landmarks_to_train`.
    """
    visible = views.visible(left, mirror)
    expert = torch.full(visible.shape, -1)
    flipped, confidence = torch.zeros_like(visible), torch.zeros(visible.shape, dtype=torch.float64)
    start = 0
    for view in views.trained:
        at, twin = landmarks_to_train(views, view, left, mirror), views.mirror[view]
        numbers = torch.arange(start, start + len(at))
        start += len(at)
        for row, landmarks, mirrored in ((twin, mirror[at], True), (view, at, False)):  # own experts take precedence
            expert[row, landmarks], flipped[row, landmarks] = numbers, mirrored
            confidence[row, landmarks] = trained[view].confidence
    stacks = [trained[view].stack for view in views.trained]
    layers = range(len(stacks[0].weights))
    return {
        "family": "cen",
        "scale": scale,
        "support": SUPPORT,
        "view_centers": views.centers,
        "visible": visible,
        "confidence": confidence,
        "expert": expert,
        "flipped": flipped,
        "stacks": [
            {
                "activations": list(stacks[0].activations),
                "weights": [torch.cat([stack.weights[k].detach() for stack in stacks]) for k in layers],
                "biases": [torch.cat([stack.biases[k].detach() for stack in stacks]) for k in layers],
            }
        ],
    }
