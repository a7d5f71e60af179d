"""Rendered faces on disk: files of some faces each, which can be made one by one, again and on several machines."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path

import torch
from torch import Tensor

from clnf_torch.files.writing import write_atomically
from clnf_torch.geometry.records import Rows
from clnf_torch.training.synthetic.labels import FaceLabels, RenderedFace

# Faces of one file: some 60 MB
SHARD_FACES = 256
SETTINGS = "faces.json"
FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class RenderedFaces(Rows):
    """Rendered faces with their labels, one per row; see `FaceLabels` for the labels' axes and units."""

    images: Tensor  # (B, 3, S, S) uint8 RGB
    depth: Tensor  # (B, S / 2, S / 2) float16 mm, infinite behind the head
    landmarks: Tensor  # (B, 68, 2) px: 3D-consistent
    contour: Tensor  # (B, 68, 2) px: the jaw on the visible contour
    points: Tensor  # (B, 68, 3) mm
    visible: Tensor  # (B, 68) bool
    eyes: Tensor  # (B, 2, 28, 2) px
    eye_points: Tensor  # (B, 2, 28, 3) mm
    eyes_visible: Tensor  # (B, 2, 28) bool
    gaze: Tensor  # (B, 2, 3)
    rotation: Tensor  # (B, 3, 3)
    translation: Tensor  # (B, 3) mm
    camera: Tensor  # (B, 3) px


def stack_faces(faces: list[RenderedFace]) -> RenderedFaces:
    """Rows from single faces."""
    labels = {
        field.name: torch.stack([getattr(face.labels, field.name) for face in faces]) for field in fields(FaceLabels)
    }
    images, depth = torch.stack([face.image for face in faces]), torch.stack([face.depth for face in faces])
    return RenderedFaces(images=images, depth=depth, **labels)


def missing_shards(folder: Path, faces: int, settings: dict[str, int]) -> list[range]:
    """What is left to make of a set of faces: the numbers of the faces of each file that is not there.

    Args:
        folder: Of the files; it is made where it is missing.
        faces: Number of faces of the whole set.
        settings: What the faces depend on, such as their seed; kept beside the files.

    Raises:
        ValueError: The folder holds faces of other settings.
    """
    folder.mkdir(parents=True, exist_ok=True)
    wanted, note = {"format": FORMAT, "shard_faces": SHARD_FACES, **settings}, folder / SETTINGS
    if note.exists():
        found = json.loads(note.read_text(encoding="utf-8"))
        if found != wanted:
            raise ValueError(
                f"{note} was made with {found}, not with {wanted}; choose another folder or the same settings"
            )
    else:
        with write_atomically(note) as file:
            file.write(json.dumps(wanted).encode())
    shards = [range(first, min(first + SHARD_FACES, faces)) for first in range(0, faces, SHARD_FACES)]
    return [numbers for numbers in shards if not shard_path(folder, numbers).exists()]


def shard_path(folder: Path, numbers: range) -> Path:
    """The file of the faces of some numbers."""
    return folder / f"faces-{numbers.start:07d}-{numbers.stop:07d}.pt"


def write_shard(path: Path, faces: RenderedFaces) -> None:
    """Writes a file of faces, whole or not at all."""
    with write_atomically(path) as file:
        torch.save({field.name: getattr(faces, field.name) for field in fields(faces)}, file)


def read_shards(folder: Path, done: Callable[[Path], None] | None = None) -> Iterator[RenderedFaces]:
    """The faces of every file of a folder, in the order of their numbers, mapped into memory.

    Args:
        folder: Where `clnf-torch train render` wrote them.
        done: Told the path of each file that was read.

    Raises:
        FileNotFoundError: There are none.
    """
    paths = sorted(folder.glob("faces-*.pt"))
    if not paths:
        raise FileNotFoundError(
            f"{folder} holds no rendered faces (faces-*.pt); make some: clnf-torch train render {folder}"
        )
    for path in paths:
        yield RenderedFaces(**torch.load(path, weights_only=True, mmap=True))
        if done:
            done(path)
