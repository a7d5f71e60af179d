"""The check of a command's outputs before anything is read: none is an input or another output, each can be written."""

import contextlib
import os
import stat
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import islice
from pathlib import Path

import typer

from clnf_torch.cli.console import complain
from clnf_torch.cli.options import STDOUT
from clnf_torch.files.reading import InputError, require_regular_file
from clnf_torch.files.writing import NEW, PARTIAL, new_partial_of, partial_of, target_of
from clnf_torch.media.image_folder import image_files

# To the name of a file until it is complete
LONGEST_ADDITION = f"{PARTIAL}.{NEW}"
# By their numbers
STREAMS = {1: "stdout", 2: "stderr"}
# Names of a folder by which it is judged
LOOKED_AT = 20


@dataclass(frozen=True)
class Input:
    """A file or folder that a command reads.

    Attributes:
        path: Where it is; it may be missing.
        files: Lists what a command reads of a folder.
    """

    path: Path
    files: Callable[[Path], Iterable[Path]] = image_files


@dataclass(frozen=True)
class Output:
    """A file or folder that a command writes.

    Attributes:
        option: By which it was given.
        path: Where it is going to be.
        folder: Whether it is a folder, which is made where it is missing.
    """

    option: str
    path: Path
    folder: bool = False

    def __str__(self) -> str:
        return f"{self.option} {self.path}"


@dataclass(frozen=True)
class _Stream:
    """A stream that the caller has redirected into a file.

    Attributes:
        name: What it is called.
        identity: The device and number of the file.
    """

    name: str
    identity: tuple[int, int]

    def __str__(self) -> str:
        return self.name


def _redirected() -> Iterator[_Stream]:
    """The streams that go into files, each file once."""
    seen = set[tuple[int, int]]()
    for number, name in STREAMS.items():
        # A closed one goes nowhere
        with contextlib.suppress(OSError):
            status = os.fstat(number)
            identity = status.st_dev, status.st_ino
            if stat.S_ISREG(status.st_mode) and identity not in seen:
                seen.add(identity)
                yield _Stream(name, identity)


class _RefusedError(Exception):
    """Why an output is refused, in a line."""


def check_outputs(inputs: Sequence[Input], outputs: Sequence[Output]) -> None:
    """Refuses outputs that name an input or another output, or cannot be written; otherwise makes folders for files.

    Nothing is opened, and where one is refused nothing is made.

    Names are compared through symbolic links, hard links and, where the disk does not tell them apart, letter cases.

    Args:
        inputs: All that the command reads.
        outputs: All that it writes; "-" is none of them.

    Raises:
        typer.Exit: With code 2, after a line on stderr.
    """
    try:
        folders = {os.path.realpath(output.path) for output in outputs if output.folder}
        for output in outputs:
            _require_place(output, folders)
        _require_distinct(inputs, outputs)
        _make_parents(outputs, folders)
    except _RefusedError as refusal:
        complain(refusal)
        raise typer.Exit(2) from None


def _require_place(output: Output, folders: set[str]) -> None:
    """Refuses an output that cannot be written, or takes the place of something else.

    Args:
        output: The output.
        folders: The real paths of folders that are made where they are missing.
    """
    path = output.path
    try:
        found = _status_of(path)
        if output.folder:
            _require_short_names(path)
            return _require_folder(output, path if found else _nearest(path))
        if path == STDOUT:
            raise _RefusedError(f"{output}: expected the name of a file; stdout cannot be written to here")
        target = target_of(path)
        _require_short_names(target.with_name(f"{target.name}{LONGEST_ADDITION}"))
        if found:
            require_regular_file(path)
            if not os.access(path, os.W_OK):
                raise _RefusedError(f"{output}: this file is write-protected; give another name")
    except (OSError, ValueError) as error:
        raise _RefusedError(f"{output}: {getattr(error, 'strerror', None) or error}; give another name") from error
    parent = os.path.realpath(target.parent)
    if not _is_made(parent, folders) or os.path.lexists(parent):
        _require_folder(output, Path(parent) if os.path.lexists(parent) else _nearest(Path(parent)))


def _is_made(parent: str, folders: set[str]) -> bool:
    """Whether the command makes a folder, as one of those that it writes or above one."""
    return any(Path(folder).is_relative_to(parent) for folder in folders)


def _make_parents(outputs: Sequence[Output], folders: set[str]) -> None:
    """Makes the folders of files that are missing, but those that the command makes."""
    for output in outputs:
        given = target_of(output.path).parent
        parent = os.path.realpath(given)
        if output.folder or output.path == STDOUT or _is_made(parent, folders):
            continue
        try:
            os.makedirs(parent, exist_ok=True)
            # Behind a folder that is missing the system finds no ".."
            os.makedirs(given, exist_ok=True)
        except OSError as error:
            raise _RefusedError(f"{output}: the folder {parent} cannot be made: {error.strerror or error}") from error


