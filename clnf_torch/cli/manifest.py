"""``manifest.json`` beside outputs: what made which files, and which videos need not be done again."""

import errno
import hashlib
import json
import os
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import typer

from clnf_torch.cli.console import complain
from clnf_torch.cli.images.entries import drawings_of, files_of, images_by_output, inputs_without_face, without
from clnf_torch.files.locks import locked_folder
from clnf_torch.files.names import escaped_name, name_from_escaped
from clnf_torch.files.reading import download_in_place
from clnf_torch.files.writing import shared_partial_of, write_atomically

NAME = "manifest.json"
FORMAT, VERSION = "clnf_torch manifest", 1
# Of entries: one for each video, or for all images of a run
KINDS = VIDEOS, IMAGES = "videos", "images"
# In the place of an output, where a task writes to stdout alone
NO_FILE = ""
# Bytes of a file that are compared where its time has changed, and how many times so many
BLOCK, BLOCKS = 1 << 16, 16
# What to do where --skip-existing meets outputs that were made of something else
KEEP_OR_REPLACE = "leave out --skip-existing to replace them, or give another folder or name"


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
        content: See `content_of`; `with_content` reads it. None of a folder, and in what was written before that.
    """

    input: str
    bytes: int
    modified: int
    model: str
    settings: dict[str, Any]
    outputs: dict[str, str]
    content: str | None = None

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
            settings=as_written(settings),
            outputs={option: escaped_name(str(path.resolve())) for option, path in outputs.items()},
        )

    def with_content(self) -> "Task":
        """The task with its input's contents, which only those need that are entered: reading them takes time."""
        return replace(self, content=content_of(Path(name_from_escaped(self.input))))

    def is_done(self) -> bool:
        """Whether all outputs are there."""
        return all(os.path.exists(name_from_escaped(path)) for path in self.outputs.values())

    def is_of_another(self, saved: Mapping[str, Any]) -> bool:
        """Whether something was saved of another file, not of this one as it is, was, or lay elsewhere."""
        if (other := saved.get("input")) is None or other == self.input:
            return False
        same_name = Path(str(other)).name == Path(self.input).name
        return not same_name or not self.is_as(saved)

    def difference(self, saved: Mapping[str, Any]) -> str | None:
        """What is no longer as it was saved, in words, or None."""
        if saved.get("input") != self.input:
            return "it is another file"
        if not self.is_as(saved):
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

    def is_as(self, saved: Mapping[str, Any]) -> bool:
        """Whether the input is as it was saved, see `is_same_content`."""
        return is_same_content(saved, asdict(self), Path(name_from_escaped(self.input)))


