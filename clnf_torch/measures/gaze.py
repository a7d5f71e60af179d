"""Gaze: from the centre of each eyeball, which the face gives, to the pupil, which the eye's landmarks give.

Models with a `GazeNetwork` see it instead, relative to the line of sight.
"""

import torch
from torch import Tensor

from clnf_torch.geometry.constants import constant, select_landmarks
from clnf_torch.geometry.landmarks28 import IRIS
from clnf_torch.geometry.landmarks68 import EYE_CORNERS, NUM_LANDMARKS
from clnf_torch.geometry.precision import in_own_precision
from clnf_torch.geometry.rotation import angle_of, euler_to_matrix
from clnf_torch.models.numerics import Numerics, numerics_named

# The eye further left in the image comes first
EYE_PARTS = ("left_eye_28", "right_eye_28")
# From the middle of the corners to the eyeball's centre in the head's axes, mm
EYEBALL_OFFSET = (0.0, -3.5, 7.0)
# Millimetres
EYEBALL_RADIUS = 12.0


@in_own_precision
def gaze_directions(
    points: Tensor,
    eye_points: Tensor,
    head_rotation: Tensor,
    numerics: str | Numerics = "openface",
) -> Tensor:
    """Directions in which the eyes look.

    The pupil lies where the ray from the camera through the middle of the iris meets the eyeball. OpenFace: that middle
    is of the ring around the iris, not of the pupil's own landmarks. Where the ray misses the eyeball, "exact" looks at
    the point of the ray that is nearest to its centre.

    Args:
        points: The faces' 68 landmarks in camera space, millimetres, shape (B, 68, 3).
        eye_points: Those of the parts in `EYE_PARTS`, shape (B, 2, 28, 3). Only their directions matter.
        head_rotation: Euler angles of `head_pose`, radians, shape (B, 3).
        numerics: "openface" or "exact", which differ where the ray misses.

    Returns:
        Unit vectors from eyeball to pupil in camera space, left eye of the image first, shape (B, 2, 3). An eye that
        looks at a camera straight ahead has (0, 0, -1).

    Raises:
        ValueError: The shapes are wrong.

    Source:
        OpenFace ``EstimateGaze``.
    """
    if points.shape[1:] != (NUM_LANDMARKS, 3) or eye_points.shape[1:] != (2, 28, 3):
        raise ValueError(
            f"points have shape {tuple(points.shape)} and eye_points {tuple(eye_points.shape)}; "
            "expected (B, 68, 3) and (B, 2, 28, 3): gaze needs a face of 68 landmarks and both 28-point eyes"
        )
    eye_points, rotation = eye_points.double(), head_rotation.double()
    center = eyeball_centers(points.double(), rotation)
    pupil = eye_points[:, :, :IRIS].mean(-2)
    ray = pupil / torch.linalg.vector_norm(pupil, dim=-1, keepdim=True)
    direction = _intersection(ray, center, numerics_named(numerics).quirks) - center
    return (direction / torch.linalg.vector_norm(direction, dim=-1, keepdim=True)).to(points.dtype)


@in_own_precision
def eyeball_centers(points: Tensor, head_rotation: Tensor) -> Tensor:
    """Centres of the eyeballs: behind and above the middle of the eyes' corners.

    Args:
        points: Landmarks of the faces in camera space, millimetres, shape (B, 68, 3).
        head_rotation: Euler angles, radians, shape (B, 3).

    Returns:
        Points, millimetres, shape (B, 2, 3).
    """
    return eye_middles(points) + (euler_to_matrix(head_rotation) @ constant(EYEBALL_OFFSET, points))[:, None]


@in_own_precision
def along_sight(directions: Tensor, points: Tensor) -> Tensor:
    """Directions as if they began in the middle of the image: turned as the line of sight is onto the camera's axis.

    Args:
        directions: In camera space, shape (..., 3).
        points: Where they begin, of any length, shape (..., 3).

    Returns:
        Shape (..., 3): (0, 0, -1) looks into the camera.
    """
    return (sight_rotation(points).mT @ directions[..., None])[..., 0]


@in_own_precision
def in_camera_space(directions: Tensor, points: Tensor) -> Tensor:
    """What `along_sight` was made of: directions (..., 3) in camera space, which begin at points (..., 3)."""
    return (sight_rotation(points) @ directions[..., None])[..., 0]


def sight_rotation(points: Tensor) -> Tensor:
    """The shortest rotations (..., 3, 3) that take the camera's axis (0, 0, 1) to where points (..., 3) are seen."""
    x, y, z = (points / torch.linalg.vector_norm(points, dim=-1, keepdim=True)).unbind(-1)
    share = 1 / (1 + z)
    across = -share * x * y
    rows = (1 - share * x * x, across, x, across, 1 - share * y * y, y, -x, -y, z)
    return torch.stack(rows, -1).unflatten(-1, (3, 3))


@in_own_precision
def gaze_angles(directions: Tensor) -> Tensor:
    """Angles of both eyes' mean direction: 0 along the camera's axis towards it, positive to the right and down.

    Args:
        directions: From `gaze_directions`, shape (B, 2, 3).

    Returns:
        Angles (x, y), radians, shape (B, 2). OpenFace: both are measured against the component towards the camera, and
        the mean is not made a unit vector again, which does not matter to them.

    Source:
        OpenFace ``GetGazeAngle``.
    """
    mean = directions.mean(1)
    return angle_of(mean[:, :2], (-mean[:, 2:]).expand(-1, 2))


def eye_middles(points: Tensor) -> Tensor:
    """The middles (B, 2, D) of the eyes' corners of faces (B, 68, D)."""
    return select_landmarks(points, EYE_CORNERS).mean(2)


def _intersection(ray: Tensor, center: Tensor, quirks: bool) -> Tensor:
    """The nearer points where unit rays (B, 2, 3) from the origin meet the eyeballs, shape (B, 2, 3).

    OpenFace: it multiplies by the squared length of the ray where it should divide; that length is 1 but for rounding.
    """
    along = (ray * center).sum(-1, keepdim=True)
    # A quarter of the discriminant
    room = along.square() - center.square().sum(-1, keepdim=True) + EYEBALL_RADIUS**2
    # Not a number is no miss: it stays what it is
    hit = ~(room < 0)
    met = ray * (along - torch.where(room > 0, room, 1).sqrt() * (room > 0))
    if quirks:
        # OpenFace: a ray that misses has met the point (0, 0, -1), so that the eye looks into the camera.
        return torch.where(hit, met, constant((0.0, 0.0, -1.0), ray))
    return met
