"""Bounding boxes that are given, read and checked; and the evaluation boxes of annotated faces."""

import json
import math
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from clnf_torch.detection import FaceDetector
from clnf_torch.geometry.boxes import box_around
from clnf_torch.models.files import read_text
from clnf_torch.training.data.annotations import Annotations, read_arrays
from clnf_torch.training.data.boxes import box_of_face, perturb_boxes
from clnf_torch.training.evaluation import Reader

Box = tuple[float, float, float, float]
"""x, y, width, height in pixels."""


class BoxError(ValueError):
    """A box, or a file of boxes, that cannot be used; its text is one line."""


def read_boxes_file(path: Path) -> dict[str, Any]:
    """A JSON file that maps image names to lists of boxes.

    Args:
        path: The file, such as ``{"face.jpg": [[40, 42, 150, 161]]}``.

    Returns:
        Its contents; the boxes are not checked yet.

    Raises:
        BoxError: It is no such file.
        OSError: It cannot be read.
    """
    expected = "expected a JSON object that maps image names to lists of boxes"
    try:
        table = json.loads(read_text(path), object_pairs_hook=partial(_named_once, path))
    except BoxError:
        raise
    except (ValueError, RecursionError) as error:
        raise BoxError(f"{path}: {expected}: {error}") from error
    if not isinstance(table, dict):
        raise BoxError(f"{path}: {expected}, found {_excerpt(table)}")
    return table


def _named_once(path: Path, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object, whose names differ."""
    table = dict(pairs)
    if len(table) < len(pairs):
        twice = Counter(name for name, _ in pairs).most_common(1)[0][0]
        raise BoxError(f"{path}: names {twice[:60]!r} twice; put all its boxes in one list")
    return table


def boxes_of(image: Path, table: Mapping[str, Any]) -> list[Any]:
    """The boxes that a file has for an image, by its path as given or else by its file name.

    Raises:
        BoxError: The file does not mention it, or not with a list.
    """
    entry = table.get(str(image), table.get(image.name))
    if entry is None:
        raise BoxError(f"{image}: the file of boxes has no entry {image.name!r}; add one, or [] for no face")
    if not isinstance(entry, list):
        raise BoxError(f"{image}: expected a list of boxes [x, y, width, height], found {_excerpt(entry)}")
    return entry


def check_box(value: Any, width: int, height: int) -> Box:
    """A box in an image.

    Args:
        value: What was given for it.
        width: Of the image, pixels.
        height: Of the image, pixels.

    Returns:
        The box.

    Raises:
        BoxError: It is not four finite numbers, is empty, or lies outside the image.
    """
    numbers = _four_numbers(value)
    if not all(map(math.isfinite, numbers)):
        raise BoxError(f"box {_excerpt(value)} is not finite; give x, y, width, height in pixels")
    x, y, w, h = numbers
    if w <= 0 or h <= 0:
        raise BoxError(f"box {_excerpt(value)} has width {w:g} and height {h:g}; both must be above 0")
    if x + w <= 0 or y + h <= 0 or x >= width or y >= height:
        raise BoxError(f"box {_excerpt(value)} lies outside the image of {width} x {height} pixels")
    return x, y, w, h


def _four_numbers(value: Any) -> Box:
    """The four numbers that a box must be."""
    parts = list(value) if isinstance(value, (list, tuple)) else []
    if len(parts) != 4 or not all(isinstance(part, (int, float)) and not isinstance(part, bool) for part in parts):
        raise BoxError(f"box {_excerpt(value)} is not four numbers; give x, y, width, height in pixels")
    try:
        x, y, w, h = map(float, parts)
    except OverflowError:
        raise BoxError(f"box {_excerpt(value)} is not finite; give x, y, width, height in pixels") from None
    return x, y, w, h


def _excerpt(value: Any, limit: int = 60) -> str:
    """A value as JSON writes it, cut to fit in a line."""
    text = json.dumps(value)
    return text if len(text) <= limit else f"{text[: limit - 3]}..."


GIVEN, PERTURBED, DETECTED = "given", "perturbed", "detected"


def known_boxes(kind: str, faces: Annotations, data: Path, seed: int) -> Tensor:
    """Evaluation boxes that need no face detector, x, y, width, height, float32, shape (F, 4).

    Args:
        kind: "given", "perturbed", or a file: JSON as for ``detect``, or ``.npz`` with ``names`` and ``boxes``.
        faces: The faces.
        data: Their folder; names in files are relative to it, or mere file names.
        seed: Of perturbed boxes.

    Raises:
        BoxError: The file is no file of boxes, or does not mention an image.
    """
    extents = box_around(faces.landmarks)
    if kind == GIVEN:
        return extents
    if kind == PERTURBED:
        return perturb_boxes(faces.landmarks, torch.Generator().manual_seed(seed))
    table = _read_table(Path(kind), data)
    boxes = [box_of_face(_boxes_in(path, table), extent) for path, extent in zip(faces.images, extents, strict=True)]
    return torch.stack(boxes) if boxes else torch.zeros(0, 4)


def detected_boxes(finder: FaceDetector, faces: Annotations, read: Reader, done: Callable[[int], None]) -> Tensor:
    """Evaluation boxes that a face detector finds on the faces, float32, shape (F, 4); NaN where it finds none."""
    boxes = torch.full((len(faces), 4), torch.nan)
    for row, extent in enumerate(box_around(faces.landmarks)):
        with torch.inference_mode():
            found = finder.detect(read(row)[None])
        boxes[row] = box_of_face(found.boxes.cpu(), extent)
        done(1)
    return boxes


def _read_table(file: Path, data: Path) -> dict[str, Any]:
    """The boxes of a file by the names it gives, and by the paths that these mean in a folder."""
    table = _from_npz(file) if file.suffix.lower() == ".npz" else read_boxes_file(file)
    return {**table, **{str(data / name): boxes for name, boxes in table.items()}}


def _from_npz(file: Path) -> dict[str, Any]:
    """The boxes of an ``.npz`` file by name."""
    arrays = read_arrays(file)
    names, boxes = arrays.get("names"), arrays.get("boxes")
    if names is None or boxes is None or names.ndim != 1 or boxes.shape != (len(names), 4):
        raise BoxError(f"{file}: expected names (K,) and boxes (K, 4), found {', '.join(arrays) or 'nothing'}")
    table: dict[str, Any] = {}
    for name, box in zip(map(str, names), boxes.tolist(), strict=True):
        table.setdefault(name, []).append(box)
    return table


def _boxes_in(image: Path, table: dict[str, Any]) -> Tensor:
    """The boxes (K, 4) that a table has for an image."""
    given = boxes_of(image, table)
    try:
        return torch.tensor(given, dtype=torch.float32).reshape(-1, 4)
    except (TypeError, ValueError, RuntimeError) as error:
        raise BoxError(f"{image}: expected a list of boxes [x, y, width, height] in the file of boxes") from error
