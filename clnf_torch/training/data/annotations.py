"""Faces whose 68 landmarks somebody has marked: read from ``landmarks.npz``, or from images with ``.pts`` files."""

import lzma
import re
import struct
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from clnf_torch.files.reading import InputError, download_in_place, read_text, require_regular_file
from clnf_torch.geometry.landmarks68 import NUM_LANDMARKS, OUTER_EYE_CORNERS

# Beyond it, no image has a pixel
MOST_PIXELS = 1e6


class AnnotationError(InputError, ValueError):
    """Annotations that cannot be used; its text is one line."""


def read_pts(path: Path, landmarks: int) -> Tensor:
    """The landmarks of a ``.pts`` file, in pixels whose centres are whole numbers from 0.

    iBUG counts pixels from 1, as Matlab does; so 1 is taken from what the file says::

        version: 1
        n_points:  68
        {
        32.310345 99.612347
        ...
        }

    Args:
        path: The file.
        landmarks: Number of points N that it must have.

    Returns:
        Points (x, y), float32, shape (N, 2).

    Raises:
        AnnotationError: It is no such file; says which line is wrong.
        OSError: It cannot be read.
    """
    lines = [(number, line.strip()) for number, line in enumerate(read_text(path).splitlines(), start=1)]
    lines = [(number, line) for number, line in lines if line and not line.startswith("#")]
    expected = [r"version:\s*1(\.0)?", rf"n_points:\s*{landmarks}", r"\{", *[r"[^}].*"] * landmarks, r"\}"]
    said = ["'version: 1'", f"'n_points: {landmarks}'", "'{'", *["a point 'x y'"] * landmarks, "'}'"]
    for place, pattern in enumerate(expected):
        number, found = lines[place] if place < len(lines) else (place + 1, None)
        if found is None or not re.fullmatch(pattern, found, re.IGNORECASE):
            raise _wrong(path, number, said[place], found)
    if len(lines) > len(expected):
        raise _wrong(path, lines[len(expected)][0], "the end of the file", lines[len(expected)][1])
    return torch.tensor([_point(path, number, line) for number, line in lines[3 : 3 + landmarks]]) - 1


def _point(path: Path, number: int, line: str) -> tuple[float, float]:
    """The point of a line: two numbers between blanks, commas or semicolons, maybe with decimal commas."""
    cells = line.split()
    if len(cells) == 1:
        cells = re.split("[;,]", line, maxsplit=1)
    try:
        x, y = (float(cell.rstrip(",;").replace(",", ".")) for cell in cells)
    except ValueError:
        raise _wrong(path, number, "two numbers", line) from None
    # float32 holds them
    if not (abs(x) < MOST_PIXELS and abs(y) < MOST_PIXELS):
        raise _wrong(path, number, "two finite numbers", line)
    return x, y


def _wrong(path: Path, number: int, expected: str, found: str | None) -> AnnotationError:
    """The error that a line causes."""
    what = "the end of the file" if found is None else repr(found[:60])[:80]
    return AnnotationError(f"{path}, line {number}: expected {expected}, found {what}")


RESEARCH_USE = (
    "For research use only: the model was trained on annotated photographs whose terms allow research alone. "
    "It holds none of them."
)
"""The terms of what is trained on the annotated photographs that the field has."""
TABLE = "landmarks.npz"
# Bytes of the arrays for each one of their file, and bytes that any file may have: compressed coordinates take a third
MOST_UNPACKED, UNPACKED_FLOOR = 4, 64 << 20
# What numpy and its unpackers raise over a damaged file
_UNREADABLE = (
    ValueError, EOFError, TypeError, KeyError, AttributeError, OSError, MemoryError, OverflowError, RuntimeError,
    SyntaxError, struct.error, zipfile.BadZipFile, zlib.error, lzma.LZMAError,
)  # fmt: skip
# Errors are divided by the distance of the eyes, and poses by the size of the face
NO_SIZE = (
    "expected points that enclose a face, with outer eye corners (36 and 45) apart, found points without extent; "
    "annotate the face, or leave it out"
)
IMAGES = (".jpg", ".png", ".jpeg", ".bmp")


@dataclass(frozen=True, kw_only=True)
class Annotations:
    """Annotated faces, one per row."""

    images: tuple[Path, ...]  # F files: the image of each face
    landmarks: Tensor  # (F, 68, 2) float32 pixels (x, y), pixel centres at whole numbers from 0
    split: tuple[str, ...]  # F names of the sets that the faces belong to; "" where the source names none

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, rows: Tensor | slice | list[int]) -> "Annotations":
        """The faces of these rows: indices, bools or a slice."""
        numbers = torch.arange(len(self))[rows].tolist()
        return Annotations(
            images=tuple(self.images[number] for number in numbers),
            landmarks=self.landmarks[numbers],
            split=tuple(self.split[number] for number in numbers),
        )

    def of_split(self, *names: str) -> "Annotations":
        """The faces of the sets of these names.

        Raises:
            AnnotationError: There is no set of such a name.
        """
        for name in names:
            if name not in self.split:
                known = ", ".join(map(repr, sorted(set(self.split))))
                raise AnnotationError(f"there is no split {name!r}; the annotations have {known or 'no faces'}")
        return self[[number for number, name in enumerate(self.split) if name in names]]


