"""Calibrates BlazeFace: a linear map from its keypoints to the extent of 68 landmarks, by Huber's robust regression."""

from collections.abc import Iterable
from copy import deepcopy

import torch
from torch import Tensor

from clnf_torch.detection.blazeface import FEATURES, BlazeFace, keypoint_features
from clnf_torch.geometry.boxes import box_iou
from clnf_torch.training.data.boxes import SAME_FACE

# Deviations from which on a face counts less, in medians of all; and re-weightings
BEND, STEPS = 2.0, 30
# Of squared coefficients: keeps them below 1.5 where they would be 4, for an IoU that is smaller by 0.001
RIDGE = 1e-5


def calibrated(detector: BlazeFace, faces: Iterable[tuple[Tensor, Tensor]]) -> BlazeFace:
    """The detector with a map that is fitted to faces.

    Args:
        detector: It stays as it is.
        faces: Images (3, H, W), each with the extent of its face's landmarks: x, y, width, height, pixels, shape (4,).

    Raises:
        ValueError: It finds none of the faces.
    """
    points, corners = found_faces(detector, faces)
    if not len(points):
        raise ValueError("the face detector finds none of the faces to calibrate it by; give others")
    other = deepcopy(detector)
    other.to_landmarks = fit_map(points, corners).to(detector.to_landmarks)
    return other


def found_faces(detector: BlazeFace, faces: Iterable[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """Faces as the detector describes them (K, 8, 2), and left, top, right, bottom of their landmarks (K, 4), float64.

    Args:
        detector: The detector.
        faces: As for `calibrated`; faces that it does not find are left out.
    """
    points, corners = [torch.zeros(0, 8, 2, dtype=torch.float64)], [torch.zeros(0, 4, dtype=torch.float64)]
    for image, extent in faces:
        found, wanted = detector.keypoints(image[None]).points.cpu().double(), extent.double()
        overlap = box_iou(torch.cat((found[:, 0] - found[:, 1] / 2, found[:, 1]), -1), wanted)
        if len(found) and overlap.max() > SAME_FACE:
            points.append(found[overlap.argmax()][None])
            corners.append(torch.cat((wanted[:2], wanted[:2] + wanted[2:]))[None])
    return torch.cat(points), torch.cat(corners)


def fit_map(points: Tensor, corners: Tensor) -> Tensor:
    """The map (4, 13) that brings faces (K, 8, 2) closest to corners (K, 4), in sizes of their boxes."""
    features = keypoint_features(points)
    wanted = ((corners.view(-1, 2, 2) - points[:, :1]) / points[:, 1:2]).flatten(1)
    weight, penalty = torch.ones(len(points), 1).to(features), RIDGE * len(points) * torch.eye(FEATURES).to(features)
    # The constant may be as large as it likes
    penalty[-1, -1] = 0
    solved = features.new_zeros(FEATURES, 4)
    for _ in range(STEPS):
        normal, right = features.mT @ (weight * features), features.mT @ (weight * wanted)
        solved = torch.linalg.solve(normal + penalty, right)
        misses = (features @ solved - wanted).norm(dim=1, keepdim=True)
        bend = BEND * misses.median()
        # Of faces without a miss too: where most have none, the quotient is 0 / 0
        weight = torch.where(misses <= bend, 1, bend / misses)
    return solved.mT
