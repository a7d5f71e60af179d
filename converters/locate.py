"""Finds the description file of an OpenFace model: in a directory, by name, or in the cache that other tools fill."""

import itertools
import os
from dataclasses import dataclass
from pathlib import Path

from clnf_torch.compilation.cache import user_cache
from clnf_torch.converters.openface.errors import ConversionError
from clnf_torch.files.names import lookalike

PREFERRED = "main_ceclm_general.txt"
CACHE = Path("OpenFaceModels", "2.2.0")
ENVIRONMENT = "OPENFACE_MODELS_DIR"
# Where the model directory lies inside a cache, a source tree or a build of OpenFace, or is itself.
SUBFOLDERS = ("lib/local/LandmarkDetector/model", "originals/lib/local/LandmarkDetector/model", "model", "")
# Descriptions that are looked at deeper inside a folder
MOST_FOUND = 1000
REMEDY = f"name OpenFace's model directory (the one with {PREFERRED})"


@dataclass(frozen=True, kw_only=True)
class Source:
    """A description file to convert.

    Attributes:
        main: The file.
        others: Further ``main_*.txt`` of its directory that were not chosen.
    """

    main: Path
    others: tuple[Path, ...] = ()


def find_source(source: str | os.PathLike[str] | None = None) -> Source:
    """Finds the description file to convert.

    Args:
        source: A model directory, a ``main_*.txt``, a cache of other tools, or None for that cache in its usual place
            (the environment variable ``OPENFACE_MODELS_DIR`` names another one).

    Returns:
        The description; in a directory with several, ``main_ceclm_general.txt`` or else the first CE-CLM one.

    Raises:
        ConversionError: There is none.
    """
    if source is None:
        return _find_in(cache_folder())
    path = Path(source)
    if path.is_dir():
        return _find_in(path)
    if not os.path.isfile(path):
        expected, near = "a model directory or a main_*.txt", lookalike(path)
        found = (
            "no such file or folder" if near is None else f"no such file or folder, but {near.relative_to(path.parent)}"
        )
        raise ConversionError(path, expected=expected, found=found, remedy=REMEDY)
    if path.suffix.lower() != ".txt":
        expected = "a model directory or a main_*.txt"
        raise ConversionError(path, expected=expected, found=f"a file {path.name}", remedy=REMEDY)
    return Source(main=path)


def cache_folder() -> Path:
    """The folder of this user in which other tools keep OpenFace's models."""
    if named := os.environ.get(ENVIRONMENT):
        return Path(named)
    return user_cache() / CACHE


def _find_in(folder: Path) -> Source:
    """The best description in a folder or where models lie inside it."""
    roots = (folder, folder / CACHE, folder / CACHE.name)
    for inside in (root / part for root in roots for part in SUBFOLDERS):
        mains = sorted(inside.glob("main_*.txt"), key=_preference) if inside.is_dir() else []
        if mains:
            return Source(main=mains[0], others=tuple(mains[1:]))
    found = "no such folder" if not folder.is_dir() else _without_main(folder)
    raise ConversionError(folder, expected="a model directory with a main_*.txt", found=found, remedy=REMEDY)


def _preference(path: Path) -> tuple[bool, bool, str]:
    """Sorts OpenFace's default first, then other CE-CLM models, then the rest by name."""
    return path.name != PREFERRED, "ceclm" not in path.name, path.name


def _without_main(folder: Path) -> str:
    """What a folder without ``main_*.txt`` holds instead."""
    if (near := lookalike(folder / PREFERRED) or _deeper(folder)) is not None:
        return f"none, but {near.relative_to(folder)}"
    if any(folder.glob("cen_patches_*")) or any(folder.glob("*/cen_patches_*")):
        return "CEN files without a description"
    names = sorted(path.name for path in folder.iterdir())
    return (
        f"{', '.join(names[:3])} and {len(names) - 3} more" if len(names) > 3 else ", ".join(names) or "an empty folder"
    )


def _deeper(folder: Path) -> Path | None:
    """A description deeper inside a folder, where archives put it that were unpacked into folders of their own."""
    for pattern in ("*/main_*.txt", "*/*/main_*.txt", "*/*/*/main_*.txt"):
        if found := sorted(itertools.islice(folder.glob(pattern), MOST_FOUND), key=_preference):
            return found[0]
    return None