def _status_of(path: Path) -> os.stat_result | None:
    """What is there, behind links; None where nothing is."""
    try:
        return path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None


def _require_short_names(path: Path) -> None:
    """Raises OSError where a name is too long; in a folder that is missing, the system itself looks at none."""
    nearest = _nearest(path)
    for name in Path(os.path.abspath(path)).relative_to(nearest).parts:
        _status_of(nearest / name)


def _nearest(path: Path) -> Path:
    """The first folder above that exists."""
    return next(folder for folder in Path(os.path.abspath(path)).parents if os.path.lexists(folder))


def _require_folder(output: Output, folder: Path) -> None:
    """Refuses a place for an output that is no folder, or where nothing can be made."""
    if not folder.is_dir():
        raise _RefusedError(f"{output}: expected a folder at {folder}, found a file; give another name")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise _RefusedError(f"{output}: the folder {folder} cannot be written to; give another one")


def _require_distinct(inputs: Sequence[Input], outputs: Sequence[Output]) -> None:
    """Refuses files that are an input or another output, by what is there or by where it is going to be."""
    identify = _Identifier()
    used = {identity: given.path for given in inputs for identity in identify(given.path)}
    streams = list(_redirected())
    if streams or any(not output.folder and output.path.exists() for output in outputs):
        used |= dict(_in_folders(inputs))
    taken = dict[object, Output | _Stream]()
    for stream in streams:
        if stream.identity in used:
            raise _RefusedError(f"{stream} goes into the input {used[stream.identity]}; redirect it elsewhere")
        taken[stream.identity] = stream
    for output in outputs:
        for path in [output.path] if output.folder else _names_of(output.path):
            for identity in identify(path):
                if identity in used and not output.folder:
                    raise _RefusedError(f"{output}: would overwrite the input {used[identity]}; give another name")
                other = taken.setdefault(identity, output)
                if isinstance(other, _Stream):
                    raise _RefusedError(f"{output}: {other} goes into this file too; give another name")
                if other is not output and not (other.folder and output.folder):
                    raise _RefusedError(f"{other} and {output}: both would write one file; give each a name of its own")


def _names_of(path: Path) -> list[Path]:
    """All that a file is called until it is complete."""
    return [path, partial_of(path), new_partial_of(path)]


def _in_folders(inputs: Iterable[Input]) -> Iterator[tuple[object, Path]]:
    """What is read of the folders among the inputs, by what tells files apart that exist."""
    for given in inputs:
        # Whoever reads the folder says what is wrong with it
        with contextlib.suppress(OSError, InputError):
            for path in given.files(given.path) if given.path.is_dir() else ():
                if status := _status_of(path):
                    yield (status.st_dev, status.st_ino), path


class _Identifier:
    """What tells files apart: what is there, and where it is or is going to be."""

    def __init__(self) -> None:
        self._real, self._case_matters = cache(os.path.realpath), cache(case_matters)

    def __call__(self, path: Path) -> Iterator[object]:
        """Values of which one file shares at least one, whatever it is called."""
        try:
            status = _status_of(path)
            real = os.path.realpath(path) if path.is_symlink() else os.path.join(self._real(path.parent), path.name)
        except (OSError, ValueError):
            return
        if status:
            yield status.st_dev, status.st_ino
        folder, name = os.path.split(os.path.normpath(real))
        yield os.path.join(folder, name if self._case_matters(folder) else portable_name(name))


def portable_name(name: str) -> str:
    """A name without what some disks do not tell apart: letter cases and composed letters."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def case_matters(folder: str) -> bool:
    """Whether a folder tells names of other letter cases apart, judged by a name in it, or else by those above."""
    try:
        with os.scandir(folder) as entries:
            inside = [entry.path for entry in islice(entries, LOOKED_AT)]
    except OSError:
        inside = []
    for known in (*inside, folder, *map(str, Path(folder).parents)):
        other = _swapped(known)
        if other != known and os.path.lexists(known):
            return not (os.path.lexists(other) and os.path.samestat(os.lstat(known), os.lstat(other)))
    return True


def _swapped(path: str) -> str:
    """The path with the last name's letters in the other case."""
    folder, name = os.path.split(path)
    return os.path.join(folder, name.swapcase())


def model_files(folder: Path) -> Iterator[Path]:
    """What may be read of a folder of OpenFace's models: all but bundles that were made of it."""
    return (path for path in folder.rglob("*") if path.suffix != ".pt" and path.is_file())
