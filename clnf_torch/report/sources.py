"""The tables of a batch, and the videos and images that they were made of."""

import contextlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from clnf_torch.files.names import name_from_escaped
from clnf_torch.media.image_folder import VIDEOS
from clnf_torch.report.columns import Selection
from clnf_torch.report.records import FaceLog, NoFacesError, TableError
from clnf_torch.report.tables import READERS, read_log

# Of several tables of one name, the one that is read fastest
PREFERRED = (".parquet", ".csv", ".json")
# Written beside tables, and none themselves
MANIFEST, MEASURED = "manifest.json", "_measures"


@dataclass(frozen=True)
class Entry:
    """One table of a batch.

    Attributes:
        name: What it is called in the report.
        path: The table.
        log: What it holds; None where it cannot be read.
        problem: Why it cannot, in a line.
        pictures: Where its frames can be seen: a video, or a folder of frames; None where neither is found.
        drawn: Whether the faces are drawn in there already.
        images: Of a table of images their files by number, as far as they are found.
    """

    name: str
    path: Path
    log: FaceLog | None = None
    problem: str | None = None
    pictures: Path | None = None
    drawn: bool = False
    images: dict[int, Path] = field(default_factory=dict)


def read_entries(
    tables: Sequence[Path],
    given: Sequence[Path],
    videos: Path | None = None,
    read: Callable[[int], None] = lambda count: None,
) -> Iterator[Entry]:
    """Reads the tables of a batch, one after the other.

    Args:
        tables: From `find_tables`.
        given: Tables and folders in which they were found; what was found in a folder may be a table of something else.
        videos: A folder with the videos by the names of the tables; without it they are looked for where the table or
            its manifest says, and drawn ones beside the table.
        read: Told how many bytes more of the tables are read.
    """
    named = {path.resolve() for path in given}
    for path, name in zip(tables, short_names(tables), strict=True):
        try:
            log = read_log(path, Selection(for_signals=True, read=read))
        except NoFacesError as error:
            if path.resolve() in named:
                yield Entry(name, path, problem=str(error))
            continue
        except TableError as error:
            yield Entry(name, path, problem=str(error))
            continue
        if log.images is not None:
            yield Entry(name, path, log, images=find_images(path, log, videos))
        else:
            pictures, drawn = find_pictures(path, log, videos)
            yield Entry(name, path, log, pictures=pictures, drawn=drawn)


def find_tables(paths: Sequence[Path]) -> Iterator[Path]:
    """The tables among files and in folders, by name; each once, of several formats of one table one of them."""
    seen = set[tuple[Path, str]]()
    for path in paths:
        inside = sorted(path.rglob("*"), key=_preference) if path.is_dir() else [path]
        for table in inside:
            key = table.parent.resolve(), table.stem
            if table.is_file() and key not in seen and (table == path or _is_table(table)):
                seen.add(key)
                yield table


def _is_table(path: Path) -> bool:
    """Whether a file of a folder may be a table of faces by its name."""
    is_named_so = path.suffix.lower() in READERS and not path.name.startswith(".")
    return is_named_so and path.name != MANIFEST and not path.stem.endswith(MEASURED)


def _preference(path: Path) -> tuple[str, int]:
    """Sorts files by name, and of one name the preferred format first."""
    suffix = path.suffix.lower()
    return str(path.with_suffix("")), PREFERRED.index(suffix) if suffix in PREFERRED else len(PREFERRED)


def short_names(tables: Sequence[Path]) -> list[str]:
    """The stems of files, with their folders where two are alike."""
    stems = [table.stem for table in tables]
    return [str(table.with_suffix("")) if stems.count(table.stem) > 1 else table.stem for table in tables]


def find_pictures(table: Path, log: FaceLog, videos: Path | None = None) -> tuple[Path | None, bool]:
    """What shows the frames of a table, and whether its faces are drawn in there."""
    said = [log.video] if log.video else []
    for name in (*said, *_inputs(table)):
        for place in (Path(name), table.parent / name):
            if place.exists():
                return place, False
    if videos is not None and (found := _video_named(videos, table.stem)):
        return found, False
    beside = _video_named(table.parent, table.stem)
    return beside, beside is not None


def _video_named(folder: Path, stem: str) -> Path | None:
    """A video of a name in a folder, or a folder of frames of that name."""
    places = (folder / f"{stem}{suffix}" for suffix in sorted(VIDEOS))
    found = next((place for place in places if place.is_file()), None)
    frames = folder / stem
    return found or (frames if frames.is_dir() else None)


def find_images(table: Path, log: FaceLog, folder: Path | None = None) -> dict[int, Path]:
    """The files of a table's images by number: as the manifest, the table or its folder say, or in a folder."""
    known = {int(log.frame[row]): Path(name) for name, row in _image_inputs(table) if 0 <= row < len(log)}
    found = dict[int, Path]()
    for number, name in enumerate(log.images or (), 1):
        named = Path(name)
        places = [Path(name), table.parent / name, *([] if folder is None else [folder / named.name])]
        places = [known[number], *places] if number in known else places
        if (place := next((place for place in places if place.is_file()), None)) is not None:
            found[number] = place
    return found


def _entries(table: Path, kind: str) -> Iterator[dict[str, Any]]:
    """The entries of the manifest beside a table that are about it; a manifest is a help alone."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        content: Any = json.loads((table.parent / MANIFEST).read_bytes())
        for entry in content.get(kind, ()):
            if str(table.resolve()) in map(name_from_escaped, entry["outputs"].values()):
                yield entry


def _inputs(table: Path) -> Iterator[str]:
    """The videos that a table was made of."""
    with contextlib.suppress(ValueError, KeyError, TypeError, AttributeError):
        for entry in _entries(table, "videos"):
            yield name_from_escaped(entry["input"])


def _image_inputs(table: Path) -> Iterator[tuple[str, int]]:
    """The images that a table was made of, with the number of the first row of each."""
    with contextlib.suppress(ValueError, KeyError, TypeError, AttributeError):
        for entry in _entries(table, "images"):
            for image in entry["inputs"]:
                if image["faces"]:
                    yield name_from_escaped(image["input"]), int(image["first_row"])
