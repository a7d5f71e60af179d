"""Checkpoints of trainings: resumed only where settings and data are the same, as their fingerprints tell."""

import hashlib
import inspect
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from clnf_torch.files.archive import LARGEST
from clnf_torch.files.archive_reader import ArchiveError, read_archive
from clnf_torch.files.names import one_line
from clnf_torch.files.reading import InputError, download_in_place, require_regular_file
from clnf_torch.files.writing import write_atomically
from clnf_torch.models.array_schema import Array, like
from clnf_torch.models.schema import Context, Fields, Number, Schema, SchemaError, field, found, refuse

# Of the file; others are refused
LAYOUT = 2
# Of an optimiser
MOST_STEPS = 1e9
# What the trainings of this package call them
CHECKPOINT_NAME = re.compile(r"(shape|end_to_end|validator(_fits)?|eyes|eraser|gaze|(scale|tuned)_\d+|cen_\d+_\d+)\.pt")
# Characters of two tasks that a message shows, from where they begin to differ
SHOWN = 60


class CheckpointError(InputError, ValueError):
    """A checkpoint that is damaged, or does not belong to this training; its message is one short line."""

    def __init__(self, message: str) -> None:
        super().__init__(one_line(message))


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

    def load(self, schema: Schema) -> dict[str, Any] | None:
        """What was reached before, or None where the file does not exist yet.

        Args:
            schema: What a state of this training must be.

        Raises:
            CheckpointError: The file is damaged, of another version, or of another training.
        """
        if not self.path.exists():
            return None
        layout, task, state = self._read()
        if layout != LAYOUT:
            raise CheckpointError(
                f"{self.path}: is a checkpoint of another version of clnf_torch (layout {layout}, expected {LAYOUT}); "
                "remove it to begin anew"
            )
        if task != self.task:
            theirs, ours = _differences(task, self.task)
            raise CheckpointError(
                f"{self.path}: is a checkpoint of another training ({theirs}); remove it to begin this one "
                f"({ours}), or choose another folder"
            )
        try:
            schema.check(state, "state", Context({}))
        except SchemaError as error:
            raise self.damaged(error) from error
        return state

    def damaged(self, error: Exception) -> CheckpointError:
        """The error that says that the checkpoint cannot be used."""
        if download := download_in_place(self.path):
            return CheckpointError(f"{self.path}: expected a checkpoint, found {download}, or remove it")
        return CheckpointError(
            f"{self.path}: expected a checkpoint, found a damaged or another file; remove it ({error})"
        )

    def _read(self) -> tuple[int, str, dict[str, Any]]:
        """Layout, task and state in the file."""
        try:
            require_regular_file(self.path)
            content = read_archive(self.path)
        except (ArchiveError, OSError) as error:
            raise self.damaged(error) from error
        if not isinstance(content, dict) or not isinstance(content.get("task"), str):
            raise self.damaged(ValueError(found(content)))
        layout = content.get("layout", 1)
        if type(layout) is not int or not isinstance(content.get("state"), dict):
            raise self.damaged(ValueError("no state in it"))
        return layout, content["task"], content["state"]


@dataclass(frozen=True)
class OptimiserState(Schema):
    """What an optimiser's ``state_dict`` must be: numbers for parameters of its shapes, and its own settings.

    Attributes:
        optimiser: The optimiser.
    """

    optimiser: torch.optim.Optimizer

    def check(self, value: Any, where: str, context: Context) -> None:
        """See `Schema.check`."""
        own = self.optimiser.state_dict()["param_groups"]
        groups = [{name: like(part) for name, part in group.items() if name != "lr"} for group in own]
        parameters = [parameter for group in self.optimiser.param_groups for parameter in group["params"]]
        names = self._moments()
        kept = {number: _Moments(tuple(parameter.shape), names) for number, parameter in enumerate(parameters)}
        Fields({"state": Fields({}, kept)}).check(value, where, context)
        rows = field(value, "param_groups", where)
        if not isinstance(rows, (list, tuple)) or len(rows) != len(groups) or set(value["state"]) - set(kept):
            raise refuse(f"{where}.param_groups", f"a list of {len(groups)}, for {len(kept)} parameters", rows)
        for number, (row, group) in enumerate(zip(rows, groups, strict=True)):
            Fields({**group, "lr": Number(0, 1e6)}).check(row, f"{where}.param_groups[{number}]", context)

    def _moments(self) -> set[str]:
        """The names of what such an optimiser keeps for a parameter."""
        probe = torch.zeros(1, requires_grad=True)
        probe.grad = torch.zeros(1)
        settings = inspect.signature(type(self.optimiser)).parameters
        own = {name: value for name, value in self.optimiser.defaults.items() if name in settings}
        optimiser = type(self.optimiser)([probe], **own)
        optimiser.step()
        return set(optimiser.state[probe])


@dataclass(frozen=True)
class _Moments(Schema):
    """What an optimiser keeps for a parameter: a count of steps, and moments, of which the second are no negative."""

    shape: tuple[int, ...]
    names: set[str]

    def check(self, value: Any, where: str, context: Context) -> None:
        """See `Schema.check`."""
        moments = {name: Array(*self.shape, low=0 if "sq" in name else -LARGEST) for name in self.names}
        steps = {"step": Array(low=1, high=MOST_STEPS)} if "step" in self.names else {}
        Fields(moments | steps, closed=True).check(value, where, context)


def _differences(one: str, other: str) -> tuple[str, str]:
    """The parts of two tasks in which they differ."""
    same = next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    start = max(0, same - SHOWN // 3)
    return one[start : start + SHOWN], other[start : start + SHOWN]


def fingerprint(*tensors: Tensor) -> str:
    """A short word that differs where the numbers of tensors do."""
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]