def file_hash(path: Path) -> str:
    """SHA-256 of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def content_of(path: Path) -> str | None:
    """SHA-256 of blocks of a file, evenly spread, and of its end; small files are read whole. None: it cannot be read.

    Of a long video that is enough to tell another one of its size, and takes no time.
    """
    # What is read from pipes is gone
    if not path.is_file():
        return None
    size, digest = path.stat().st_size, hashlib.sha256()
    try:
        with path.open("rb") as file:
            for start in (*range(0, size, max(BLOCK, size // BLOCKS)), max(0, size - BLOCK)):
                file.seek(start)
                digest.update(file.read(BLOCK))
    except OSError:
        return None
    return digest.hexdigest()


def is_same_content(saved: Mapping[str, Any], found: Mapping[str, Any], path: Path) -> bool:
    """Whether a file is as it was saved: of the same size, and of the same time or, as copies, of the same contents.

    Args:
        saved: Its "bytes", "modified" and "content" as they were.
        found: The former two as they are.
        path: The file, which is read only where its size alone agrees.
    """
    if saved.get("bytes") != found.get("bytes"):
        return False
    content = saved.get("content")
    return saved.get("modified") == found.get("modified") or (content is not None and content == content_of(path))


@dataclass(frozen=True)
class _Entry:
    """An entry, and as it stands in the file: of thousands, each is written again with every other."""

    content: dict[str, Any]

    @cached_property
    def text(self) -> str:
        return json.dumps(self.content, indent=1).replace("\n", "\n  ")


class Manifest:
    """The entries of a manifest, one for each set of outputs. Entries of other runs stay.

    Args:
        path: The file; None: there is nowhere to put one.

    Raises:
        OSError: A file of that name is something else.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self._seen: tuple[int, ...] | None = None
        self._read()

    def finished(self, task: Task) -> dict[str, Any] | None:
        """The entry of a task whose outputs are complete and still there."""
        for entry in self._about(task):
            if task.difference(entry) is None and task.is_done():
                return entry
        return None

    def changed(self, task: Task) -> str | None:
        """Why outputs that an earlier run finished are made again, or None where there are none."""
        reasons = [task.difference(entry) for entry in self._about(task) if task.outputs]
        return next((reason for reason in reasons if reason), None)

    def other_input(self, task: Task) -> str | None:
        """The file from which an earlier run made outputs that are there, where it is another one than the task's.

        One of the same name and contents is the same, moved or copied.
        """
        return next((str(entry["input"]) for entry in self.earlier(task) if task.is_of_another(entry)), None)

    def made_of(self, task: Task) -> str | None:
        """What outputs that are there were made of, in words, where that is not the task's file as it is now."""
        if other := self.other_input(task):
            return other
        mine = [entry for entry in self.earlier(task) if entry.get("input") == task.input]
        changed = any(not task.is_as(entry) for entry in mine)
        return "it before it changed" if changed else None

    def earlier(self, task: Task) -> Iterator[dict[str, Any]]:
        """The entries of which outputs of a task are there, whatever made them."""
        for entry in self._about(task):
            shared = set(task.outputs.values()) & set(entry["outputs"].values())
            if any(os.path.exists(name_from_escaped(path)) for path in shared):
                yield entry

    def complete(self) -> list[dict[str, Any]]:
        """The entries of videos all of whose outputs are there, as they were entered."""
        return [
            entry
            for entry in self._of(VIDEOS)
            if all(os.path.exists(name_from_escaped(path)) for path in entry["outputs"].values())
        ]

    def drawings(self) -> set[str]:
        """The images and videos that were drawn, as they stand in the file."""
        found = (drawings_of(entry) for kind in KINDS for entry in self._of(kind))
        return set[str]().union(*found)

    def images_by_output(self) -> dict[str, list[dict[str, Any]]]:
        """The images that each table and drawing of runs over images was made of, as they were entered."""
        return images_by_output(self._of(IMAGES))

    def images_without_face(self, model: str, settings: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """Images, as they were entered, in which this model found no face with these settings; others may find one.

        Args:
            model: SHA-256 of the weights file.
            settings: By option; an entry may have further ones.
        """
        return inputs_without_face(self._of(IMAGES), model, as_written(settings))

    def add(self, task: Task, result: Mapping[str, Any]) -> dict[str, Any]:
        """Enters the finished outputs of a video, and gives the entry."""
        self.enter(VIDEOS, entry := {**asdict(task), **result})
        return entry

    def enter(self, kind: str, entry: dict[str, Any]) -> None:
        """Enters finished outputs, in place of what those files held before, and writes the file.

        Args:
            kind: `VIDEOS` or `IMAGES`.
            entry: Has "outputs", files by option; of images "inputs", with a "drawing" or "outputs" of their own each.
        """
        if self.path is None:
            return
        with locked_folder(self.path.parent) as locked:
            # Others may have written since
            if _state(self.path) != self._seen:
                self._read()
            self._leave_out(entry)
            self._add(kind, entry)
            with write_atomically(self.path, shared_partial_of(self.path, locked)) as file:
                file.write(self._text().encode("ascii"))
            self._seen = _state(self.path)

    def _read(self) -> None:
        """Knows what the file holds, and nothing else."""
        self._seen = _state(self.path)
        entries = _entries_in(self.path)
        # By numbers that rise, so that some can be left out
        self._entries: dict[str, dict[int, _Entry]] = {kind: {} for kind in KINDS}
        self._videos_by_file, self._count = defaultdict[str, set[int]](set), 0
        for kind in KINDS:
            for entry in entries[kind]:
                self._add(kind, entry)

    def _add(self, kind: str, entry: dict[str, Any]) -> None:
        """Knows an entry too."""
        self._entries[kind][self._count] = _Entry(entry)
        if kind == VIDEOS:
            for file in files_of(entry) or [NO_FILE]:
                self._videos_by_file[file].add(self._count)
        self._count += 1

    def _leave_out(self, newer: dict[str, Any]) -> None:
        """Forgets what a newer entry replaces."""
        for file in files_of(newer):
            for number in self._videos_by_file.pop(file, ()):
                self._entries[VIDEOS].pop(number, None)
        for number, entry in list(self._entries[IMAGES].items()):
            left = without(entry.content, newer)
            if left is None:
                del self._entries[IMAGES][number]
            elif left is not entry.content:
                self._entries[IMAGES][number] = _Entry(left)

    def _of(self, kind: str) -> list[dict[str, Any]]:
        """The entries of a kind, in their order."""
        return [entry.content for entry in self._entries[kind].values()]

    def _text(self) -> str:
        """What the file holds."""
        lines = [json.dumps({"format": FORMAT, "version": VERSION}, indent=1).removesuffix("\n}")]
        for kind, entries in self._entries.items():
            if entries:
                lines.append(f' "{kind}": [\n  ' + ",\n  ".join(entry.text for entry in entries.values()) + "\n ]")
        return ",\n".join(lines) + "\n}\n"

    def _about(self, task: Task) -> list[dict[str, Any]]:
        """The entries of videos with a file of a task, in their order; of a task without files those without, too."""
        files = task.outputs.values() or [NO_FILE]
        numbers = {number for file in files for number in self._videos_by_file.get(file, ())}
        return [self._entries[VIDEOS][number].content for number in sorted(numbers) if number in self._entries[VIDEOS]]


def as_written(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as they come back from a file: lists, no tuples."""
    found: dict[str, Any] = json.loads(json.dumps(dict(settings)))
    return found


def opened_manifest(path: Path | None) -> Manifest:
    """The manifest at a place; refuses one that another file has.

    Raises:
        typer.Exit: With code 2, after a line on stderr.
    """
    try:
        return Manifest(path)
    except OSError as error:
        complain(f"{path}: {error.strerror}")
        raise typer.Exit(2) from None


def _state(path: Path | None) -> tuple[int, ...] | None:
    """What changes with a file, None where it is missing."""
    try:
        status = None if path is None else path.stat()
    except OSError:
        return None
    return status and (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def _entries_in(path: Path | None) -> dict[str, list[dict[str, Any]]]:
    """The entries of a manifest by their kinds."""
    if path is None or not path.exists():
        return {kind: [] for kind in KINDS}
    try:
        content = json.loads(path.read_bytes())
        found: dict[str, list[dict[str, Any]]] = {kind: content.get(kind, []) for kind in KINDS}
        entries = [entry for kind in KINDS for entry in found[kind]]
        if (content["format"], content["version"]) == (FORMAT, VERSION) and all(map(_is_entry, entries)):
            return found
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        pass
    download = download_in_place(path)
    found_instead = f"{download}, or" if download else "another file; move it, or"
    problem = f"expected a manifest of clnf-torch, found {found_instead} write elsewhere"
    raise OSError(errno.EEXIST, problem, str(path))


def _is_entry(entry: Mapping[str, Any]) -> bool:
    """Whether an entry has what is looked at; may raise for what is none at all."""
    return isinstance(entry["outputs"], dict) and all(isinstance(name, str) for name in files_of(entry))
