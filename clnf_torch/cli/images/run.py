"""The images of a run: what became of each, and the entry that they get in the manifest beside its outputs."""

import json
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from clnf_torch.cli.console import Complaints
from clnf_torch.cli.images.summary import ImageSummary
from clnf_torch.cli.manifest import IMAGES, NAME, Manifest, content_of, file_hash, is_same_content, opened_manifest
from clnf_torch.cli.options import STDOUT
from clnf_torch.cli.outputs import Targets
from clnf_torch.export.face_table import FaceTable
from clnf_torch.files.names import escaped_name
from clnf_torch.media.batches import Batch


def manifest_of(targets: Targets, images: Sequence[Path], skip_existing: bool) -> Manifest | None:
    """The manifest of images: beside the first output, or in the folder of drawings.

    Args:
        targets: The outputs.
        images: All that were given.
        skip_existing: Whether what is there is skipped, so that it must be known what it was made of.

    Returns:
        None where there are no outputs but stdout, and of a single image, whose name its rows have, unless
        `skip_existing` or a manifest that is there needs it.

    Raises:
        typer.Exit: With code 2, after a line on stderr: another file has its place.
    """
    given = [(option, path) for option, path in targets.given().items() if path != STDOUT]
    if not given:
        return None
    option, first = given[0]
    path = (first if option == "--draw" else first.parent) / NAME
    if len(images) > 1 or skip_existing:
        return opened_manifest(path)
    with suppress(OSError):
        return Manifest(path) if path.exists() else None
    return None


def images_left(targets: Targets, images: Sequence[Path], drawings: Sequence[str]) -> list[int]:
    """The numbers of images some of whose outputs are missing: a table is of all of them, a drawing of one.

    Args:
        targets: The outputs.
        images: All that were given.
        drawings: The names of their drawings.
    """
    numbers, draw = list(range(len(images))), targets.draw
    tables = [path for option, path in targets.given().items() if option != "--draw"]
    if tables:
        # They have their names once the last drawing is there
        done = STDOUT not in tables and all(path.exists() for path in tables) and (draw is None or draw.is_dir())
        return [] if done else numbers
    return numbers if draw is None else [number for number in numbers if not (draw / drawings[number]).exists()]


def made_of_others(
    targets: Targets, images: Sequence[Path], drawings: Sequence[str], manifest: Manifest
) -> Iterator[Path]:
    """Images that outputs which are there were not made of, as far as the manifest says; moved ones are the same.

    Args:
        targets: The outputs.
        images: Those that are skipped.
        drawings: The names of their drawings.
        manifest: What earlier runs entered.
    """
    made = manifest.images_by_output()
    tables = [_written(path) for option, path in targets.given().items() if option != "--draw"]
    of_tables = _by_name([image for table in tables for image in made.get(table, ())])
    folder = None if tables else targets.draw
    for image, drawing in zip(images, drawings, strict=True):
        known = of_tables if folder is None else _by_name(made.get(_written(folder / drawing), ()))
        found = _status(image)
        if known and not any(is_same_content(one, found, image) for one in known.get(Path(found["input"]).name, ())):
            yield image


def _by_name(images: Iterable[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    """Entries of images by what an image keeps that is moved into another folder."""
    found = defaultdict[str, list[Mapping[str, Any]]](list)
    for image in images:
        found[Path(str(image.get("input"))).name].append(image)
    return found


@dataclass
class ImageRun:
    """Counts what is found in images.

    Attributes:
        images: Those that are read.
        drawings: The names of their drawings.
        targets: The outputs.
        complaints: Prints what is wrong.
        manifest: From `manifest_of`; None: the run is not entered.
        problems: The lines about each image, by its number among those that are read.
    """

    images: Sequence[Path]
    drawings: Sequence[str]
    targets: Targets
    complaints: Complaints
    manifest: Manifest | None
    problems: dict[int, list[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Begins to count."""
        self.summary = ImageSummary(self.images)

    def complain(self, number: int, line: str) -> None:
        """Takes a line about an image."""
        self.complaints(line)
        self.problems.setdefault(number, []).append(line)

    def add(self, batch: Batch, table: FaceTable) -> None:
        """Counts the faces of a batch that is written."""
        self.summary.add(batch, table)

    def finish(self, model: Path, settings: Mapping[str, Any]) -> None:
        """Enters the run in the manifest, and prints its numbers where stdout is free for them.

        Args:
            model: The weights file.
            settings: By option.
        """
        if self.manifest is None:
            return
        faces = self.summary.faces
        outputs = {option: path for option, path in self.targets.given().items() if option != "--draw"}
        entry = {
            "model": file_hash(model),
            "settings": json.loads(json.dumps(dict(settings))),
            "outputs": {option: _written(path) for option, path in outputs.items() if path != STDOUT},
            "frames": len(faces),
            "frames_with_face": self.summary.with_face(),
            "faces": sum(faces.values()),
            "seconds": round(self.summary.seconds(), 1),
            "inputs": self._inputs(),
        }
        self.manifest.enter(IMAGES, entry)
        if STDOUT not in self.targets.given().values():
            self.summary.show(list(self.targets.given().values()))

    def _inputs(self) -> list[dict[str, Any]]:
        """What became of each image, in the order of the arguments."""
        found, row, draw = [], 0, self.targets.draw
        for number, (image, drawing) in enumerate(zip(self.images, self.drawings, strict=True)):
            count = self.summary.faces.get(number)
            drawn = draw / drawing if draw is not None and count else None
            found.append(
                {
                    **_status(image),
                    "content": content_of(image),
                    # None: it was not read
                    "faces": count,
                    "first_row": row if count else None,
                    "drawing": drawn and _written(drawn),
                    "problem": "; ".join(self.problems[number]) if number in self.problems else None,
                }
            )
            row += count or 0
        return found


def _status(image: Path) -> dict[str, Any]:
    """An image's name, size in bytes, and time of its last change, nanoseconds since 1970; None where it is missing."""
    try:
        status = os.stat(image)
    except (OSError, ValueError):
        return {"input": _written(image), "bytes": None, "modified": None}
    return {"input": _written(image), "bytes": status.st_size, "modified": status.st_mtime_ns}


def _written(path: Path) -> str:
    """A path as it stands in a manifest."""
    return escaped_name(os.path.realpath(path))
