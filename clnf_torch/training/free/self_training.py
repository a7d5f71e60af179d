"""Self-training: landmarks of photographs that nobody has annotated, where a model agrees with itself.

A model that finds the same landmarks from several boxes, and in the mirrored photograph, mostly finds the right ones.
Such photographs show it what people look like, which rendered faces do not.

Source:
    Xie, Luong, Hovy, Le: Self-training with noisy student improves ImageNet classification, CVPR 2020.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from clnf_torch.detection import FaceDetector
from clnf_torch.geometry.gray import to_gray
from clnf_torch.geometry.landmarks68 import OUTER_EYE_CORNERS
from clnf_torch.geometry.records import Rows
from clnf_torch.models.landmark_model import LandmarkModel
from clnf_torch.pipeline import LandmarkDetector
from clnf_torch.training.augmentation.random import Sampler
from clnf_torch.training.data.crops import FaceCrops, cut_square, mirrored, square_around, to_crop
from clnf_torch.training.free.mesh_teacher import drawn_to

# Faces that are fitted together
BATCH = 64


@dataclass(frozen=True, kw_only=True)
class Portraits(Rows):
    """Crops of faces that nobody has annotated."""

    gray: Tensor  # (F, S, S) uint8
    boxes: Tensor  # (F, 4) x, y, width, height, pixels of the crops


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """When landmarks are believed."""

    looks: int = 6  # from so many boxes each, plain and mirrored
    size: float = 0.06  # deviation of the boxes' sides, shares of them
    centre: float = 0.04  # deviation of the boxes' middles, shares of their sides
    most: float = 0.02  # mean deviation of a landmark over all looks, over the distance of the outer eye corners


def cut_portraits(images: Iterable[Tensor], detector: FaceDetector, side: int, margin: float = 2.0) -> Portraits:
    """Squares around the largest face of every image that shows one.

    Args:
        images: RGB, uint8, shape (3, H, W) each.
        detector: Gives boxes of 68 landmarks.
        side: Of the crops, S pixels.
        margin: The square's side is so many times the longer side of the box.
    """
    gray = [torch.zeros(0, side, side, dtype=torch.uint8)]
    boxes = [torch.zeros(0, 4)]
    for image in images:
        found = detector.detect(image[None]).boxes.cpu().float()
        if not len(found):
            continue
        box = found[found[:, 2:].prod(1).argmax()]
        corners = torch.stack((box[:2], box[:2] + box[2:]))
        left, top, length = square_around(corners, margin)
        gray.append(cut_square(to_gray(image[None])[0], left, top, length, side)[None])
        low, high = to_crop(corners, left, top, length, side)
        boxes.append(torch.cat((low, high - low))[None])
    return Portraits(gray=torch.cat(gray), boxes=torch.cat(boxes))


@torch.no_grad()
def annotate(
    model: LandmarkModel,
    portraits: Portraits,
    mirror: Tensor,
    seed: int,
    agreement: Agreement | None = None,
    taught: Tensor | None = None,
) -> FaceCrops:
    """The portraits on whose landmarks the model agrees with itself, with the mean of what it finds.

    Args:
        model: Its fits are in the exact numerics.
        portraits: F crops, on the model's device.
        mirror: Each landmark's partner on the other side of the face, int64, shape (N,).
        seed: Of the boxes.
        agreement: Settings.
        taught: What a `MeshTeacher` finds, shape (F, N, 2), which the landmarks are drawn to.
    """
    agreement = agreement or Agreement()
    sampler = Sampler(torch.Generator().manual_seed(seed), portraits.gray.device)
    detector, width = LandmarkDetector(model, "exact").eval(), portraits.gray.shape[-1]
    looks = []
    for number in range(2 * agreement.looks):
        flipped = number % 2 == 1
        gray, boxes = portraits.gray, _moved(portraits.boxes, agreement, sampler)
        if flipped:
            gray = gray.flip(-1)
            boxes = torch.cat((width - 1 - boxes[:, :1] - boxes[:, 2:3], boxes[:, 1:]), 1)
        found = _fitted(detector, gray, boxes)
        if flipped:
            found = mirrored(found, mirror, width)
        looks.append(found)
    every = torch.stack(looks)  # (K, F, N, 2)
    landmarks = every.mean(0)
    apart = (every - landmarks).norm(dim=-1).mean((0, 2))
    left, right = (landmarks[:, corner] for corner in OUTER_EYE_CORNERS)
    # Not a number where a fit failed
    agreed = apart <= agreement.most * (left - right).norm(dim=1)
    if taught is not None:
        landmarks = drawn_to(landmarks, taught)
    return FaceCrops(gray=portraits.gray[agreed], landmarks=landmarks[agreed].float())


def _moved(boxes: Tensor, agreement: Agreement, sampler: Sampler) -> Tensor:
    """Boxes (F, 4) a little larger or smaller, and moved."""
    extent, count = boxes[:, 2:], len(boxes)
    grown = extent * (1 + sampler.normal(agreement.size, count, 1))
    middle = boxes[:, :2] + extent / 2 + sampler.normal(agreement.centre, count, 2) * extent
    return torch.cat((middle - grown / 2, grown), 1)


def _fitted(detector: LandmarkDetector, gray: Tensor, boxes: Tensor) -> Tensor:
    """Landmarks (F, N, 2) of crops; NaN where the fit failed."""
    found = []
    for rows in torch.arange(len(boxes), device=boxes.device).split(BATCH):
        fits = detector.fit(gray[rows, None], boxes[rows], parts=False, validate=False)
        found.append(fits.landmarks.where(fits.success[:, None, None], torch.nan))
    return torch.cat(found)
