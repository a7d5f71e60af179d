"""Drawn images in a folder, one for each that was fitted."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from clnf_torch.cli.console import notice
from clnf_torch.cli.output_check import portable_name
from clnf_torch.drawing import DrawingStyle, DrawnFaces, draw_faces
from clnf_torch.export.face_table import FaceTable
from clnf_torch.media.batches import Batch
from clnf_torch.media.image_folder import DRAWN
from clnf_torch.media.images import write_image
from clnf_torch.pipeline import FitResult


class Drawing:
    """Draws batches into a folder, each image under a name of its own.

    Args:
        folder: Made if it does not exist.
        images: Those that are read, of which some may not be drawn.
        names: Their drawings' names, from `drawn_files` of all that were given.
        quality: In the colours of the landmarks' expected errors.
    """

    def __init__(self, folder: Path, images: Sequence[Path], names: Sequence[str], quality: bool = False) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self._style = folder, DrawingStyle(quality=quality)
        self._names = defaultdict[Path, list[str]](list)
        for image, name in zip(reversed(images), reversed(names), strict=True):
            self._names[image].append(name)

    def draw(self, batch: Batch, result: FitResult, table: FaceTable) -> None:
        """Writes every image of a batch with its faces, and what was measured of them."""
        for job, rows in batch.rows():
            path = self.folder / self._names[job.path].pop()
            faces = DrawnFaces.of(result[rows], table=table[rows])
            write_image(path, draw_faces(job.image, faces, self._style))
            notice(f"drawn: {path}")


def drawn_files(images: Sequence[Path]) -> list[str]:
    """The names of the drawings of images, in the same order."""
    free_name = FreeNames()
    return [f"{free_name(image.stem)}{DRAWN}.png" for image in images]


class FreeNames:
    """Gives every file a name that no other has, on any disk."""

    def __init__(self) -> None:
        self._taken = set[str]()

    def __call__(self, stem: str) -> str:
        """The name, or with a number where two share it."""
        name, number = stem, 1
        while portable_name(name) in self._taken:
            number += 1
            name = f"{stem}-{number}"
        self._taken.add(portable_name(name))
        return name
