"""Files wherever fsspec finds them, in folders or object stores: listed, copied here, written under temporary names."""

import contextlib
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fsspec import AbstractFileSystem, get_filesystem_class
from fsspec.core import split_protocol, url_to_fs
from fsspec.implementations.local import LocalFileSystem

from clnf_torch.files.writing import write_atomically

# What a Path makes of the two slashes of a URL
_ONE_SLASH = ":/"


class StorageError(OSError):
    """A place that cannot be used; its text is one line."""


def as_url(place: str | os.PathLike[str]) -> str:
    """A path or URL as text; a URL that went through a ``Path`` has its two slashes again."""
    text = os.fspath(place)
    scheme, found, rest = text.partition(_ONE_SLASH)
    if found and len(scheme) > 1 and scheme.replace("+", "").isalnum() and not rest.startswith("/"):
        with contextlib.suppress(ValueError, ImportError):
            get_filesystem_class(scheme)
            return f"{scheme}://{rest}"
    return text


def absolute(place: str) -> str:
    """The same place for a process that runs in another folder."""
    return place if split_protocol(place)[0] else os.path.abspath(place)


def opened(place: str) -> tuple[AbstractFileSystem, str]:
    """The file system of a path or URL, and the path in it.

    Raises:
        StorageError: There is no such kind of place, or its library is not installed.
    """
    try:
        found: tuple[AbstractFileSystem, str] = url_to_fs(place)
    except (ImportError, ValueError) as error:
        raise StorageError(f"{place}: expected a path or a URL that fsspec can open: {error}") from error
    return found


def is_local(files: AbstractFileSystem) -> bool:
    """Whether paths of a file system are those of this machine."""
    return isinstance(files, LocalFileSystem)


def may_pass(error: Exception, files: AbstractFileSystem) -> bool:
    """Whether what went wrong with a file may be its object store's fault, or the network's, and go right again."""
    of_the_file = (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError)
    return isinstance(error, OSError) and not is_local(files) and not isinstance(error, of_the_file)


@contextlib.contextmanager
def local_copy(place: str) -> Iterator[Path]:
    """A file or folder as a path of this machine: itself, or a copy that is removed when the block ends.

    Raises:
        OSError: It cannot be read.
    """
    files, path = opened(place)
    if is_local(files):
        yield Path(path)
        return
    with tempfile.TemporaryDirectory(prefix="clnf-torch-") as folder:
        copy = Path(folder) / Path(path).name
        files.get(path, str(copy), recursive=bool(files.isdir(path)))
        yield copy


class OutputFolder:
    """A folder, or a prefix of an object store, in which files have their names only when they are complete.

    Args:
        place: Its path or URL.
    """

    def __init__(self, place: str) -> None:
        self.place = absolute(as_url(place))
        self.files, self._path = opened(self.place)

    def path(self, name: str) -> str:
        """The full path of a file in it."""
        return f"{self._path}/{name}"

    def names(self, folder: str) -> list[str]:
        """Complete files in one of its folders, sorted."""
        # Others may have written since
        self.files.invalidate_cache()
        try:
            found = self.files.ls(self.path(folder), detail=False)
        except FileNotFoundError:
            return []
        return sorted(name for name in (each.rsplit("/", 1)[-1] for each in found) if not name.startswith("."))

    def read(self, name: str) -> bytes | None:
        """The bytes of a file, None where there is none."""
        try:
            content: bytes = self.files.cat_file(self.path(name))
        except FileNotFoundError:
            return None
        return content

    def read_all(self, names: list[str]) -> dict[str, bytes]:
        """The bytes of many files by name, read side by side where the file system can."""
        found: Any = self.files.cat([self.path(name) for name in names], on_error="raise") if names else {}
        # A single path that is no pattern may come back as bytes
        contents = list(found.values()) if isinstance(found, dict) else [found]
        return dict(zip(names, contents, strict=True))

    def publish(self, source: Path, name: str) -> None:
        """Puts a file of this machine here; it has its name only when all of it is there."""
        target = self.path(name)
        self.files.makedirs(target.rsplit("/", 1)[0], exist_ok=True)
        folder, _, last = target.rpartition("/")
        # Of this process alone: others may put the same file here meanwhile
        temporary = f"{folder}/.{last}.{secrets.token_hex(4)}.part"
        if is_local(self.files):
            with source.open("rb") as file, write_atomically(target, Path(temporary)) as copy:
                shutil.copyfileobj(file, copy)
            return
        try:
            self.files.put_file(str(source), temporary)
            self.files.mv(temporary, target)
        except BaseException:
            with contextlib.suppress(Exception):
                self.files.rm(temporary)
            raise

    def publish_bytes(self, content: bytes, name: str) -> None:
        """Puts bytes here as a file."""
        with tempfile.TemporaryDirectory(prefix="clnf-torch-") as folder:
            (file := Path(folder) / "content").write_bytes(content)
            self.publish(file, name)

    def fetch(self, name: str, target: Path) -> None:
        """Copies a file to this machine."""
        self.files.get_file(self.path(name), str(target))

    def remove(self, name: str) -> None:
        """Removes a file, or a folder with all in it, that may be missing."""
        with contextlib.suppress(FileNotFoundError):
            self.files.rm(self.path(name), recursive=True)
