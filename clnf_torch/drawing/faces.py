"""Faces as they are drawn: in pixels, with the head axes and the gaze that were measured, as the camera sees them."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from clnf_torch.drawing.heads import SeenHeads
from clnf_torch.export.face_table import FaceTable
from clnf_torch.geometry.landmarks28 import IRIS
from clnf_torch.geometry.landmarks68 import EYE_CORNERS, NUM_LANDMARKS, OUTER_EYE_CORNERS
from clnf_torch.measures.gaze import EYEBALL_OFFSET, EYEBALL_RADIUS
from clnf_torch.pipeline import FitResult

# Landmarks of both eyes, the left one's first
EYE_LANDMARKS = 56
# Of the eyeball's radius: how long the arrow of a gaze is
GAZE_LENGTH = 3.0


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
    def of(cls, faces: FitResult, names: Sequence[str] | None = None, table: FaceTable | None = None) -> "DrawnFaces":
        """Fitted faces.

        Args:
            faces: B of them.
            names: What to call each; by default its number in `faces`.
            table: What was measured of them, B rows, of which head pose and gaze are drawn; None: the pose of the fit,
                which differs where the model has a depth shape, and `weak_gaze`, both of which need no camera.
        """
        return cls.of_numbers(
            landmarks=faces.landmarks,
            pose=faces.params.globals,
            confidence=faces.confidence,
            found=faces.success,
            visible=faces.visible,
            eyes=faces.eye_landmarks,
            head=None if table is None else table.pose,
            gaze=None if table is None else table.gaze,
            seen_gaze=faces.gaze,
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
        head: Tensor | None = None,
        visible: Tensor | None = None,
        eyes: Tensor | None = None,
        gaze: Tensor | None = None,
        seen_gaze: Tensor | None = None,
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
            head: The pose that was measured: position in millimetres and Euler angles in radians, in camera space,
                shape (B, 6). None, and rows that hold none: the weak perspective's angles, seen straight ahead.
            visible: Landmarks that have experts in their face's view, bool, shape (B, N).
            eyes: Landmarks of both eyes, the left one's first, pixels, shape (B, 56, 2).
            gaze: Directions of both eyes that were measured, shape (B, 2, 3).
            seen_gaze: `FitResult.gaze`, which is drawn where `gaze` is None; without both it is that of `weak_gaze`.
            errors: Expected errors of the landmarks, pixels, shape (B, N).
            names: What to call each face; by default its number.

        Raises:
            ValueError: The shapes do not belong together.
        """
        count = len(landmarks)
        names = [str(face) for face in range(count)] if names is None else names
        others = {"confidence": confidence, "found": found, "pose": pose, "head": head, "eyes": eyes, "errors": errors}
        _check(landmarks, others, names)
        landmarks = landmarks.detach().cpu().double()
        pose, head, eyes, gaze, seen_gaze = (
            None if value is None else value.detach().cpu().double() for value in (pose, head, eyes, gaze, seen_gaze)
        )
        eyes = None if eyes is None or eyes.shape[1] != EYE_LANDMARKS else eyes
        near = torch.ones(landmarks.shape[:2], dtype=torch.bool, device="cpu") if visible is None else visible.cpu()
        has_scheme = landmarks.shape[1] == NUM_LANDMARKS
        seen, arrows = None if pose is None else SeenHeads.of(pose, head), None
        if seen is not None and has_scheme:
            near = near & ~seen.hidden_landmarks()
            if eyes is not None:
                if gaze is not None:
                    looks = seen.flat(gaze)
                else:
                    looks = weak_gaze(landmarks, eyes, seen) if seen_gaze is None else seen_gaze[..., :2]
                arrows = gaze_arrows(eyes, looks, seen.scale)
        return cls(
            landmarks=landmarks,
            near=near,
            confidence=confidence.detach().cpu().double(),
            found=found.cpu(),
            names=tuple(names),
            eyes=eyes,
            axes=None if seen is None else seen.axes(),
            gaze=arrows,
            errors=relative_errors(landmarks, errors.detach().cpu().double())
            if errors is not None and has_scheme
            else None,
        )


def relative_errors(landmarks: Tensor, errors: Tensor) -> Tensor:
    """Errors (B, 68) in pixels as shares of the distance of the outer eye corners of landmarks (B, 68, 2)."""
    left, right = (landmarks[:, corner] for corner in OUTER_EYE_CORNERS)
    return errors / torch.linalg.vector_norm(left - right, dim=-1, keepdim=True)


def weak_gaze(landmarks: Tensor, eyes: Tensor, heads: SeenHeads) -> Tensor:
    """Directions of the gaze in the image.

    It is `measures.gaze.gaze_directions` without a camera and without the eyes' depths.

    Args:
        landmarks: Of the face, pixels, shape (B, 68, 2).
        eyes: Pixels, shape (B, 56, 2).
        heads: B heads.

    Returns:
        The first two numbers of unit vectors, shape (B, 2, 2).
    """
    each, scale = eyes.unflatten(1, (2, -1)), heads.scale[:, None, None]
    offset = heads.flat((heads.rotation @ scale.new_tensor(EYEBALL_OFFSET))[:, None])
    center = landmarks[:, EYE_CORNERS].mean(2) + scale * offset
    turned = (each[:, :, :IRIS].mean(-2) - center) / (scale * EYEBALL_RADIUS)
    # A pupil lies on the eyeball
    return turned / torch.linalg.vector_norm(turned, dim=-1, keepdim=True).clamp(min=1)


def gaze_arrows(eyes: Tensor, looks: Tensor, scale: Tensor) -> Tensor:
    """Arrows along the gaze from the middle of the iris.

    Args:
        eyes: Pixels, shape (B, 56, 2).
        looks: Unit vectors as they are seen in the image, shape (B, 2, 2).
        scale: Of the heads, pixels per millimetre, shape (B,).

    Returns:
        Both ends in pixels, left eye first, shape (B, 2, 2, 2).
    """
    iris = eyes.unflatten(1, (2, -1))[:, :, :IRIS].mean(-2)
    return torch.stack([iris, iris + GAZE_LENGTH * EYEBALL_RADIUS * scale[:, None, None] * looks], dim=2)


def _check(landmarks: Tensor, others: dict[str, Tensor | None], names: Sequence[str]) -> None:
    """Raises ValueError where shapes do not belong to the landmarks."""
    if landmarks.ndim != 3 or landmarks.shape[2] != 2:
        raise ValueError(f"landmarks have shape {tuple(landmarks.shape)}; expected (B, N, 2)")
    wrong = [name for name, value in others.items() if value is not None and len(value) != len(landmarks)]
    if wrong or len(names) != len(landmarks):
        raise ValueError(f"{', '.join(wrong) or 'names'}: expected one row for each of {len(landmarks)} faces")
