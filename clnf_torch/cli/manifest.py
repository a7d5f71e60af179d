"""``manifest.json`` beside the outputs of videos: what made which files, and what need not be done again."""

import errno
import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from clnf_torch.models.files import escaped_name, write_atomically

NAME = "manifest.json"
FORMAT, VERSION = "clnf_torch manifest", 1


@dataclass(frozen=True)
class Task:
    """All that decides what the outputs of an input hold.

    Attributes:
        input: The file or folder.
        bytes: Its size; of a folder that of all its files.
        modified: When it was last changed, nanoseconds since 1970; of a folder the last of its files.
        model: SHA-256 of the weights file.
        settings: By option.
        outputs: Files by option.
    """

    input: str
    bytes: int
    modified: int
    model: str
    settings: dict[str, Any]
    outputs: dict[str, str]

    @classmethod
    def of(cls, source: Path, model: str, settings: Mapping[str, Any], outputs: Mapping[str, Path]) -> "Task":
        """The task of a file or folder.

        Raises:
            OSError: It cannot be read.
        """
        files = [file for file in source.iterdir() if file.is_file()] if source.is_dir() else [source]
        status = [file.stat() for file in files]
        return cls(
            input=escaped_name(str(source.resolve())),
            bytes=sum(each.st_size for each in status),
            modified=max((each.st_mtime_ns for each in status), default=0),
            model=model,
            # As they come back from a file: lists, no tuples
            settings=json.loads(json.dumps(dict(settings))),
            outputs={option: escaped_name(str(path.resolve())) for option, path in outputs.items()},
        )

    def difference(self, saved: Mapping[str, Any]) -> str | None:
        """What is no longer as it was saved, in words, or None."""
        if saved.get("input") != self.input:
            return "it is another file"
        if (saved.get("bytes"), saved.get("modified")) != (self.bytes, self.modified):
            return "it has changed"
        if saved.get("model") != self.model:
            return "the model is another one"
        if saved.get("outputs") != self.outputs:
            return "it has other outputs"
        before = saved.get("settings")
        before = before if isinstance(before, dict) else {}
        for name, value in self.settings.items():
            if before.get(name) != value:
                return f"{name} is {value}, not {before.get(name)} as before"
        return None


def file_hash(path: Path) -> str:
    """SHA-256 of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


class Manifest:
    """The entries of a manifest, one for each set of outputs. Entries of other runs stay.

    Args:
        path: The file; None: there is nowhere to put one.

    Raises:
        OSError: A file of that name is something else.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.entries: list[dict[str, Any]] = _read(path) if path is not None and path.exists() else []

    def finished(self, task: Task) -> dict[str, Any] | None:
        """The entry of a task whose outputs are complete and still there."""
        for entry in self.entries:
            if task.difference(entry) is None and all(Path(path).exists() for path in task.outputs.values()):
                return entry
        return None

    def changed(self, task: Task) -> str | None:
        """Why outputs that an earlier run finished are made again, or None where there are none."""
        mine = set(task.outputs.values())
        reasons = [task.difference(entry) for entry in self.entries if mine & set(entry["outputs"].values())]
        return next((reason for reason in reasons if reason), None)

    def add(self, task: Task, result: Mapping[str, Any]) -> None:
        """Enters finished outputs, in place of what those files held before, and writes the file."""
        if self.path is None:
            return
        # Others may have written since
        entries = _read(self.path) if self.path.exists() else []
        mine = set(task.outputs.values())
        kept = [entry for entry in entries if not mine & set(entry["outputs"].values())]
        self.entries = [*kept, {**asdict(task), **result}]
        content = {"format": FORMAT, "version": VERSION, "videos": self.entries}
        with write_atomically(self.path) as file:
            file.write(json.dumps(content, indent=1).encode("ascii") + b"\n")


def _read(path: Path) -> list[dict[str, Any]]:
    """The entries of a manifest."""
    try:
        content = json.loads(path.read_bytes())
        entries: list[dict[str, Any]] = content["videos"]
        known = (content["format"], content["version"]) == (FORMAT, VERSION) and isinstance(entries, list)
        if known and all(isinstance(entry["outputs"], dict) for entry in entries):
            return entries
    except (ValueError, KeyError, TypeError, RecursionError):
        pass
    problem = "expected a manifest of clnf-torch, found another file; move it, or write elsewhere"
    raise OSError(errno.EEXIST, problem, str(path))
