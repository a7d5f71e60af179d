"""Faces as they are drawn: in pixels, with head axes and gaze seen along the weak perspective of their fits."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from clnf_torch.geometry.landmarks68 import EYE_CORNERS, NUM_LANDMARKS, OUTER_EYE_CORNERS
from clnf_torch.geometry.rotation import euler_to_matrix
from clnf_torch.measures.gaze import CORNERS, EYE_PARTS, EYEBALL_OFFSET, EYEBALL_RADIUS, IRIS
from clnf_torch.pipeline import FitResult

# Landmarks of both eyes, the left one's first
EYE_LANDMARKS = 56
# Millimetres from the head's centre to the tips of its axes: to the image's right, up, forward
AXES = ((45.0, 0.0, 0.0), (0.0, -45.0, 0.0), (0.0, 0.0, -70.0))
# Of the eyeball's radius: how long the arrow of a gaze is
GAZE_LENGTH = 3.0
# Degrees to the image's right by which the skin at each of the 68 landmarks is turned away from straight ahead, on the
# ellipsoid that suits the mean shape: half axes of 75 mm across and 120 mm ahead, 90 mm behind the face
OUTWARD = (
    -81, -81, -79, -75, -69, -60, -47, -25, 0, 25, 47, 60, 69, 75, 79, 81, 81, -64, -56, -45, -31, -16, 16, 31, 45,
    56, 64, 0, 0, 0, 0, -19, -9, 0, 9, 19, -54, -48, -39, -31, -40, -48, 31, 39, 48, 54, 48, 40, -32, -19, -8, 0, 8,
    19, 32, 20, 10, 0, -10, -20, -28, -10, 0, 10, 28, 8, 0, -8,
)  # fmt: skip
# Sine of the angle beyond the edge of sight from which a landmark counts as hidden: 10 degrees, by which heads differ
HIDDEN = 0.17


@dataclass(frozen=True, kw_only=True)
class DrawnFaces:
    """B faces of one image, all in pixels, on the CPU.

    Attributes:
        landmarks: Shape (B, N, 2); those that are not finite are left out.
        near: Landmarks on the side of the head that is seen, bool, shape (B, N).
        confidence: From 0 to 1, shape (B,).
        found: Faces that were found; the others are drawn in gray, bool, shape (B,).
        names: What to call each face, B texts; empty for none.
        eyes: Landmarks of both 28-point eyes, shape (B, 56, 2), or None.
        axes: The head's centre and the tips of its axes to the image's right, up and forward, shape (B, 4, 2), or None.
        gaze: Ends of the arrow of each eye, shape (B, 2, 2, 2), or None.
        errors: How far each landmark is expected to be off, as a share of the distance of the outer eye corners, shape
            (B, N), or None.
    """

    landmarks: Tensor
    near: Tensor
    confidence: Tensor
    found: Tensor
    names: tuple[str, ...] = ()
    eyes: Tensor | None = None
    axes: Tensor | None = None
    gaze: Tensor | None = None
    errors: Tensor | None = None

    def __len__(self) -> int:
        """Number of faces B."""
        return len(self.landmarks)

    @classmethod
    def of(cls, faces: FitResult, names: Sequence[str] | None = None, gaze: Tensor | None = None) -> "DrawnFaces":
        """Fitted faces.

        Args:
            faces: B of them.
            names: What to call each; by default its number in `faces`.
            gaze: Directions that were measured, shape (B, 2, 3); None: those of `weak_gaze`, which knows no camera.
        """
        return cls.of_numbers(
            landmarks=faces.landmarks,
            pose=faces.params.globals,
            confidence=faces.confidence,
            found=faces.success,
            visible=faces.visible,
            eyes=faces.eye_landmarks,
            eyeballs=_eyeballs(faces),
            gaze=gaze,
            errors=faces.landmark_errors,
            names=names,
        )

    @classmethod
    def of_numbers(
        cls,
        *,
        landmarks: Tensor,
        confidence: Tensor,
        found: Tensor,
        pose: Tensor | None = None,
        visible: Tensor | None = None,
        eyes: Tensor | None = None,
        eyeballs: Tensor | None = None,
        gaze: Tensor | None = None,
        errors: Tensor | None = None,
        names: Sequence[str] | None = None,
    ) -> "DrawnFaces":
        """Faces of which these numbers are known, as they stand in tables too.

        Args:
            landmarks: Pixels, shape (B, N, 2).
            confidence: From 0 to 1, shape (B,).
            found: Whether the face was found, bool, shape (B,).
            pose: Weak perspective: scale in pixels per millimetre, Euler angles in radians and the head's centre in
                pixels, shape (B, 6). Without it there are no axes, no gaze, and no far side.
            visible: Landmarks that have experts in their face's view, bool, shape (B, N).
            eyes: Landmarks of both eyes, the left one's first, pixels, shape (B, 56, 2).
            eyeballs: Where the model says that they lie; see `gaze_directions`, shape (B, 2, 4).
            gaze: Directions of both eyes that were measured, shape (B, 2, 3); None: those of `weak_gaze`.
            errors: Expected errors of the landmarks, pixels, shape (B, N).
            names: What to call each face; by default its number.

        Raises:
            ValueError: The shapes do not belong together.
        """
        count = len(landmarks)
        names = [str(face) for face in range(count)] if names is None else names
        others = {"confidence": confidence, "found": found, "pose": pose, "eyes": eyes, "errors": errors}
        _check(landmarks, others, names)
        landmarks, pose = landmarks.detach().cpu().double(), None if pose is None else pose.detach().cpu().double()
        eyes = None if eyes is None or eyes.shape[1] != EYE_LANDMARKS else eyes.detach().cpu().double()
        near = torch.ones(landmarks.shape[:2], dtype=torch.bool) if visible is None else visible.cpu()
        has_scheme = landmarks.shape[1] == NUM_LANDMARKS
        arrows = None
        if pose is not None and eyes is not None and has_scheme:
            looks = weak_gaze(landmarks, eyes, pose, eyeballs) if gaze is None else gaze[..., :2]
            arrows = gaze_arrows(eyes, looks.detach().cpu().double(), pose)
        return cls(
            landmarks=landmarks,
            near=near & ~hidden_landmarks(pose[:, 1:4]) if pose is not None and has_scheme else near,
            confidence=confidence.detach().cpu().double(),
            found=found.cpu(),
            names=tuple(names),
            eyes=eyes,
            axes=None if pose is None else head_axes(pose),
            gaze=arrows,
            errors=relative_errors(landmarks, errors.detach().cpu().double())
            if errors is not None and has_scheme
            else None,
        )


def relative_errors(landmarks: Tensor, errors: Tensor) -> Tensor:
    """Errors (B, 68) in pixels as shares of the distance of the outer eye corners of landmarks (B, 68, 2)."""
    left, right = (landmarks[:, corner] for corner in OUTER_EYE_CORNERS)
    return errors / torch.linalg.vector_norm(left - right, dim=-1, keepdim=True)


def hidden_landmarks(rotation: Tensor) -> Tensor:
    """Which of the 68 landmarks lie on the far side of heads, bool, shape (B, 68).

    Args:
        rotation: Euler angles, radians, shape (B, 3).
    """
    angle = torch.deg2rad(torch.tensor(OUTWARD, dtype=rotation.dtype))
    normal = torch.stack([angle.sin(), torch.zeros_like(angle), -angle.cos()], dim=-1)
    away = (normal @ euler_to_matrix(rotation)[:, 2, :, None]).squeeze(-1)
    return away > HIDDEN


def head_axes(pose: Tensor) -> Tensor:
    """A head's centre and the tips of its axes to the image's right, up and forward, pixels, shape (B, 4, 2).

    Args:
        pose: Weak perspective, shape (B, 6); see `DrawnFaces.of_numbers`.
    """
    scale, rotation, center = pose[:, 0, None, None], euler_to_matrix(pose[:, 1:4]), pose[:, None, 4:6]
    tips = torch.tensor(AXES, dtype=pose.dtype) @ rotation[:, :2].mT
    return torch.cat([center, center + scale * tips], dim=1)


def weak_gaze(landmarks: Tensor, eyes: Tensor, pose: Tensor, eyeballs: Tensor | None = None) -> Tensor:
    """Directions of the gaze in the image.

    It is `measures.gaze.gaze_directions` in weak perspective, which needs neither a camera nor the eyes' depths.

    Args:
        landmarks: Of the face, pixels, shape (B, 68, 2).
        eyes: Pixels, shape (B, 56, 2).
        pose: Weak perspective, shape (B, 6).
        eyeballs: As for `gaze_directions`, shape (B, 2, 4).

    Returns:
        The first two numbers of unit vectors, shape (B, 2, 2).
    """
    each, scale = eyes.unflatten(1, (2, -1)), pose[:, :1, None]
    if eyeballs is None:
        corners, offset = landmarks[:, EYE_CORNERS].mean(2), torch.tensor(EYEBALL_OFFSET, dtype=pose.dtype)
        radius = torch.full_like(scale, EYEBALL_RADIUS)
    else:
        corners = each[:, :, CORNERS].mean(2)
        offset, radius = eyeballs.detach().cpu().to(pose.dtype).split((3, 1), dim=-1)
    center = corners + scale * (offset @ euler_to_matrix(pose[:, 1:4])[:, :2].mT).view(len(pose), -1, 2)
    turned = (each[:, :, :IRIS].mean(-2) - center) / (scale * radius)
    # A pupil lies on the eyeball
    return turned / torch.linalg.vector_norm(turned, dim=-1, keepdim=True).clamp(min=1)


def gaze_arrows(eyes: Tensor, looks: Tensor, pose: Tensor) -> Tensor:
    """Arrows along the gaze from the middle of the iris.

    Args:
        eyes: Pixels, shape (B, 56, 2).
        looks: The first two numbers of unit vectors, shape (B, 2, 2).
        pose: Weak perspective, shape (B, 6).

    Returns:
        Both ends in pixels, left eye first, shape (B, 2, 2, 2).
    """
    iris = eyes.unflatten(1, (2, -1))[:, :, :IRIS].mean(-2)
    return torch.stack([iris, iris + GAZE_LENGTH * EYEBALL_RADIUS * pose[:, :1, None] * looks], dim=2)


def _eyeballs(faces: FitResult) -> Tensor | None:
    """Where both eyeballs lie by the models of the eyes (B, 2, 4), if these say so."""
    known = [faces.parts[name].eyeball for name in EYE_PARTS if name in faces.parts]
    balls = [ball for ball in known if ball is not None]
    return torch.stack(balls, dim=-2) if len(balls) == len(EYE_PARTS) else None


def _check(landmarks: Tensor, others: dict[str, Tensor | None], names: Sequence[str]) -> None:
    """Raises ValueError where shapes do not belong to the landmarks."""
    if landmarks.ndim != 3 or landmarks.shape[2] != 2:
        raise ValueError(f"landmarks have shape {tuple(landmarks.shape)}; expected (B, N, 2)")
    wrong = [name for name, value in others.items() if value is not None and len(value) != len(landmarks)]
    if wrong or len(names) != len(landmarks):
        raise ValueError(f"{', '.join(wrong) or 'names'}: expected one row for each of {len(landmarks)} faces")
