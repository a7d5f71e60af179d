"""Checkpoints of trainings: their bytes or fields are damaged; a training that accepts one goes on to its end."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor, nn

from clnf_torch.training.checkpoint import Checkpoint, CheckpointError
from clnf_torch.training.trainer import EarlyStopping, MovingAverage, Schedule, Task, Trainer
from tests.fuzz.bundles import mutate
from tests.fuzz.formats import Format

ROUNDS = 4


class SmallTask(Task):
    """A small network with all that a training can have: average, early stopping, random numbers."""

    def __init__(self) -> None:
        self.schedule = Schedule(rounds=ROUNDS, learning_rate=0.01, warm_up=2, save_every=2)
        self.generators = (torch.Generator().manual_seed(3),)
        self.module = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 1))
        with torch.no_grad():
            for number, parameter in enumerate(self.module.parameters()):
                parameter.copy_(torch.linspace(-1, 1, parameter.numel()).view_as(parameter) / (number + 1))
        self.optimiser = torch.optim.AdamW(self.module.parameters(), lr=0.01)
        self.average = MovingAverage(self.module, 0.9)
        weights = list(self.module.parameters())
        self.early_stopping = EarlyStopping(weights, lambda: weights[0].detach().square().sum().double())

    def losses(self) -> Iterator[Tensor]:
        inputs = torch.randn(8, 3, generator=self.generators[0])
        yield (self.module(inputs) - inputs.sum(1, keepdim=True)).square().mean()


def prepare(folder: Path) -> list[Path]:
    """A checkpoint after half of the rounds."""
    Trainer(SmallTask()).run("small", Checkpoint(folder / "small.pt", "the task"), until=ROUNDS // 2)
    return [folder / "small.pt"]


def use(path: Path) -> None:
    """Goes on from it."""
    task = SmallTask()
    Trainer(task).run("small", Checkpoint(path, "the task"))
    assert all(value.isfinite().all() for value in task.module.state_dict().values()), "weights that are not finite"


FORMATS = (Format(name="checkpoint", prepare=prepare, use=use, refusals=(CheckpointError,), mutate=mutate, share=2),)
