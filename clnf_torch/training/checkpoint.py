"""What a long training has reached, kept in a file so that it can go on where it was stopped."""

from pathlib import Path
from typing import Any

import torch

from clnf_torch.models.archive import write_atomically


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
    except Exception as error:  # torch.load names a dozen exceptions, depending on what the file turns out to be
        raise CheckpointError(f"{path}: expected a checkpoint, found a damaged or another file; remove it") from error
    if found != task:
        raise CheckpointError(
            f"{path}: is a checkpoint of another training ({found}); remove it to begin this one ({task}), "
            "or choose another folder"
        )
    return state
