"""Gaze: from the centre of each eyeball, which the face gives, to the pupil, which the eye's landmarks give."""

import torch
from torch import Tensor

from clnf_torch.geometry.constants import constant
from clnf_torch.geometry.landmarks68 import EYE_CORNERS, NUM_LANDMARKS
from clnf_torch.geometry.precision import without_autocast
from clnf_torch.geometry.rotation import angle_of, euler_to_matrix
from clnf_torch.models.numerics import Numerics, numerics_named

# The eye further left in the image comes first
EYE_PARTS = ("left_eye_28", "right_eye_28")
# The first landmarks of an eye: a ring around the iris
IRIS = 8
# Its corners, the outer one of the eye further left first
CORNERS = (8, 14)
# From the middle of the corners to the eyeball's centre in the head's axes, mm
EYEBALL_OFFSET = (0.0, -3.5, 7.0)
# Millimetres
EYEBALL_RADIUS = 12.0


@without_autocast
def gaze_directions(
    points: Tensor,
    eye_points: Tensor,
    head_rotation: Tensor,
    numerics: str | Numerics = "openface",
    eyeballs: Tensor | None = None,
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
        eyeballs: Where the centres lie, from the middle of the corners of the eye's own landmarks, in the head's axes,
            and their distance to the iris; millimetres of the face, shape (B, 2, 4). None: OpenFace's numbers, from the
            face's own corners.

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
    if eyeballs is None:
        center, radius = eyeball_centers(points.double(), rotation), constant((EYEBALL_RADIUS,), rotation)
    else:
        offset, radius = eyeballs.to(rotation).split((3, 1), dim=-1)
        center = corner_middles(points.double(), eye_points) + offset @ euler_to_matrix(rotation).mT
    pupil = eye_points[:, :, :IRIS].mean(-2)
    ray = pupil / torch.linalg.vector_norm(pupil, dim=-1, keepdim=True)
    direction = _intersection(ray, center, radius, numerics_named(numerics).quirks) - center
    return (direction / torch.linalg.vector_norm(direction, dim=-1, keepdim=True)).to(points.dtype)


@without_autocast
def eyeball_centers(points: Tensor, head_rotation: Tensor) -> Tensor:
    """Centres of the eyeballs: behind and above the middle of the eyes' corners.

    Args:
        points: Landmarks of the faces in camera space, millimetres, shape (B, 68, 3).
        head_rotation: Euler angles, radians, shape (B, 3).

    Returns:
        Points, millimetres, shape (B, 2, 3).
    """
    return _middles(points) + (euler_to_matrix(head_rotation) @ constant(EYEBALL_OFFSET, points))[:, None]


@without_autocast
def corner_middles(points: Tensor, eye_points: Tensor) -> Tensor:
    """The middles of the corners of the eyes' own landmarks, as deep as those of the face.

    Args:
        points: Landmarks of the faces in camera space, millimetres, shape (B, 68, 3).
        eye_points: Of both eyes, shape (B, 2, 28, 3); only their directions matter.

    Returns:
        Points, millimetres, shape (B, 2, 3).
    """
    middle = eye_points[:, :, CORNERS].mean(-2)
    return middle * (_middles(points)[..., 2:] / middle[..., 2:])


@without_autocast
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


def _middles(points: Tensor) -> Tensor:
    """The middles (B, 2, 3) of the eyes' corners of faces (B, 68, 3)."""
    return points[:, EYE_CORNERS].mean(2)


def _intersection(ray: Tensor, center: Tensor, radius: Tensor, quirks: bool) -> Tensor:
    """The nearer points where unit rays (B, 2, 3) from the origin meet eyeballs of radii (B, 2, 1), shape (B, 2, 3).

    OpenFace: it multiplies by the squared length of the ray where it should divide; that length is 1 but for rounding.
    """
    along = (ray * center).sum(-1, keepdim=True)
    # A quarter of the discriminant
    room = along.square() - center.square().sum(-1, keepdim=True) + radius.square()
    # Not a number is no miss: it stays what it is
    hit = ~(room < 0)
    met = ray * (along - torch.where(room > 0, room, 1).sqrt() * (room > 0))
    if quirks:
        # OpenFace: a ray that misses has met the point (0, 0, -1), so that the eye looks into the camera.
        return torch.where(hit, met, constant((0.0, 0.0, -1.0), ray))
    return met
