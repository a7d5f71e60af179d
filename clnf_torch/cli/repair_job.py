"""What stays of a repair that is interrupted: the rows so far, and the state that --resume goes on from."""

import contextlib
import io
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
import typer

from clnf_torch.cli.console import add_note, notice
from clnf_torch.cli.manifest import NAME, Manifest, Task
from clnf_torch.cli.options import STDOUT
from clnf_torch.cli.outputs import keep_earlier
from clnf_torch.media.parallel_videos import SAVE_EVERY
from clnf_torch.models.archive_reader import ArchiveError, read_archive
from clnf_torch.models.files import one_line, partial_of, remove_file, write_atomically
from clnf_torch.models.growing_files import GrowingFile, growing_file

FORMAT, VERSION = "clnf_torch repair", 1


class RepairJob:
    """The table that a repair writes, and its state.

    Args:
        table: The file, or stdout, of which nothing stays.
        task: All that decides its contents.
    """

    def __init__(self, table: Path, task: Task) -> None:
        self.table, self.task = table, task
        there = table != STDOUT
        self._state = table.with_name(f"{table.name}.state") if there else None
        self._manifest = Manifest(table.parent / NAME if there else None)
        self._saved_at = time.monotonic()

    def finished(self) -> bool:
        """Whether an earlier run made this table."""
        return bool(self.task.outputs) and self._manifest.finished(self.task) is not None

    def finish(self, result: Mapping[str, Any]) -> None:
        """Enters the finished table, and forgets the state."""
        if self._state is not None:
            self._manifest.add(self.task, result)
            remove_file(self._state)

    def due(self) -> bool:
        """Whether it is time to save."""
        return time.monotonic() - self._saved_at >= SAVE_EVERY

    def save(self, state: Mapping[str, Any]) -> None:
        """Writes the state."""
        self._saved_at = time.monotonic()
        if self._state is not None:
            with write_atomically(self._state) as file:
                torch.save({"format": FORMAT, "version": VERSION, "task": asdict(self.task), **state}, file)

    def load(self) -> dict[str, Any] | None:
        """The state of an interrupted run of this task; says why there is none where it cannot go on."""
        if self._state is None or not self._state.is_file():
            return None
        try:
            content: dict[str, Any] = read_archive(self._state, mmap=False)
            known = (content["format"], content["version"]) == (FORMAT, VERSION)
            reason = self.task.difference(content["task"]) if known else "its state is of another version"
            partial, position = partial_of(self.table), content["position"]
        except (ArchiveError, KeyError, TypeError, AttributeError) as error:
            reason = f"its state cannot be read: {one_line(str(error))[:100]}"
        else:
            if not reason and (not partial.is_file() or partial.stat().st_size < position):
                reason = f"{partial.name} is missing, or shorter than it was"
        if reason:
            notice(f"{self.table}: begins anew: {reason}")
            return None
        notice(f"{self.table}: goes on behind frame {content['done']}")
        return content

    @contextlib.contextmanager
    def growing(self, position: int | None) -> Iterator[GrowingFile]:
        """The table, from a position of its partial file on."""
        if self._state is None:
            yield GrowingFile(printed := io.BytesIO())
            typer.echo(printed.getvalue().decode("utf-8"), nl=False)
            return
        if position is None:
            keep_earlier([self.table])
        try:
            with growing_file(self.table, position) as file:
                yield file
        except BaseException as error:
            if partial_of(self.table).exists():
                add_note(error, f"clnf-torch: unfinished: {partial_of(self.table)}")
            raise
