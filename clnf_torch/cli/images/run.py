"""The images of a run: what became of each, and the entry that they get in the manifest beside its outputs."""

import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from clnf_torch.cli.console import Complaints
from clnf_torch.cli.images.summary import ImageSummary
from clnf_torch.cli.manifest import (
    IMAGES,
    NAME,
    Manifest,
    as_written,
    content_of,
    file_hash,
    is_same_content,
    opened_manifest,
)
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
    place = manifest_place(targets)
    return None if place is None else manifest_at(place, len(images) > 1 or skip_existing)


def manifest_place(targets: Targets) -> Path | None:
    """Where the manifest of images lies, or would; None where there are no outputs but stdout."""
    given = ((option, path) for option, path in targets.given().items() if path != STDOUT)
    option, first = next(given, (None, None))
    return first and (first if option == "--draw" else first.parent) / NAME


def manifest_at(path: Path, needed: bool) -> Manifest | None:
    """The manifest at a place; where it is not needed, None unless one is there.

    Raises:
        typer.Exit: With code 2, after a line on stderr: another file has its place, and it is needed.
    """
    if needed:
        return opened_manifest(path)
    with suppress(OSError):
        return Manifest(path) if path.exists() else None
    return None


def images_without_face(
    images: Sequence[Path], manifest: Manifest | None, model: Path, settings: Mapping[str, Any]
) -> set[int]:
    """The numbers of images in which an earlier run found no face, with the same model and settings.

    Args:
        images: All that were given.
        manifest: What earlier runs entered.
        model: The weights file.
        settings: By option, those that decide whether a face is found.
    """
    if manifest is None:
        return set()
    known = _by_name(manifest.images_without_face(file_hash(model), settings))
    return {number for number, image in enumerate(images) if _is_among(image, known)}


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
        if known and not _is_among(image, known):
            yield image


def is_made_of_another(targets: Targets, image: Path, made: Mapping[str, Iterable[Mapping[str, Any]]]) -> bool:
    """Whether outputs of one image that are there were made of another one, as far as the manifest says.

    Args:
        targets: The outputs.
        image: The image.
        made: From `Manifest.images_by_output`.
    """
    known = _by_name([one for path in targets.given().values() for one in made.get(_written(path), ())])
    return bool(known) and not _is_among(image, known)


def _is_among(image: Path, known: Mapping[str, Iterable[Mapping[str, Any]]]) -> bool:
    """Whether an image is one of these entries by their names, moved or not."""
    found = _status(image)
    return any(is_same_content(one, found, image) for one in known.get(Path(found["input"]).name, ()))


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
        tables = written_names(replace(self.targets, draw=None))
        self.manifest.enter(IMAGES, run_entry(self.summary, model, settings, tables, self._inputs()))
        if STDOUT not in self.targets.given().values():
            self.summary.show(list(self.targets.given().values()))

    def _inputs(self) -> list[dict[str, Any]]:
        """What became of each image, in the order of the arguments."""
        found, row, draw = [], 0, self.targets.draw
        for number, (image, drawing) in enumerate(zip(self.images, self.drawings, strict=True)):
            count = self.summary.faces.get(number)
            # Without a face it is drawn as it is
            drawn = draw / drawing if draw is not None and count is not None else None
            found.append(
                {
                    **entered_image(image),
                    # None: it was not read
                    "faces": count,
                    "first_row": row if count else None,
                    "drawing": drawn and _written(drawn),
                    "problem": "; ".join(self.problems[number]) if number in self.problems else None,
                }
            )
            row += count or 0
        return found


def run_entry(
    summary: ImageSummary,
    model: Path,
    settings: Mapping[str, Any],
    outputs: Mapping[str, str],
    inputs: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """The entry of a run in the manifest.

    Args:
        summary: Of its images.
        model: The weights file.
        settings: By option.
        outputs: Of all images, by option.
        inputs: What became of each image.
    """
    return {
        "model": file_hash(model),
        "settings": as_written(settings),
        "outputs": dict(outputs),
        "frames": len(summary.faces),
        "frames_with_face": summary.with_face(),
        "faces": sum(summary.faces.values()),
        "seconds": round(summary.seconds(), 1),
        "inputs": list(inputs),
    }


def written_names(targets: Targets) -> dict[str, str]:
    """Outputs but stdout, as they stand in a manifest."""
    return {option: _written(path) for option, path in targets.given().items() if path != STDOUT}


def _status(image: Path) -> dict[str, Any]:
    """An image's name, size in bytes, and time of its last change, nanoseconds since 1970; None where it is missing."""
    try:
        status = os.stat(image)
    except (OSError, ValueError):
        return {"input": _written(image), "bytes": None, "modified": None}
    return {"input": _written(image), "bytes": status.st_size, "modified": status.st_mtime_ns}


def entered_image(image: Path) -> dict[str, Any]:
    """What an entry knows an image by: `_status`, and its contents, see `content_of`."""
    return {**_status(image), "content": content_of(image)}


def _written(path: Path) -> str:
    """A path as it stands in a manifest."""
    return escaped_name(os.path.realpath(path))
