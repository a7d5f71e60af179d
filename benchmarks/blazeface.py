"""The maps from BlazeFace's keypoints to boxes of 68 landmarks, fitted to the training faces in scenes."""

from collections.abc import Iterator

import torch
from rich.table import Table
from torch import Tensor

from benchmarks.face_detection import ALL_SIZES, TRAINING
from benchmarks.scenes import FrameBatch, scenes
from benchmarks.tables import table
from clnf_torch.detection import load_face_detector
from clnf_torch.detection.blazeface import FEATURES, BlazeFace, BlazeFaceConfig, keypoint_features, landmark_corners
from clnf_torch.detection.blazeface_networks import NETWORKS
from clnf_torch.geometry.boxes import box_iou
from clnf_torch.training.data.boxes import SAME_FACE

# Huber's robust ridge regression: deviations from which on a face counts less, in medians of all; and re-weightings
BEND, STEPS = 2.0, 30
# Of squared coefficients: keeps them below 1.5 where they would be 4, for an IoU that is smaller by 0.001
RIDGE = 1e-5
# Every so manieth face of a split
EVERY = 2


def calibration(device: str, path: str = "blazeface") -> list[Table]:
    """The maps of both networks, to be written to ``converters/mediapipe_package/calibration.py``."""
    tables = []
    for name in NETWORKS:
        detector = load_face_detector(path, device, config=BlazeFaceConfig(network=name))
        points, extents = found_faces(detector, _training())
        fitted = fit_map(points, extents)
        before, after = (_overlap(points, extents, some).mean() for some in (detector.to_landmarks.cpu(), fitted))
        rows = [[f"{value:.3f}" for value in row] for row in fitted.tolist()]
        title = f"{name}, {len(points)} faces, IoU {before:.4f} in the bundle, {after:.4f} here"
        tables.append(table(title, ("x y of six keypoints, and 1", *[""] * (len(rows[0]) - 1)), rows))
    return tables


def _training() -> Iterator[FrameBatch]:
    """The training faces, as they are and in many sizes."""
    for split in TRAINING:
        for widths in (None, ALL_SIZES):
            yield from scenes(split, widths, every=EVERY)


def found_faces(detector: BlazeFace, faces: Iterator[FrameBatch]) -> tuple[Tensor, Tensor]:
    """Faces as the detector describes them (K, 8, 2), and left, top, right, bottom of their landmarks (K, 4)."""
    points, extents = [], []
    for scene in faces:
        found = detector.keypoints(scene.image[None]).points.cpu().double()
        overlap = box_iou(torch.cat((found[:, 0] - found[:, 1] / 2, found[:, 1]), -1), scene.extent)
        if len(found) and overlap.max() > SAME_FACE:
            points.append(found[overlap.argmax()])
            extents.append(torch.cat((scene.extent[:2], scene.extent[:2] + scene.extent[2:])))
    return torch.stack(points), torch.stack(extents)


def fit_map(points: Tensor, extents: Tensor) -> Tensor:
    """The map (4, 13) that brings faces (K, 8, 2) closest to extents (K, 4), in sizes of their boxes."""
    features = keypoint_features(points)
    wanted = ((extents.view(-1, 2, 2) - points[:, :1]) / points[:, 1:2]).flatten(1)
    weight, penalty = torch.ones(len(points), 1).to(features), RIDGE * len(points) * torch.eye(FEATURES).to(features)
    # The constant may be as large as it likes
    penalty[-1, -1] = 0
    solved = features.new_zeros(FEATURES, 4)
    for _ in range(STEPS):
        normal, right = features.mT @ (weight * features), features.mT @ (weight * wanted)
        solved = torch.linalg.solve(normal + penalty, right)
        misses = (features @ solved - wanted).norm(dim=1, keepdim=True)
        weight = (BEND * misses.median() / misses).clamp(max=1)
    return solved.mT


def _overlap(points: Tensor, extents: Tensor, to_landmarks: Tensor) -> Tensor:
    """IoU (K,) of the boxes that a map makes of faces with those that they should be."""
    low, high = landmark_corners(points, to_landmarks.to(points)).unbind(1)
    wanted = torch.cat((extents[:, :2], extents[:, 2:] - extents[:, :2]), 1)
    return box_iou(torch.cat((low, high - low), 1), wanted)
