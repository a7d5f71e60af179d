"""The eraser of pen marks in a bundle, or the one that is installed with the package."""

from pathlib import Path

import torch

from clnf_torch.models.bundle import BundleError, installed_file, load_bundle
from clnf_torch.models.eraser_network import EraserNetwork
from clnf_torch.pen_marks.eraser import PenMarkEraser

INSTALLED = "pen_marks.pt"


def load_pen_mark_eraser(path: str | Path | None = None, device: torch.device | str = "cpu") -> PenMarkEraser:
    """The eraser of pen marks in a bundle.

    Args:
        path: A bundle from ``clnf-torch train eraser``; None: the eraser that is installed with the package.
        device: Where to put it.

    Raises:
        BundleError: The file is damaged, no bundle, or holds no eraser.
    """
    path = installed_file(INSTALLED) if path is None else path
    record = load_bundle(path).get("pen_mark_eraser")
    if record is None:
        raise BundleError(f"{path}: holds no eraser of pen marks; make one with: clnf-torch train eraser PORTRAITS")
    return PenMarkEraser(EraserNetwork.from_record(record)).to(device)
