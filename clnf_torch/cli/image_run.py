"""The images of a run: what became of each, and the entry that they get in the manifest beside its outputs."""

import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from clnf_torch.cli.console import Complaints
from clnf_torch.cli.drawing import drawn_files
from clnf_torch.cli.manifest import IMAGES, NAME, Manifest, file_hash
from clnf_torch.cli.options import STDOUT
from clnf_torch.cli.outputs import Targets
from clnf_torch.media.batches import Batch
from clnf_torch.models.files import escaped_name


def manifest_of(targets: Targets, images: Sequence[Path]) -> Path | None:
    """Where the manifest of images lies: beside the first output, or in the folder of drawings.

    Args:
        targets: The outputs.
        images: All that were given.

    Returns:
        The file; None of a single image, whose name its rows have, and where there are no outputs but stdout.
    """
    given = [(option, path) for option, path in targets.given().items() if path != STDOUT]
    if len(images) < 2 or not given:
        return None
    option, first = given[0]
    return (first if option == "--draw" else first.parent) / NAME


@dataclass
class ImageRun:
    """Counts what is found in images.

    Attributes:
        images: All that were given.
        targets: The outputs.
        complaints: Prints what is wrong.
        problems: The lines about each image, by its number among those given.
        faces: The faces in those that were read, likewise.
    """

    images: Sequence[Path]
    targets: Targets
    complaints: Complaints
    problems: dict[int, list[str]] = field(default_factory=dict)
    faces: dict[int, int] = field(default_factory=dict)
    begun: float = field(default_factory=time.monotonic)

    def complain(self, number: int, line: str) -> None:
        """Takes a line about an image."""
        self.complaints(line)
        self.problems.setdefault(number, []).append(line)

    def add(self, batch: Batch) -> None:
        """Counts the faces of a batch that is written."""
        self.faces |= {job.number: len(job.boxes) for job in batch.jobs}

    def finish(self, model: Path, settings: Mapping[str, Any]) -> None:
        """Enters the run in the manifest.

        Args:
            model: The weights file.
            settings: By option.
        """
        manifest = Manifest(manifest_of(self.targets, self.images))
        if manifest.path is None:
            return
        outputs = {option: path for option, path in self.targets.given().items() if option != "--draw"}
        entry = {
            "model": file_hash(model),
            "settings": json.loads(json.dumps(dict(settings))),
            "outputs": {option: _written(path) for option, path in outputs.items() if path != STDOUT},
            "frames": len(self.faces),
            "frames_with_face": sum(count > 0 for count in self.faces.values()),
            "faces": sum(self.faces.values()),
            "seconds": round(time.monotonic() - self.begun, 1),
            "inputs": self._inputs(),
        }
        manifest.enter(IMAGES, entry)

    def _inputs(self) -> list[dict[str, Any]]:
        """What became of each image, in the order of the arguments."""
        found, row, draw = [], 0, self.targets.draw
        for number, (image, drawing) in enumerate(zip(self.images, drawn_files(self.images), strict=True)):
            count = self.faces.get(number)
            drawn = draw / drawing if draw is not None and count else None
            found.append(
                {
                    **_status(image),
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
    """An image's name, size in bytes and time of its last change, nanoseconds since 1970; None where it is missing."""
    try:
        status = os.stat(image)
    except (OSError, ValueError):
        return {"input": _written(image), "bytes": None, "modified": None}
    return {"input": _written(image), "bytes": status.st_size, "modified": status.st_mtime_ns}


def _written(path: Path) -> str:
    """A path as it stands in a manifest."""
    return escaped_name(os.path.realpath(path))
