"""Aligned faces as image files, by OpenFace's names: ``NAME_aligned/frame_det_00_000001.bmp`` and so on."""

import copy
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from clnf_torch.media.images import write_image
from clnf_torch.models.pdm import PDM
from clnf_torch.pipeline.alignment import SCALE, SIZE, align_faces

# What is written into such folders
NAMES = re.compile(r"(frame_det_\d{2,}_\d{6,}|face_det_\d{6,})\.bmp")
# What a folder's name has behind that of the video or photograph
SUFFIX = "_aligned"


@dataclass(frozen=True, kw_only=True)
class Alignment:
    """How faces are aligned; see `align_faces`."""

    size: int = SIZE
    scale: float = SCALE
    masked: bool = True


DEFAULT_ALIGNMENT = Alignment()


class AlignedFiles:
    """Writes the aligned faces of one video or photograph.

    Args:
        folder: Where to; it is made.
        pdm: The model's shape.
        how: The faces are aligned.
        keep: What is there already, which an interrupted run left; otherwise what earlier runs wrote there is removed.
    """

    def __init__(self, folder: Path, pdm: PDM, how: Alignment, *, keep: bool = False) -> None:
        # Images are in the processor's memory, and aligned there
        self._folder, self._pdm, self._how = folder, copy.deepcopy(pdm).cpu(), how
        folder.mkdir(exist_ok=True)
        if not keep:
            for path in folder.iterdir():
                if NAMES.fullmatch(path.name):
                    path.unlink()

    def write_frame(self, image: Tensor, number: int, landmarks: Tensor, faces: Sequence[int]) -> None:
        """Writes the faces of a frame of a video.

        Args:
            image: RGB, uint8, shape (3, H, W).
            number: Of the frame, from 1.
            landmarks: Shape (B, N, 2).
            faces: Their numbers.
        """
        self._write(image, landmarks, [f"frame_det_{face:02d}_{number:06d}.bmp" for face in faces])

    def write_photograph(self, image: Tensor, landmarks: Tensor, faces: Sequence[int]) -> None:
        """Writes the faces of a photograph; arguments as of `write_frame`."""
        self._write(image, landmarks, [f"face_det_{face:06d}.bmp" for face in faces])

    @torch.inference_mode()
    def _write(self, image: Tensor, landmarks: Tensor, names: Sequence[str]) -> None:
        """Aligns faces and writes a file for each."""
        if not names:
            return
        how, index = self._how, torch.zeros(len(names), dtype=torch.int64, device="cpu")
        aligned = align_faces(
            image[None].cpu(), landmarks, self._pdm, index, size=how.size, scale=how.scale, masked=how.masked
        )
        for pixels, name in zip(aligned.round().byte().permute(0, 2, 3, 1).numpy(), names, strict=True):
            write_image(self._folder / name, pixels)
