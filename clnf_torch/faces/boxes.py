"""Boxes that a caller gives for images: for one image, for each of several, or by file name."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from clnf_torch.faces.sources import ImageSource
from clnf_torch.geometry.boxes import boxes_from
from clnf_torch.media.boxes import boxes_of


def boxes_by_image(boxes: Any, box_format: str, sources: Sequence[ImageSource]) -> Callable[[int], list[Any]]:
    """What gives the boxes x, y, width, height of an image by its number; they are not checked yet.

    Args:
        boxes: Shape (4,) or (K, 4) for one image; a list with an entry of these for each image; or a dictionary of
            them by path or file name. Tensors, arrays or lists. An empty list is an image without boxes.
        box_format: "xywh" or "xyxy".
        sources: The images.

    Raises:
        ValueError: They belong to another number of images, or there is no such format.
    """
    boxes_from(torch.zeros(0, 4, device="cpu", dtype=torch.float32), box_format)
    if isinstance(boxes, Mapping):
        table = {name: _plain(values) for name, values in boxes.items()}
        return lambda number: _rows(boxes_of(Path(sources[number].name), table), box_format)
    entries = _plain(boxes)
    # An empty list is an image without boxes, no box
    by_image = _depth(entries) > 2 or (entries != [] and all(entry == [] for entry in entries))
    if len(sources) == 1 and not by_image:
        entries = [entries]
    if len(entries) != len(sources):
        images = f"{len(sources)} image{'' if len(sources) == 1 else 's'}"
        raise ValueError(
            f"expected boxes for {images}, found those for {len(entries)}; give a list with the boxes of each, or a "
            "dictionary by file name"
        )
    return lambda number: _rows(entries[number], box_format)


def _plain(values: Any) -> Any:
    """Tensors, arrays and lists of them as lists."""
    if hasattr(values, "tolist"):
        return values.tolist()
    return [_plain(value) for value in values] if isinstance(values, (list, tuple)) else values


def _rows(boxes: Any, box_format: str) -> list[Any]:
    """One box, or a list of boxes, as a list of boxes x, y, width, height."""
    rows = [boxes] if _depth(boxes) < 2 and boxes != [] else boxes
    return [_converted(row, box_format) for row in rows]


def _converted(box: Any, box_format: str) -> Any:
    """A box x, y, width, height; what is no box stays as it is, to be named as a problem."""
    # That torch would take for numbers
    if isinstance(box, list) and any(isinstance(number, bool) for number in box):
        return box
    try:
        return boxes_from(torch.tensor(box, dtype=torch.float64, device="cpu").view(4), box_format).tolist()
    except (TypeError, ValueError, RuntimeError):
        return box


def _depth(values: Any) -> int:
    """How deep lists are nested."""
    return 1 + max(map(_depth, values), default=0) if isinstance(values, list) else 0
