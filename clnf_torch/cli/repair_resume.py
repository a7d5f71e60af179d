"""What stays of a repair that is interrupted: the rows so far, and the state that --resume goes on from."""

import contextlib
import io
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
import typer

from clnf_torch.cli.console import add_note, notice
from clnf_torch.cli.manifest import NAME, Manifest, Task, opened_manifest
from clnf_torch.cli.options import STDOUT
from clnf_torch.cli.output_check import Input, Output, check_outputs
from clnf_torch.cli.outputs import keep_earlier
from clnf_torch.cli.streams import require_stdout
from clnf_torch.files.archive_reader import ArchiveError, read_archive
from clnf_torch.files.growing import SAVE_EVERY, GrowingFile, growing_file
from clnf_torch.files.names import escaped_name, one_line
from clnf_torch.files.writing import partial_of, remove_file, write_atomically

FORMAT, VERSION = "clnf_torch repair", 1


def check_repair(inputs: Sequence[Path], table: Path) -> None:
    """Refuses a table that would overwrite an input, as `check_outputs` does, or has no place for what lies beside it.

    Args:
        inputs: What the command reads.
        table: The file that it writes, or stdout.

    Raises:
        typer.Exit: With code 2, after a line on stderr.
    """
    if table == STDOUT:
        require_stdout("give --csv a file")
    state, manifest = _beside(table)
    named = {"--csv": None if table == STDOUT else table, "the manifest": manifest, "the state of the run": state}
    check_outputs([Input(path) for path in inputs], [Output(what, path) for what, path in named.items() if path])
    opened_manifest(manifest)


def _beside(table: Path) -> tuple[Path | None, Path | None]:
    """Where the state and the manifest of a table are; nowhere for stdout."""
    return (None, None) if table == STDOUT else (table.with_name(f"{table.name}.state"), table.parent / NAME)


class RepairJob:
    """The table that a repair writes, and its state.

    Args:
        table: The file, or stdout, of which nothing stays.
        task: All that decides its contents.
        landmarks: The table that is repaired.
    """

    def __init__(self, table: Path, task: Task, landmarks: Path) -> None:
        self.table, self.task, self._landmarks = table, task, escaped_name(str(landmarks.resolve()))
        self._state, manifest = _beside(table)
        self._manifest = Manifest(manifest)
        self._saved_at = time.monotonic()

    def finished(self) -> bool:
        """Whether an earlier run made this table."""
        return bool(self.task.outputs) and self._manifest.finished(self.task) is not None

    def other_input(self) -> str | None:
        """The video or table of which an earlier run made what is there, finished or not, where it is another one."""
        earlier = list(self._manifest.earlier(self.task))
        with contextlib.suppress(ArchiveError, KeyError, TypeError, AttributeError):
            if self._state is not None and self._state.is_file():
                saved = read_archive(self._state, mmap=False)
                earlier.append({**saved["task"], "table": saved.get("table")})
        for entry in earlier:
            if self.task.is_of_another(entry):
                return str(entry["input"])
            # A table that has changed is the same one, and so is one that was moved
            same = entry["settings"].get("landmarks") == self.task.settings["landmarks"]
            if not same and (table := entry.get("table")) not in {None, self._landmarks}:
                return str(table)
        return None

    def finish(self, result: Mapping[str, Any]) -> None:
        """Enters the finished table, and forgets the state."""
        if self._state is not None:
            self._manifest.add(self.task, {**result, "table": self._landmarks})
            remove_file(self._state)

    def due(self) -> bool:
        """Whether it is time to save."""
        return time.monotonic() - self._saved_at >= SAVE_EVERY

    def save(self, state: Mapping[str, Any]) -> None:
        """Writes the state."""
        self._saved_at = time.monotonic()
        if self._state is not None:
            with write_atomically(self._state) as file:
                saved = {"format": FORMAT, "version": VERSION, "task": asdict(self.task), "table": self._landmarks}
                torch.save({**saved, **state}, file)

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
            typer.echo(printed.getvalue(), nl=False)
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
