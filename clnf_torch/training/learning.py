"""Models that learn: how fast, which of their numbers change, and the best state that they were in."""

import math
from typing import Any

import torch
from torch import Tensor, nn

from clnf_torch.models.landmark_model import LandmarkModel


def learnable_experts(model: LandmarkModel) -> list[nn.Parameter]:
    """The floating point numbers of a model's experts, asking for gradients; copies in float32, not in any file."""
    parameters = [parameter for parameter in model.experts.parameters() if parameter.is_floating_point()]
    for parameter in parameters:
        parameter.data = parameter.detach().float().clone()
        parameter.requires_grad_()
    return parameters


def rate_at(step: int, steps: int, highest: float, warm_up: int) -> float:
    """The learning rate of a step: a short rise over the first `warm_up` steps, then half a cosine down to 0."""
    falling = 0.5 + 0.5 * math.cos(math.pi * (step / steps))
    return highest * min(1.0, (step + 1) / warm_up) * falling


class BestState:
    """Remembers the parameters with which an error was smallest."""

    def __init__(self, parameters: list[nn.Parameter], error: float) -> None:
        self._parameters, self.error = parameters, error
        self._best: list[Tensor] = [parameter.detach().clone() for parameter in parameters]

    @torch.no_grad()
    def offer(self, error: float) -> None:
        """Remembers the parameters as they are, if the error is smaller than ever."""
        if error < self.error:
            self.error = error
            for best, parameter in zip(self._best, self._parameters, strict=True):
                best.copy_(parameter)

    def state(self) -> dict[str, Any]:
        """All that a checkpoint must hold."""
        return {"error": self.error, "best": self._best}

    @torch.no_grad()
    def load(self, state: dict[str, Any]) -> None:
        """Goes on from a checkpoint; the parameters stay as they are."""
        self.error = state["error"]
        for best, value in zip(self._best, state["best"], strict=True):
            best.copy_(value)

    @torch.no_grad()
    def restore(self) -> None:
        """Gives the parameters their best values back; they no longer ask for gradients."""
        for best, parameter in zip(self._best, self._parameters, strict=True):
            parameter.copy_(best)
            parameter.requires_grad_(False)
