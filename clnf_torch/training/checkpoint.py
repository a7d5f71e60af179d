"""Checkpoints of trainings: resumed only where settings and data are the same, as their fingerprints tell."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from clnf_torch.models.files import write_atomically

# Of the file; others are refused
LAYOUT = 2


class CheckpointError(ValueError):
    """A checkpoint that does not belong to this training."""


@dataclass(frozen=True)
class Checkpoint:
    """The file of a training's state: plain values and tensors."""

    path: Path
    task: str  # settings and the fingerprint of the data: all that must be the same where the training is resumed

    @classmethod
    def within(cls, folder: Path | None, name: str, task: str) -> "Checkpoint | None":
        """The checkpoint of that name in a folder; None where there is no folder."""
        return cls(folder / f"{name}.pt", task) if folder else None

    def save(self, state: dict[str, Any]) -> None:
        """Writes what has been reached; the file has its name only once it is complete."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with write_atomically(self.path) as file:
            torch.save({"layout": LAYOUT, "task": self.task, "state": state}, file)

    def load(self) -> dict[str, Any] | None:
        """What was reached before, or None where the file does not exist yet.

        Raises:
            CheckpointError: The file is damaged, of another version, or of another training.
        """
        if not self.path.is_file():
            return None
        try:
            content = torch.load(self.path, map_location="cpu", weights_only=True)
            layout, task, state = content.get("layout", 1), content["task"], content["state"]
        except Exception as error:
            # torch.load names a dozen exceptions, depending on what the file turns out to be
            raise CheckpointError(
                f"{self.path}: expected a checkpoint, found a damaged or another file; remove it"
            ) from error
        if layout != LAYOUT:
            raise CheckpointError(
                f"{self.path}: is a checkpoint of another version of clnf_torch (layout {layout}, expected {LAYOUT}); "
                "remove it to begin anew"
            )
        if task != self.task:
            raise CheckpointError(
                f"{self.path}: is a checkpoint of another training ({task}); remove it to begin this one "
                f"({self.task}), or choose another folder"
            )
        return state


def fingerprint(*tensors: Tensor) -> str:
    """A short word that differs where the numbers of tensors do."""
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]
