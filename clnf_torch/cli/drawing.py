"""Drawn landmarks: on an image, and as a folder of images, one for each that was fitted."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from torch import Tensor

from clnf_torch.cli.console import notice
from clnf_torch.cli.output_check import portable_name
from clnf_torch.media.batches import Batch
from clnf_torch.media.image_folder import DRAWN
from clnf_torch.media.images import draw_landmarks, write_names, write_png
from clnf_torch.pipeline import FitResult


class Drawing:
    """Draws batches into a folder, each image under a name of its own.

    Args:
        folder: Made if it does not exist.
        images: All that were given, of which some may not be drawn.
    """

    def __init__(self, folder: Path, images: Sequence[Path]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._names = defaultdict[Path, list[str]](list)
        for image, name in zip(reversed(images), reversed(drawn_files(images)), strict=True):
            self._names[image].append(name)

    def draw(self, batch: Batch, result: FitResult) -> None:
        """Writes every image of a batch with its faces' landmarks."""
        for job, rows in batch.rows():
            path = self.folder / self._names[job.path].pop()
            write_png(path, draw_result(job.image, result[rows]))
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


def draw_result(image: Tensor, result: FitResult, names: Sequence[str] = ()) -> np.ndarray:
    """An image with the landmarks of faces and their eyes.

    Args:
        image: RGB, uint8, shape (3, H, W).
        result: The faces.
        names: What to write at each face, if anything.

    Returns:
        BGR, uint8, shape (H, W, 3).
    """
    landmarks, eyes = result.landmarks.cpu(), result.eye_landmarks
    # A failed face is drawn like what was not seen
    sure = (result.visible & result.success[:, None]).cpu()
    canvas = draw_landmarks(image, landmarks, sure, None if eyes is None else eyes.cpu())
    if names:
        write_names(canvas, landmarks, names)
    return canvas
