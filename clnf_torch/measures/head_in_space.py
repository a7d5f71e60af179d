"""Heads in camera space: landmarks and pose together, by the shape that tells how deep a face is."""

from dataclasses import replace

import torch
from torch import Tensor

from clnf_torch.fitting.initialise import params_under_noise
from clnf_torch.geometry.camera import Intrinsics, back_project
from clnf_torch.geometry.precision import in_own_precision
from clnf_torch.geometry.rotation import euler_to_matrix, matrix_to_euler
from clnf_torch.measures.gaze import sight_rotation
from clnf_torch.measures.head_pose import HeadPose, head_pose
from clnf_torch.measures.landmarks_3d import FittedShape, landmarks_3d
from clnf_torch.measures.pnp import LOOSE_TOLERANCE
from clnf_torch.models.depth_shape import DepthShape
from clnf_torch.models.numerics import Numerics
from clnf_torch.models.pdm import ShapeParams

# Standard deviation of a landmark from the depth shape, millimetres: heads and annotators differ. With 2 instead, the
# pitch of talking faces was less like that which OpenFace's shapes find; asymmetry is the same by both
NOISE = 3.0
# What an image shows beyond the depth shape is taken for movement across the face and down it, so many times sooner
# than into it. Infinite, it would leave the landmarks of a profile nowhere
STIFFNESS = 4.0


@in_own_precision
def measure_head(
    face: FittedShape, camera: Intrinsics, numerics: str | Numerics = "openface"
) -> tuple[Tensor, HeadPose]:
    """Landmarks in camera space and head pose.

    Without a depth shape they are OpenFace's (`landmarks_3d`, `head_pose`). With one, it is placed on its anchors among
    the landmarks; every landmark then lies where its line of sight passes nearest to its place in that shape, so that
    the image is met exactly, and what one side alone does is measured in full. It is placed in what a camera of square
    pixels would see that is turned to the face: weak perspective, by which it is placed, holds around the axis alone.

    Args:
        face: The faces.
        camera: The camera, or one per face.
        numerics: Of faces without a depth shape; see `head_pose`.

    Returns:
        Points, millimetres, shape (B, N, 3), and the pose; NaN where a row has no scale or numbers that are not finite
        (pose: 0 without a scale).
    """
    if face.depth is None:
        return landmarks_3d(face, camera), head_pose(face, camera, numerics)
    camera = camera.to(face.landmarks)
    turned, turn, facing = _turned_to(face, camera)
    placed = _placed(turned, face.depth, facing)
    pose = head_pose(placed, facing, "exact", face.depth.anchors, LOOSE_TOLERANCE)
    # Single precision has no angles of a head that is upside down
    rotation = matrix_to_euler(turn.double() @ euler_to_matrix(pose.rotation.double())).to(pose.rotation)
    pose = HeadPose((turn @ pose.translation[..., None])[..., 0], rotation)
    return _on_lines_of_sight(replace(placed, landmarks=face.with_valid_rows().landmarks), pose, camera), pose


def _turned_to(face: FittedShape, camera: Intrinsics) -> tuple[FittedShape, Tensor, Intrinsics]:
    """Faces as a camera of square pixels sees them that looks at the middle of each.

    Returns:
        The faces, rows that are not valid as they are; the rotations (B, 3, 3) from the new camera's axes to the old
        ones, none in those rows; and the new camera, whose principal point is (0, 0).
    """
    valid, seen = face.valid(), face.with_valid_rows().landmarks
    sight = back_project(seen, torch.ones_like(seen[..., 0]), camera)
    identity = torch.eye(3, dtype=seen.dtype, device=seen.device)
    turn = torch.where(valid[:, None, None], sight_rotation(sight.mean(1)), identity)
    across, depth = (sight @ turn).split((2, 1), dim=-1)
    focal = camera.focal[..., :1].expand_as(camera.focal)
    landmarks = across / depth * focal[..., None, :]
    params = replace(face.params, scale=face.params.scale * _spread(landmarks) / _spread(seen))
    landmarks = torch.where(valid[:, None, None], landmarks, face.landmarks)
    return replace(face, params=params, landmarks=landmarks), turn, Intrinsics(focal, torch.zeros_like(camera.center))


def _spread(landmarks: Tensor) -> Tensor:
    """How far (B,) landmarks (B, N, 2) are from their middle."""
    return torch.linalg.vector_norm(landmarks - landmarks.mean(1, keepdim=True), dim=(1, 2))


def _placed(face: FittedShape, depth: DepthShape, camera: Intrinsics) -> FittedShape:
    """The depth shape on the landmarks of faces; rows that are not valid have no scale, or NaN for one."""
    valid = face.with_valid_rows()
    known = depth.known.expand(len(valid.landmarks), -1)
    seen = _without_perspective(valid, camera)
    found = params_under_noise(depth.pdm, seen, NOISE, known, valid.params.rotation)
    absent = torch.where(face.params.scale == 0, 0.0, torch.nan).to(found.scale)
    scale = torch.where(face.valid(), found.scale, absent)
    return FittedShape(depth.pdm, ShapeParams(scale, found.rotation, found.translation, found.local), valid.landmarks)


def _without_perspective(face: FittedShape, camera: Intrinsics) -> Tensor:
    """Landmarks (B, N, 2) as if all of a face were as far away as its middle; its own shape says how far they are.

    The camera's principal point is (0, 0).
    """
    params = face.params
    beyond = (face.pdm.points(params.local) @ euler_to_matrix(params.rotation)[:, 2, :, None])[..., 0]
    distance = (camera.focal[..., 0] / params.scale)[:, None]
    return face.landmarks * (1 + beyond / distance)[..., None]


def _on_lines_of_sight(placed: FittedShape, pose: HeadPose, camera: Intrinsics) -> Tensor:
    """Points (B, N, 3) on the lines of sight through landmarks, nearest to those of a shape in a pose."""
    valid = (placed.valid() & pose.values.isfinite().all(-1))[:, None]
    rotation = euler_to_matrix(torch.where(valid, pose.rotation, 0))
    origin = torch.where(valid, pose.translation, 1)
    # Both in the head's axes, from the camera: where the shape's points are, and the lines of sight at depth 1
    shape = placed.pdm.points(placed.params.local) + (origin[:, None] @ rotation)
    sight = back_project(placed.landmarks, torch.ones_like(shape[..., 0]), camera) @ rotation
    depth = _product(sight, shape) / _product(sight, sight)
    return torch.where(valid[..., None], back_project(placed.landmarks, depth, camera), torch.nan)


def _product(first: Tensor, second: Tensor) -> Tensor:
    """The inner product (...) of vectors (..., 3) in which depth counts `STIFFNESS` times."""
    across, down, into = (first * second).unbind(-1)
    return across + down + STIFFNESS**2 * into
