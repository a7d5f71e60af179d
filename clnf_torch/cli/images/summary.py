"""The numbers of many images: a closing table on the screen with a row for each of their folders."""

import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from clnf_torch.cli.videos.summary import formatted, show_table
from clnf_torch.export.face_table import FaceTable
from clnf_torch.media.batches import Batch

HEAD = ("folder", "images", "with a face", "faces", "confidence", "not read", "images/s", "outputs")


@dataclass
class ImageSummary:
    """Counts what is found in images.

    Attributes:
        images: Those that are read.
        faces: The faces of each that was, by its number.
        found: How many of them are no failures, likewise.
        confidence: The sum of their confidences, likewise.
        begun: When the run began, seconds of a clock.
    """

    images: Sequence[Path]
    faces: dict[int, int] = field(default_factory=dict)
    found: dict[int, int] = field(default_factory=dict)
    confidence: dict[int, float] = field(default_factory=dict)
    begun: float = field(default_factory=time.monotonic)

    def add(self, batch: Batch, table: FaceTable) -> None:
        """Counts the faces of a batch, and what was measured of them."""
        for job, rows in batch.rows():
            success = table.success[rows]
            self.faces[job.number] = len(success)
            self.found[job.number] = int(success.sum())
            self.confidence[job.number] = float(table.confidence[rows][success].double().sum())

    def add_empty(self, number: int) -> None:
        """Counts an image in which no face was found."""
        self.faces[number] = self.found[number] = 0
        self.confidence[number] = 0.0

    def with_face(self) -> int:
        """Images in which a face was found, and not a failure alone."""
        return sum(count > 0 for count in self.found.values())

    def seconds(self) -> float:
        """Since the run began."""
        return time.monotonic() - self.begun

    def show(self, outputs: Sequence[Path]) -> None:
        """Prints the table, if there are several images.

        Args:
            outputs: What was written, of which the names are shown.
        """
        if len(self.images) < 2:
            return
        folders = defaultdict[Path, list[int]](list)
        for number, image in enumerate(self.images):
            folders[image.parent].append(number)
        names, rate = ", ".join(path.name for path in outputs), formatted(len(self.faces) / self.seconds(), "{:.1f}")
        rows = [(str(folder), *self._counts(numbers), rate, names) for folder, numbers in folders.items()]
        show_table(f"{len(self.images)} images", HEAD, rows)

    def _counts(self, numbers: Sequence[int]) -> tuple[str, ...]:
        """Images, those with a face, faces, their mean confidence, and images that could not be read."""
        read = [number for number in numbers if number in self.faces]
        share = formatted(sum(self.found[number] > 0 for number in read) / len(read) if read else None, "{:.1%}")
        found, total = (sum(counts[number] for number in read) for counts in (self.found, self.confidence))
        mean = formatted(total / found if found else None, "{:.2f}")
        return (
            str(len(numbers)),
            share,
            str(sum(self.faces[number] for number in read)),
            mean,
            str(len(numbers) - len(read)),
        )
