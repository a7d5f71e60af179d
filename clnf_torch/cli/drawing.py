"""Drawn landmarks: a folder of pictures, one for each picture that was fitted."""

from pathlib import Path

from clnf_torch.cli.batches import Batch
from clnf_torch.cli.console import notice
from clnf_torch.cli.media import draw_landmarks, write_png
from clnf_torch.pipeline import FitResult


class Drawing:
    """Draws batches into a folder, each picture under a name of its own.

    Args:
        folder: Made if it does not exist.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.taken = folder, set[str]()

    def draw(self, batch: Batch, result: FitResult) -> None:
        """Writes every picture of a batch with its faces' landmarks."""
        landmarks, visible = result.landmarks.cpu(), result.visible.cpu()
        for job, rows in batch.rows():
            path = self.folder / f"{self._free_name(job.path.stem)}_landmarks.png"
            write_png(path, draw_landmarks(job.picture, landmarks[rows], visible[rows]))
            notice(f"drawn: {path}")

    def _free_name(self, stem: str) -> str:
        """The name, or with a number where two pictures share it."""
        name, number = stem, 1
        while name in self.taken:
            number += 1
            name = f"{stem}-{number}"
        self.taken.add(name)
        return name
