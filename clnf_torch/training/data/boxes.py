"""Boxes of annotated faces: perturbed ones, detected ones, and the four numbers that calibrate a face detector.

Detectors learn boxes of their own kind, mostly from forehead to chin. How far the extent of the landmarks lies to the
right of a box and below it, in widths and heights of the box, and how much wider and higher it is, differs little
between faces; `MTCNN` has room for these numbers.
"""

from collections.abc import Iterable

import torch
from torch import Tensor

from clnf_torch.detection import FaceDetector
from clnf_torch.detection.mtcnn import Factors
from clnf_torch.geometry.boxes import box_around, box_iou
from clnf_torch.training.augmentation.random import Sampler

# The least overlap of a found box with the extent of the face that it belongs to
SAME_FACE = 0.3
# The least factor of a perturbed box's size: no box vanishes or turns over
SMALLEST = 0.3
# Deviations of size and middle of boxes as other face detectors, hands and quick faces leave them
FAR_OFF = 0.25, 0.2


def perturb_boxes(landmarks: Tensor, generator: torch.Generator, size: float = 0.05, center: float = 0.03) -> Tensor:
    """Boxes as face detectors give them: not quite where the landmarks are.

    Each is the landmarks' extent, its two sides multiplied by one Gaussian number around 1, but at least by `SMALLEST`,
    its middle moved by Gaussian shares of the extent's own width and height.

    Args:
        landmarks: Pixels, shape (B, N, 2).
        generator: On the CPU.
        size: Standard deviation of the factor.
        center: Standard deviation of the shares.

    Returns:
        x, y, width, height in pixels, shape (B, 4).
    """
    boxes = box_around(landmarks)
    middle, extent = boxes[:, :2] + boxes[:, 2:] / 2, boxes[:, 2:]
    drawn = torch.randn(len(boxes), 3, generator=generator).to(boxes)
    grown = extent * (1 + size * drawn[:, :1]).clamp_min(SMALLEST)
    return torch.cat([middle + center * drawn[:, 1:] * extent - grown / 2, grown], 1)


def boxes_to_start_from(
    landmarks: Tensor, far_off: float, sampler: Sampler, size: float = 0.05, center: float = 0.03
) -> Tensor:
    """`perturb_boxes`, but each box has a probability to be far off its face: moved and resized by `FAR_OFF`."""
    boxes = perturb_boxes(landmarks, sampler.generator, size, center)
    if not far_off:
        return boxes
    off = perturb_boxes(landmarks, sampler.generator, *FAR_OFF)
    return torch.where(sampler.bernoulli(far_off, len(boxes), 1), off, boxes)


def box_of_face(found: Tensor, extent: Tensor) -> Tensor:
    """The box that overlaps the extent of a face most.

    Args:
        found: Boxes found in the image, shape (K, 4).
        extent: Of the face's landmarks: x, y, width, height, shape (4,).

    Returns:
        Shape (4,); NaN where no box overlaps the extent by `SAME_FACE`.
    """
    found = found.to(extent)
    nowhere = found.new_full((1, 4), torch.nan)
    common = box_iou(found, extent)
    common = torch.cat([common.new_full((1,), SAME_FACE), common.nan_to_num(0)])
    return torch.cat([nowhere, found])[common.argmax()]


# Deviations from which on a face counts less; from a median distance to a deviation
BEND, GAUSSIAN = 1.5, 1.4826
# Deviation of faces that agree to the last bit
LEAST = 1e-9
# re-weightings; a few are enough
STEPS = 30


def detect_annotated(detector: FaceDetector, faces: Iterable[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """Boxes that a detector finds on annotated faces.

    Args:
        detector: Gives boxes of its own kind.
        faces: Images (3, H, W), each with the extent of its face's landmarks: x, y, width, height, shape (4,).

    Returns:
        The box of each face, as `box_of_face` says, and the extents, both (K, 4); faces without a box are left out.
    """
    boxes, extents = [torch.zeros(0, 4)], [torch.zeros(0, 4)]
    for image, extent in faces:
        found = detector.detect(image[None]).boxes.cpu()
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
