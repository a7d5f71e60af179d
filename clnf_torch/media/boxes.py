"""Bounding boxes that are given, read and checked."""

import json
import math
from collections import Counter
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from clnf_torch.files.reading import InputError, read_text

Box = tuple[float, float, float, float]
"""x, y, width, height in pixels."""


class BoxError(InputError, ValueError):
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
