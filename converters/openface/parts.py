"""Parts of the face: finer models that a description names, and the landmarks that they share with the whole face."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from clnf_torch.converters.openface.description import Module
from clnf_torch.converters.openface.errors import ConversionError, Place, quote
from clnf_torch.models.landmark_model import Part

KEYWORD = "LandmarkDetector_part"
FORM = "model_eye/main.txt left_eye_28 36 8 37 10, a file, a name and pairs of landmarks"
_INDEX = re.compile(r"[0-9]{1,9}")


@dataclass(frozen=True, kw_only=True)
class PartLine:
    """A line ``LandmarkDetector_part path name i0 j0 i1 j1 ...``.

    Attributes:
        place: The file and line.
        path: The part's own description.
        name: The part's name; its settings depend on it.
        in_parent: Landmarks of the whole face that the part has too.
        in_part: Which of the part's landmarks they are.
        left_over: A last landmark without its partner, or None.
    """

    place: Place
    path: Path
    name: str
    in_parent: tuple[int, ...]
    in_part: tuple[int, ...]
    left_over: int | None


def read_part_line(module: Module) -> PartLine:
    """Reads the line of a part.

    Args:
        module: The line.

    Returns:
        What it says.

    Raises:
        ConversionError: It lacks a path, a name or pairs of landmarks.

    Source:
        OpenFace ``CLNF::Read``, which reads an incomplete pair too.
    """
    path, (_, *rest) = module.path, module.words
    if not rest:
        raise ConversionError(module.place, expected=FORM, found="the end of the line", remedy="complete the line")
    for word in rest[1:]:
        if not _INDEX.fullmatch(word):
            raise ConversionError(module.place, expected=FORM, found=quote(word.encode()), remedy="correct the line")
    numbers = tuple(map(int, rest[1:]))
    whole = len(numbers) // 2 * 2
    if whole == 0:
        found = f"{len(numbers)} landmarks"
        raise ConversionError(module.place, expected=FORM, found=found, remedy="complete the line")
    return PartLine(
        place=module.place,
        path=path,
        name=rest[0],
        in_parent=numbers[0:whole:2],
        in_part=numbers[1:whole:2],
        left_over=numbers[-1] if len(numbers) > whole else None,
    )


def part_record(line: PartLine, points: int, model: dict[str, Any]) -> dict[str, Any]:
    """A part as the bundle holds it.

    Args:
        line: Its line.
        points: Number of landmarks N of the whole face.
        model: The part's own ``model``.

    Returns:
        ``name``, ``in_parent`` and ``in_part`` (K,) int64, and ``model``.

    Raises:
        ConversionError: A landmark does not exist.
    """
    for indices, count, whose in (
        (line.in_parent, points, "the whole face"),
        (line.in_part, len(model["pdm"]["mean"]), f"the part {line.name}"),
    ):
        if max(indices) >= count:
            expected, found = f"landmarks of {whose} from 0 to {count - 1}", str(max(indices))
            raise ConversionError(line.place, expected=expected, found=found, remedy="correct the line")
    return Part.record(
        line.name, torch.tensor(line.in_parent, device="cpu"), torch.tensor(line.in_part, device="cpu"), model
    )
