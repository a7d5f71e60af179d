"""Head pose: where the head is in front of the camera, and how it is turned."""

from dataclasses import dataclass

import torch
from torch import Tensor

from clnf_torch.geometry.camera import Intrinsics, weak_perspective_origin
from clnf_torch.geometry.precision import in_own_precision
from clnf_torch.geometry.records import loadable
from clnf_torch.geometry.rotation import angle_of, euler_to_matrix, matrix_to_euler, rodrigues_to_matrix
from clnf_torch.measures.landmarks_3d import FittedShape
from clnf_torch.measures.pnp import STEP_TOLERANCE, Correspondences, RigidMotion, solve_pnp
from clnf_torch.models.numerics import Numerics, numerics_named


@loadable
@dataclass(frozen=True)
class HeadPose:
    """Positions and rotations of B heads.

    Attributes:
        translation: Of the head in camera space, millimetres, shape (B, 3).
        rotation: Euler angles (pitch, yaw, roll), radians, shape (B, 3).
    """

    translation: Tensor
    rotation: Tensor

    @property
    def values(self) -> Tensor:
        """OpenFace's (Tx, Ty, Tz, rx, ry, rz), shape (B, 6)."""
        return torch.cat((self.translation, self.rotation), dim=-1)


@in_own_precision
def head_pose(
    shape: FittedShape,
    camera: Intrinsics,
    numerics: str | Numerics = "openface",
    anchors: Tensor | None = None,
    tolerance: float = STEP_TOLERANCE,
) -> HeadPose:
    """Pose under true perspective, turned with respect to the camera's axes.

    It is the pose in which the 3D shape of the fit, seen by the camera, comes closest to all the landmarks, hidden ones
    included. Its rotation differs from the weak perspective's where a face is off the image's centre.

    Args:
        shape: The faces.
        camera: The camera, or one per face.
        numerics: "openface" begins the search where OpenFace does, "exact" at the fit's rotation; the minimum is the
            same wherever both lead to it.
        anchors: Landmarks that count, int64, shape (K,); default all.
        tolerance: See `solve_pnp`.

    Returns:
        Pose, computed in float64. OpenFace: all 0 in rows without a scale. NaN where numbers are not finite.

    Source:
        OpenFace ``GetPose``.
    """
    valid = shape.with_valid_rows()
    params, landmarks = valid.params, valid.landmarks.double()
    camera = camera.to(landmarks)
    points = valid.pdm.points(params.local).double()
    if anchors is not None:
        points, landmarks = points[:, anchors], landmarks[:, anchors]
    correspondences = Correspondences(points, landmarks, camera)
    with torch.no_grad():
        origin = weak_perspective_origin(params.scale.double(), params.translation.double(), camera)
        start = _start_rotation(params.rotation.double(), numerics_named(numerics))
    motion = solve_pnp(correspondences, RigidMotion(start, origin), tolerance)
    pose = torch.cat((motion.translation, matrix_to_euler(motion.rotation)), dim=-1).to(shape.landmarks.dtype)
    blank = torch.where(shape.params.scale == 0, 0.0, torch.nan).to(pose.dtype)[:, None]
    pose = torch.where(shape.valid()[:, None], pose, blank)
    return HeadPose(pose[:, :3], pose[:, 3:])


@in_own_precision
def pose_to_line_of_sight(pose: HeadPose) -> HeadPose:
    """The same pose, turned with respect to the line from the camera to the head: 0 where the head faces the camera.

    OpenFace: both angles of that line are measured against the length of the two other components.

    Args:
        pose: From `head_pose`.

    Returns:
        The same translation with other rotations; 0 where it is 0.

    Source:
        OpenFace ``GetPoseWRTCamera``.
    """
    x, y, z = pose.translation.unbind(-1)
    absent = (pose.translation == 0).all(-1)
    z = torch.where(absent, 1, z)
    line = torch.stack((angle_of(y, torch.hypot(x, z)), -angle_of(x, torch.hypot(y, z)), torch.zeros_like(x)), -1)
    rotation = matrix_to_euler(euler_to_matrix(line) @ euler_to_matrix(pose.rotation))
    return HeadPose(pose.translation, torch.where(absent[:, None], pose.rotation, rotation))


def _start_rotation(euler: Tensor, numerics: Numerics) -> Tensor:
    """Rotations (B, 3, 3) to begin with. OpenFace: it takes the Euler angles (B, 3) for a Rodrigues vector."""
    if not numerics.quirks:
        return euler_to_matrix(euler)
    return rodrigues_to_matrix(euler)
