"""The evaluation boxes of annotated faces: given, perturbed, detected, or of a file."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from clnf_torch.detection import FaceDetector
from clnf_torch.geometry.boxes import box_around
from clnf_torch.media.boxes import BoxError, boxes_of, read_boxes_file
from clnf_torch.training.data.annotations import Annotations, read_arrays
from clnf_torch.training.data.boxes import box_of_face, perturb_boxes
from clnf_torch.training.evaluation.annotated import Reader

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
    return torch.stack(boxes) if boxes else torch.zeros(0, 4, dtype=torch.float32, device="cpu")


def detected_boxes(
    finder: FaceDetector, faces: Annotations, read: Reader, rows: range, done: Callable[[int], None]
) -> Tensor:
    """Evaluation boxes that a face detector finds on some faces, float32, shape (len(rows), 4); NaN where none."""
    boxes = torch.full((len(rows), 4), torch.nan, dtype=torch.float32, device="cpu")
    for place, extent in enumerate(box_around(faces.landmarks[rows.start : rows.stop])):
        with torch.inference_mode():
            found = finder.detect(read(rows[place])[None])
        boxes[place] = box_of_face(found.boxes.cpu(), extent)
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
        return torch.tensor(given, dtype=torch.float32, device="cpu").reshape(-1, 4)
    except (TypeError, ValueError, RuntimeError) as error:
        raise BoxError(f"{image}: expected a list of boxes [x, y, width, height] in the file of boxes") from error
