"""All that is measured of fitted faces, in one call."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from clnf_torch.geometry.camera import Intrinsics
from clnf_torch.geometry.precision import in_own_precision
from clnf_torch.geometry.records import loadable
from clnf_torch.measures.gaze import EYE_PARTS, eye_middles, gaze_angles, gaze_directions, in_camera_space
from clnf_torch.measures.head_in_space import measure_head
from clnf_torch.measures.head_pose import HeadPose
from clnf_torch.measures.landmarks_3d import FittedShape, landmarks_3d
from clnf_torch.models.numerics import Numerics


@loadable
@dataclass(frozen=True)
class Eyes:
    """Both eyes of B faces, the one further left in the image first.

    Attributes:
        landmarks: Pixels, shape (B, 2, 28, 2).
        points: Landmarks in camera space, millimetres, shape (B, 2, 28, 3).
        gaze: Unit vectors in camera space, shape (B, 2, 3).
        gaze_angle: Of both eyes together, radians, shape (B, 2).
    """

    landmarks: Tensor
    points: Tensor
    gaze: Tensor
    gaze_angle: Tensor


@loadable
@dataclass(frozen=True)
class Measures:
    """What fitted landmarks say about B faces in front of the camera.

    Attributes:
        points: Landmarks in camera space, millimetres, shape (B, N, 3).
        pose: Of the heads.
        eyes: Both eyes; None where the model has no 28-point eyes.
    """

    points: Tensor
    pose: HeadPose
    eyes: Eyes | None


@in_own_precision
def measure(
    face: FittedShape,
    parts: Mapping[str, FittedShape],
    camera: Intrinsics,
    numerics: str | Numerics = "openface",
    gaze: Tensor | None = None,
) -> Measures:
    """3D landmarks, head pose and gaze.

    Args:
        face: The faces.
        parts: Their parts by name, of which both eyes are measured.
        camera: The camera, or one per face.
        numerics: "openface" or "exact"; see `head_pose` and `gaze_directions`.
        gaze: Directions of both eyes as `FitResult.gaze` tells them, shape (B, 2, 3); None: from their landmarks.

    Returns:
        One row per face; NaN where a row has no scale or numbers that are not finite (pose: 0 without a scale).
    """
    points, pose = measure_head(face, camera, numerics)
    if any(name not in parts for name in EYE_PARTS):
        return Measures(points, pose, None)
    eyes = [parts[name] for name in EYE_PARTS]
    eye_points = torch.stack([landmarks_3d(eye, camera) for eye in eyes], dim=1)
    if gaze is None:
        looks = gaze_directions(points, eye_points, pose.rotation, numerics)
    else:
        looks = in_camera_space(gaze, eye_middles(points))
    landmarks = torch.stack([eye.landmarks for eye in eyes], dim=1)
    return Measures(points, pose, Eyes(landmarks, eye_points, looks, gaze_angles(looks)))
