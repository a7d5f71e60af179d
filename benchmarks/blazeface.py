"""The maps from BlazeFace's keypoints to boxes of 68 landmarks, fitted to the training faces in scenes."""

from collections.abc import Iterator

import torch
from rich.table import Table
from torch import Tensor

from benchmarks.faces import ALL_SIZES, TRAINING
from benchmarks.scenes import FrameBatch, scenes
from benchmarks.tables import table
from clnf_torch.detection import load_face_detector
from clnf_torch.detection.blazeface import BlazeFaceConfig, landmark_corners
from clnf_torch.detection.blazeface_networks import NETWORKS
from clnf_torch.geometry.boxes import box_iou
from clnf_torch.training.calibration.face_boxes import fit_map, found_faces

# Every so manieth face of a split
EVERY = 2


def calibration(device: str, path: str = "blazeface") -> list[Table]:
    """The maps of both networks, to be written to ``converters/mediapipe_package/calibration.py``."""
    tables = []
    for name in NETWORKS:
        detector = load_face_detector(path, device, config=BlazeFaceConfig(network=name))
        points, extents = found_faces(detector, ((scene.image, scene.extent) for scene in _training()))
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


def _overlap(points: Tensor, extents: Tensor, to_landmarks: Tensor) -> Tensor:
    """IoU (K,) of the boxes that a map makes of faces with those that they should be."""
    low, high = landmark_corners(points, to_landmarks.to(points)).unbind(1)
    wanted = torch.cat((extents[:, :2], extents[:, 2:] - extents[:, :2]), 1)
    return box_iou(torch.cat((low, high - low), 1), wanted)