def read_annotations(folder: Path) -> Annotations:
    """The annotated faces of a folder.

    Args:
        folder: It holds either ``landmarks.npz`` with ``names`` (files relative to the folder), ``landmarks``
            (F, 68, 2) in pixels from 0, and maybe ``split``; or, in it or below it, images with iBUG's ``.pts`` files
            beside them: NAME.pts belongs to NAME.jpg, .png, .jpeg or .bmp, and its subfolder names the split.

    Returns:
        The faces, as the table lists them or sorted by path.

    Raises:
        AnnotationError: There are no annotations, or bad ones; says which and where.
        OSError: A file cannot be read.
    """
    table = folder / TABLE
    if table.is_file():
        return _from_table(table)
    # macOS writes ._NAME beside NAME on foreign disks
    found = [file for file in folder.rglob("*.*") if not file.name.startswith(".")]
    files = sorted(file for file in found if file.suffix.lower() == ".pts")
    if not files:
        raise AnnotationError(f"{folder}: expected {TABLE}, or images with .pts files, found neither")
    there = {path.with_suffix(path.suffix.lower()): path for path in found}
    landmarks = torch.stack([read_pts(file, NUM_LANDMARKS) for file in files])
    for file, row in zip(files, _without_size(landmarks), strict=True):
        if row:
            raise AnnotationError(f"{file}: {NO_SIZE}")
    return Annotations(
        images=tuple(_image_of(file, there) for file in files),
        landmarks=landmarks,
        split=tuple(_subfolder(file, folder) for file in files),
    )


def _from_table(path: Path) -> Annotations:
    """The faces that ``landmarks.npz`` lists."""
    arrays = read_arrays(path)
    names = _texts(arrays, "names", path)
    if not names:
        raise AnnotationError(f"{path}: names: expected at least one annotated face, found none")
    split = _texts(arrays, "split", path) if "split" in arrays else ("",) * len(names)
    landmarks = arrays.get("landmarks")
    if landmarks is None or landmarks.dtype.kind != "f" or landmarks.shape != (len(names), NUM_LANDMARKS, 2):
        found = "nothing" if landmarks is None else f"{landmarks.dtype} of shape {landmarks.shape}"
        raise AnnotationError(
            f"{path}: landmarks: expected floating point numbers ({len(names)}, {NUM_LANDMARKS}, 2), one row per name, "
            f"found {found}"
        )
    if len(split) != len(names):
        raise AnnotationError(f"{path}: split: expected {len(names)} names, one per face, found {len(split)}")
    if not (finite := (np.abs(landmarks) < MOST_PIXELS).all((1, 2))).all():
        raise AnnotationError(f"{path}: landmarks of {names[int(finite.argmin())]!r} are not all finite")
    points = torch.from_numpy(landmarks.astype(np.float32))
    if (flat := _without_size(points)).any():
        raise AnnotationError(f"{path}: landmarks of {names[int(flat.int().argmax())]!r}: {NO_SIZE}")
    return Annotations(images=tuple(path.parent / name for name in names), landmarks=points, split=split)


def _without_size(landmarks: Tensor) -> Tensor:
    """Which faces (F,) of landmarks (F, N, 2) lie on a line along an axis, or have their outer eye corners together."""
    left, right = (landmarks[:, corner] for corner in OUTER_EYE_CORNERS)
    return (landmarks.amax(1) <= landmarks.amin(1)).any(-1) | (left == right).all(-1)


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """The arrays of an ``.npz`` file by name; never runs what a file says.

    Raises:
        AnnotationError: It is no such file, or damaged.
        OSError: It cannot be read.
    """
    size = require_regular_file(path)
    with path.open("rb") as file:
        try:
            with np.load(file, allow_pickle=False) as arrays:
                _check_unpacked(arrays.zip.infolist(), size)
                return dict(arrays)
        except _UNREADABLE as error:
            if download := download_in_place(path):
                raise AnnotationError(f"{path}: expected a table of landmarks, found {download}") from error
            reason = str(error).partition("\n")[0][:120]
            raise AnnotationError(f"{path}: expected arrays as numpy.savez writes them: {reason}") from error


def _check_unpacked(entries: list[zipfile.ZipInfo], size: int) -> None:
    """Refuses an archive that takes far more memory than its file: it says so itself."""
    unpacked = sum(entry.file_size for entry in entries)
    if unpacked > MOST_UNPACKED * size + UNPACKED_FLOOR:
        raise ValueError(f"{unpacked} bytes in a file of {size}; save them with numpy.savez")


def _texts(arrays: dict[str, np.ndarray], key: str, path: Path) -> tuple[str, ...]:
    """An array of texts."""
    texts = arrays.get(key)
    # numpy makes numbers of an empty list
    if texts is not None and texts.shape == (0,):
        return ()
    if texts is None or texts.dtype.kind != "U" or texts.ndim != 1:
        found = "nothing" if texts is None else f"{texts.dtype} of shape {texts.shape}"
        raise AnnotationError(f"{path}: {key}: expected a list of texts, found {found}")
    return tuple(texts.tolist())


def _image_of(file: Path, there: dict[Path, Path]) -> Path:
    """The image beside a ``.pts`` file, of several the first kind in `IMAGES`; its suffix may be capital."""
    for suffix in IMAGES:
        if image := there.get(file.with_suffix(suffix)):
            return image
    raise AnnotationError(f"{file}: there is no image {file.stem}.jpg, .png, .jpeg or .bmp beside it")


def _subfolder(file: Path, folder: Path) -> str:
    """The folder of a file below another, "" where it is that one."""
    inside = file.parent.relative_to(folder).as_posix()
    return "" if inside == "." else inside
