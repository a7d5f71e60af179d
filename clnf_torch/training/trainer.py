"""Memory that a training frees and needs again at once is kept, instead of being given back each time."""

import ctypes
import math
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from clnf_torch.models.archive import write_atomically
from clnf_torch.models.landmark_model import LandmarkModel


class CheckpointError(ValueError):
    """A checkpoint that does not belong to this training."""


def save_checkpoint(path: Path, task: str, state: dict[str, Any]) -> None:
    """Writes plain values and tensors; the file has its name only once it is complete.

    Args:
        path: Where to.
        task: Says all that must be the same where the training goes on.
        state: What has been reached.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with write_atomically(path) as file:
        torch.save({"task": task, "state": state}, file)


def load_checkpoint(path: Path, task: str) -> dict[str, Any] | None:
    """What was reached before, or None where the file does not exist yet.

    Raises:
        CheckpointError: The file is damaged, or of another training.
    """
    if not path.is_file():
        return None
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        found, state = content["task"], content["state"]
    except Exception as error:
        # torch.load names a dozen exceptions, depending on what the file turns out to be
        raise CheckpointError(f"{path}: expected a checkpoint, found a damaged or another file; remove it") from error
    if found != task:
        raise CheckpointError(
            f"{path}: is a checkpoint of another training ({found}); remove it to begin this one ({task}), "
            "or choose another folder"
        )
    return state


def learnable_experts(model: LandmarkModel) -> list[nn.Parameter]:
    """The floating point numbers of a model's experts, asking for gradients; copies in float32, not in any file."""
    parameters = [parameter for parameter in model.experts.parameters() if parameter.is_floating_point()]
    for parameter in parameters:
        parameter.data = parameter.detach().float().clone()
        parameter.requires_grad_()
    return parameters


def cosine_schedule(step: int, steps: int, highest: float, warm_up: int) -> float:
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


# Parameters of glibc's mallopt
TRIM_THRESHOLD, MMAP_MAX = -1, -4


def keep_freed_memory() -> bool:
    """Tells the C library to keep freed memory for this process; whether it listens.

    A step of training allocates the same large tensors as the one before. Where glibc maps and unmaps them every time,
    a third of the step is spent on zeroing fresh pages; see benchmarks/README.md.
    """
    if sys.platform != "linux":
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        # A C library without it, such as musl
        return False
    return bool(mallopt(MMAP_MAX, 0)) and bool(mallopt(TRIM_THRESHOLD, 2**31 - 1))
