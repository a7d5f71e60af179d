"""The inputs of a job: files of globs, folders, lists and URLs, with what tells a changed one."""

import glob
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from fsspec import AbstractFileSystem

from clnf_torch.distributed.storage import StorageError, absolute, as_url, is_local, opened
from clnf_torch.files.reading import read_text
from clnf_torch.media.image_folder import IMAGES, VIDEOS, image_files, natural_order, video_files

# A file that names inputs, one a line
LIST = ".txt"
# Questions about files that wait for an object store side by side
AT_ONCE = 32
Source = str | os.PathLike[str]


@dataclass(frozen=True)
class InputFile:
    """A file that is read.

    Attributes:
        name: As it was given, or found in what was given; the tables have this one.
        url: The same for a process in another folder.
        bytes: Its size; of a folder that of all its files; 0 where it is missing.
        modified: When it was last changed, as its file system says; empty where it is missing.
    """

    name: str
    url: str
    bytes: int
    modified: str


def image_inputs(sources: Any) -> list[InputFile]:
    """Images: files, globs, folders, lists (``.txt``), each a path or a URL; or a Ray Dataset with a column ``path``.

    A name that comes twice counts once.

    Raises:
        StorageError: A place cannot be opened, a pattern or folder holds no image.
    """
    return _inputs(sources, IMAGES, "images")


def video_inputs(sources: Any) -> list[InputFile]:
    """Videos, given as `image_inputs` are; a folder of images without videos is one video, as in ``clnf-torch track``.

    Raises:
        StorageError: A place cannot be opened, a pattern or folder holds no video.
    """
    return _inputs(sources, VIDEOS, "videos")


def _inputs(sources: Any, kinds: set[str], what: str) -> list[InputFile]:
    """The inputs of all sources, in their order."""
    given: Iterable[Source]
    if hasattr(sources, "iter_rows"):
        # A Ray Dataset
        given = (row["path"] for row in sources.select_columns(["path"]).iter_rows())
    else:
        given = [sources] if isinstance(sources, (str, os.PathLike)) else sources
    names = [_plain(name) for source in given for name in _names(as_url(source), kinds, what)]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(_described, dict.fromkeys(names)))


def _names(source: str, kinds: set[str], what: str) -> Iterator[str]:
    """What a source names."""
    files, path = opened(source)
    prefix = source.removesuffix(path) if not is_local(files) else ""
    if files.isfile(path):
        if PurePosixPath(path).suffix.lower() == LIST:
            yield from _listed(files, source, path)
        else:
            yield source
    elif files.isdir(path):
        yield from _in_folder(files, source, path, prefix, kinds, what)
    elif glob.has_magic(path):
        matches = (each for each in files.glob(path if prefix else source) if not Path(each).name.startswith("."))
        found = sorted(matches, key=lambda each: natural_order(Path(each)))
        if not found:
            raise StorageError(f"{source}: expected a pattern of {what}, found nothing of that name")
        yield from (f"{prefix}{each}" if prefix else _as_given(each, source) for each in found)
    else:
        # Missing: a row of the manifest says so
        yield source


def _in_folder(
    files: AbstractFileSystem, source: str, path: str, prefix: str, kinds: set[str], what: str
) -> Iterator[str]:
    """The files of these kinds in a folder, or a folder of frames itself."""
    there = [Path(each).name for each in files.ls(path, detail=False)]
    if is_local(files):
        # As on one machine, without what it has drawn there
        found = [file.name for file in (video_files if kinds is VIDEOS else image_files)(Path(path))]
    else:
        found = [name for name in there if Path(name).suffix.lower() in kinds and not name.startswith(".")]
    if found:
        yield from (
            f"{source.rstrip('/')}/{name}" for name in sorted(found, key=lambda name: natural_order(Path(name)))
        )
    elif kinds is VIDEOS and any(Path(name).suffix.lower() in IMAGES for name in there):
        yield source
    else:
        raise StorageError(f"{source}: expected a folder of {what}, found none in it")


def _listed(files: AbstractFileSystem, source: str, path: str) -> Iterator[str]:
    """The names in a list, which are relative to its folder."""
    text = read_text(path) if is_local(files) else files.cat_file(path).decode("utf-8", "replace")
    folder = source.rpartition("/")[0]
    for line in filter(None, map(str.strip, text.splitlines())):
        yield line if not folder or "://" in line or line.startswith("/") else f"{folder}/{line}"


def _as_given(found: str, pattern: str) -> str:
    """A path that a local pattern found, relative where the pattern is."""
    return found if os.path.isabs(pattern) or "://" in pattern else os.path.relpath(found)


def _plain(name: str) -> str:
    """A path as ``clnf-torch detect`` writes it into tables; a URL as it is."""
    return name if "://" in name else str(Path(name))


def _described(name: str) -> InputFile:
    """A name with the size and time of its file."""
    url = absolute(name)
    files, path = opened(url)
    try:
        info = files.info(path)
        if info.get("type") == "directory":
            inside = [each for each in files.ls(path, detail=True) if each.get("type") == "file"]
            times = sorted(_modified(each) for each in inside)
            return InputFile(name, url, sum(each["size"] for each in inside), times[-1] if times else "")
        return InputFile(name, url, int(info.get("size") or 0), _modified(info))
    except (OSError, ValueError):
        return InputFile(name, url, 0, "")


def _modified(info: dict[str, Any]) -> str:
    """When a file was last changed, or what else tells two versions of it apart."""
    found = (info.get(key) for key in ("mtime", "LastModified", "last_modified", "updated", "ETag", "etag", "created"))
    return str(next((each for each in found if each is not None), ""))
