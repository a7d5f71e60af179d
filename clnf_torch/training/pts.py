"""iBUG's ``.pts`` files: the landmarks of one face, one point per line."""

import math
import re
from pathlib import Path

import torch
from torch import Tensor


class AnnotationError(ValueError):
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
    lines = path.read_text(encoding="utf-8", errors="replace").rstrip().splitlines()
    expected = [r"version:\s*1", rf"n_points:\s*{landmarks}", r"\{", *[r"\S+\s+\S+"] * landmarks, r"\}"]
    said = ["'version: 1'", f"'n_points: {landmarks}'", "'{'", *["a point 'x y'"] * landmarks, "'}'"]
    for number, pattern in enumerate(expected):
        found = lines[number].strip() if number < len(lines) else None
        if found is None or not re.fullmatch(pattern, found):
            raise _wrong(path, number, said[number], found)
    if len(lines) > len(expected):
        raise _wrong(path, len(expected), "the end of the file", lines[len(expected)])
    return torch.tensor([_point(path, number, lines[number]) for number in range(3, 3 + landmarks)]) - 1


def _point(path: Path, number: int, line: str) -> tuple[float, float]:
    """The point of a line."""
    try:
        x, y = map(float, line.split())
    except ValueError:
        raise _wrong(path, number, "two numbers", line) from None
    if not math.isfinite(x + y):
        raise _wrong(path, number, "two finite numbers", line)
    return x, y


def _wrong(path: Path, number: int, expected: str, found: str | None) -> AnnotationError:
    """The error that a line, counted from 0, causes."""
    what = "the end of the file" if found is None else repr(found[:60])
    return AnnotationError(f"{path}, line {number + 1}: expected {expected}, found {what}")
