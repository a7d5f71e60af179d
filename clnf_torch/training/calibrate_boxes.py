"""Four numbers that turn a face detector's boxes into the extent of 68 landmarks, fitted to annotated faces.

Detectors learn boxes of their own kind, mostly from forehead to chin. How far the extent of the landmarks lies to the
right of a box and below it, in widths and heights of the box, and how much wider and higher it is, differs little
between faces; `MTCNN` has room for these numbers.
"""

from collections.abc import Iterable

import torch
from torch import Tensor

from clnf_torch.detection import FaceDetector
from clnf_torch.detection.mtcnn import Factors
from clnf_torch.training.boxes import box_of_face

BEND, GAUSSIAN = 1.5, 1.4826  # deviations from which on a face counts less; from a median distance to a deviation
LEAST = 1e-9  # deviation of faces that agree to the last bit
STEPS = 30  # re-weightings; a few are enough


def find_annotated(detector: FaceDetector, faces: Iterable[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """What a detector makes of annotated faces.

    Args:
        detector: Gives boxes of its own kind.
        faces: Pictures (3, H, W), each with the extent of its face's landmarks: x, y, width, height, shape (4,).

    Returns:
        The box of each face, as `box_of_face` says, and the extents, both (K, 4); faces without a box are left out.
    """
    boxes, extents = [torch.zeros(0, 4)], [torch.zeros(0, 4)]
    for picture, extent in faces:
        found = detector.detect(picture[None]).boxes.cpu()
        box = box_of_face(found, extent.to(found))
        if box.isfinite().all():
            boxes.append(box[None])
            extents.append(extent[None].to(found))
    return torch.cat(boxes), torch.cat(extents)


def fit_factors(boxes: Tensor, extents: Tensor) -> Factors:
    """The factors that bring boxes closest to extents, by Huber's robust least squares.

    Args:
        boxes: x, y, width, height, shape (K, 4), K at least 1.
        extents: Where they should be, shape (K, 4).

    Returns:
        How far right and down, in widths and heights of the box; how much wider and higher.
    """
    boxes, extents = boxes.double(), extents.double()
    size = boxes[:, 2:]
    wanted = torch.cat(((extents[:, :2] - boxes[:, :2]) / size, extents[:, 2:] / size), dim=1)
    centre = wanted.median(0).values
    spread = (GAUSSIAN * (wanted - centre).abs().median(0).values).clamp_min(LEAST)
    for _ in range(STEPS):
        weight = (BEND * spread / (wanted - centre).abs()).clamp(max=1)
        centre = (weight * wanted).sum(0) / weight.sum(0)
    right, down, wider, higher = centre.tolist()
    return right, down, wider, higher
