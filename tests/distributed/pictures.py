"""Images of several sizes that show one face, made on the spot."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np


def write_pictures(image: Path, folder: Path, count: int) -> Path:
    """The folder, with so many images of three sizes, in which a face moves, and two files that are no images."""
    still = cv2.imread(str(image))
    folder.mkdir(exist_ok=True)
    for number in range(count):
        moved = np.roll(still, number % 5, axis=1)
        padded = cv2.copyMakeBorder(moved, 0, 4 * (number % 3), 0, 6 * (number % 3), cv2.BORDER_REPLICATE)
        cv2.imwrite(str(folder / f"{number}.png"), padded)
    (folder / "empty.png").write_bytes(b"")
    (folder / "text.png").write_bytes(b"no image at all")
    return folder
