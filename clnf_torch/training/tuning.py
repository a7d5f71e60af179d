"""Experts that learn on: epoch by epoch, judged by faces that they do not learn from, and kept where they were best."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from clnf_torch.training.cen_recipe import held_out_faces
from clnf_torch.training.dice import Dice
from clnf_torch.training.learning import BestState
from clnf_torch.training.spoiling import Spoiling

LOOKS = 4  # at every held-out face when experts are judged, the same ones each time


@dataclass(frozen=True, kw_only=True)
class TuningConfig:
    """How experts are tuned."""

    epochs: int = 5  # every face once in each, and its mirror image half of the time
    batch: int = 4  # faces in a step
    rate: float = 1e-5  # learning rate of Adam
    held_out: int = 10  # each so-many-th face is judged by, not learned from
    spoiling: Spoiling = field(default_factory=Spoiling)
    seed: int = 0


Loss = Callable[[Tensor, Dice], Tensor]
"""Called with rows of faces, int64 (B,), and dice; how wrong the experts' response maps are, a number."""


@dataclass(frozen=True)
class Losses:
    """How wrong experts are about faces."""

    learn: Loss  # shown in ever other ways
    judge: Loss  # shown as they are


class Tuning:
    """The tuning of the experts of one scale, epoch by epoch.

    Args:
        experts: They learn in place; their parameters ask for gradients.
        losses: How wrong they are.
        rotation: Of the heads, Euler angles in radians, shape (F, 3): faces are held out evenly over their turns.
        config: Settings.
        seed: Of all randomness.
    """

    def __init__(self, experts: nn.Module, losses: Losses, rotation: Tensor, config: TuningConfig, seed: int) -> None:
        self.config, self.losses, self.epoch = config, losses, 0
        self._seed, self._device = seed, rotation.device
        self._learn, self._judges = _split(held_out_faces(rotation, config.held_out))
        self._dice = Dice(torch.Generator().manual_seed(seed), rotation.device)
        self._parameters = list(experts.parameters())
        self._optimiser = torch.optim.Adam(self._parameters, lr=config.rate)
        self.before = self._judged()
        self._best = BestState(self._parameters, self.before)

    @property
    def error(self) -> float:
        """That of the held-out faces at its smallest so far."""
        return self._best.error

    def one_epoch(self) -> None:
        """Shows the experts every face to learn from once, and judges them."""
        order = self._learn[torch.randperm(len(self._learn), generator=self._dice.generator).to(self._device)]
        for rows in order.split(self.config.batch):
            self._optimiser.zero_grad()
            self.losses.learn(rows, self._dice).backward()
            self._optimiser.step()
        self._best.offer(self._judged())
        self.epoch += 1

    def finish(self) -> None:
        """Leaves the experts as they were best; they no longer ask for gradients."""
        self._best.restore()

    def state(self) -> dict[str, Any]:
        """All that a checkpoint must hold."""
        return {
            "epoch": self.epoch,
            "parameters": [parameter.detach() for parameter in self._parameters],
            "best": self._best.state(),
            "optimiser": self._optimiser.state_dict(),
            "generator": self._dice.generator.get_state(),
        }

    @torch.no_grad()
    def restore(self, state: dict[str, Any]) -> None:
        """Goes on from a checkpoint."""
        self.epoch = state["epoch"]
        for parameter, value in zip(self._parameters, state["parameters"], strict=True):
            parameter.copy_(value)
        self._best.load(state["best"])
        self._optimiser.load_state_dict(state["optimiser"])
        self._dice.generator.set_state(state["generator"])

    @torch.no_grad()
    def _judged(self) -> float:
        """The mean error of the faces to judge by."""
        fixed = Dice(torch.Generator().manual_seed(self._seed), self._device)
        rows = self._judges.repeat(LOOKS).split(self.config.batch)
        return float(torch.stack([self.losses.judge(some, fixed) for some in rows]).mean())


def _split(held: Tensor) -> tuple[Tensor, Tensor]:
    """Rows (K,) to learn from and to judge by; where none is held out, or all are, both are all of them."""
    if held.all() or not held.any():
        every = torch.arange(len(held), device=held.device)
        return every, every
    return (~held).nonzero().squeeze(-1), held.nonzero().squeeze(-1)
