"""What stays of an evaluation that is interrupted: the faces so far, from which --resume goes on."""

import contextlib
import hashlib
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from clnf_torch.cli.console import add_note, notice
from clnf_torch.cli.manifest import Task, file_hash
from clnf_torch.cli.options import STDOUT
from clnf_torch.files.archive_reader import ArchiveError, read_archive
from clnf_torch.files.growing import SAVE_EVERY, GrowingFile, growing_file
from clnf_torch.files.names import escaped_name, one_line
from clnf_torch.files.writing import partial_of, remove_file, write_atomically
from clnf_torch.geometry.landmarks68 import NUM_LANDMARKS
from clnf_torch.geometry.records import join_rows
from clnf_torch.training.checkpoint import fingerprint
from clnf_torch.training.data.annotations import Annotations
from clnf_torch.training.evaluation.annotated import FoundFaces

FORMAT, VERSION = "clnf_torch evaluation", 2


def state_of(outputs: Sequence[Path | None]) -> Path | None:
    """Where the state of an evaluation lies: beside the first of its outputs; None where there are none but stdout."""
    first = next((path for path in outputs if path is not None and path != STDOUT), None)
    return first and first.with_name(f"{first.name}.state")


def evaluation_task(
    faces: Annotations, data: Path, model: Path, settings: Mapping[str, Any], errors: Path | None
) -> Task:
    """All that decides what is found on annotated faces.

    Args:
        faces: The faces.
        data: Their folder.
        model: The weights file.
        settings: By option.
        errors: The table of errors, if it is asked for.
    """
    # Whoever reads a missing one says so
    status = [os.stat(image) for image in faces.images if os.path.exists(image)]
    names = hashlib.sha256("\0".join(escaped_name(str(image)) for image in faces.images).encode()).hexdigest()
    return Task(
        input=escaped_name(str(data.resolve())),
        bytes=sum(one.st_size for one in status),
        modified=max((one.st_mtime_ns for one in status), default=0),
        model=file_hash(model),
        settings={**settings, "annotations": fingerprint(faces.landmarks), "images": names},
        outputs={"--errors": escaped_name(str(errors.resolve()))} if errors is not None else {},
    )


class EvaluationRun:
    """The landmarks that were found so far, in each of some passes over the same faces, and their saved state.

    It also holds how light the skin of these faces looks, parts of (F,) degrees: see `skin_angles`.

    Args:
        state: The file of the state; None: nothing can be saved.
        task: All that decides what is found.
        passes: Their names.
    """

    def __init__(self, state: Path | None, task: Task, passes: Sequence[str]) -> None:
        self._state, self._task, self._saved_at = state, task, time.monotonic()
        none = FoundFaces(
            landmarks=torch.zeros(0, NUM_LANDMARKS, 2, dtype=torch.float32, device="cpu"),
            success=torch.zeros(0, dtype=torch.bool, device="cpu"),
        )
        self.found: dict[str, list[FoundFaces]] = {name: [none] for name in passes}
        self.skin, self.done = [torch.zeros(0, dtype=torch.float32, device="cpu")], 0
        # Bytes of the table of errors that belong to these faces; None: it begins anew
        self.position: int | None = None

    def add(self, found: Mapping[str, FoundFaces], skin: Tensor, position: int) -> None:
        """Takes the next faces, in every pass, their skin, and how long the table is with them; saves now and then."""
        for name, some in found.items():
            self.found[name].append(some)
        self.skin.append(skin)
        self.done, self.position = sum(len(some.success) for some in self.found[name]), position
        if time.monotonic() - self._saved_at >= SAVE_EVERY:
            self.save()

    def faces(self, name: str) -> FoundFaces:
        """All faces of a pass."""
        return join_rows(*self.found[name])

    def save(self) -> None:
        """Writes the state."""
        self._saved_at = time.monotonic()
        if self._state is None or not self.done:
            return
        found = {name: vars(self.faces(name)) for name in self.found}
        content = {"task": asdict(self._task), "done": self.done, "position": self.position, "found": found}
        content["skin"] = torch.cat(self.skin)
        with write_atomically(self._state) as file:
            torch.save({"format": FORMAT, "version": VERSION, **content}, file)

    def load(self, errors: Path | None) -> None:
        """Goes back to what an interrupted run of this task saved; says why not where it cannot.

        Args:
            errors: The table of errors, of which the partial file must be as long as it was.
        """
        if self._state is None or not self._state.is_file():
            return
        try:
            content = read_archive(self._state, mmap=False)
            reason = self._take(content, errors)
        except (ArchiveError, KeyError, TypeError, AttributeError) as error:
            reason = f"its state cannot be read: {one_line(str(error))[:100]}"
        if reason:
            notice(f"{self._state}: the evaluation begins anew: {reason}")
            return
        notice(f"{self._state}: the evaluation goes on behind {self.done} faces")

    def _take(self, content: Mapping[str, Any], errors: Path | None) -> str | None:
        """Goes back to what was saved; or says why not, and leaves all as it is."""
        if (content["format"], content["version"]) != (FORMAT, VERSION):
            return "its state is of another version"
        if reason := self._task.difference(content["task"]):
            return reason
        partial, position, done = errors and partial_of(errors), content["position"], content["done"]
        found = {name: [FoundFaces(**content["found"][name])] for name in self.found}
        skin = [content["skin"]]
        if any(len(some) != done for some in (*skin, *(one[0].success for one in found.values()))):
            return "its state is damaged"
        if partial and (not partial.is_file() or partial.stat().st_size < position):
            return f"{partial.name} is missing, or shorter than it was"
        self.found, self.skin, self.done, self.position = found, skin, done, position
        return None

    @contextlib.contextmanager
    def kept(self, errors: Path | None) -> Iterator[GrowingFile | None]:
        """The table of errors, which grows; whatever ends the block but success leaves it and the state.

        Args:
            errors: The table, if it is asked for.
        """
        try:
            with contextlib.nullcontext() if errors is None else growing_file(errors, self.position) as file:
                yield file
        except BaseException as error:
            self.save()
            if self._state is not None and self.done:
                where = partial_of(errors) if errors is not None else self._state
                add_note(error, f"clnf-torch: unfinished: {where}; {self.done} faces are done, --resume goes on")
            raise

    def remove(self) -> None:
        """Forgets the state."""
        if self._state is not None:
            remove_file(self._state)
