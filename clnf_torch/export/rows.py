"""Rows of a table: what is known of faces in frames, before it is laid out in columns."""

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from clnf_torch.measures.measure import Measures
from clnf_torch.models.shape_params import ShapeParams


@dataclass(frozen=True, kw_only=True)
class FaceTable:
    """R rows, each a face in a frame (or in a picture). Groups that are None are left out of the table."""

    frame: Tensor  # (R,) int64, from 1
    face_id: Tensor  # (R,) int64, from 0
    timestamp: Tensor  # (R,) seconds
    confidence: Tensor  # (R,) certainty of the detection, 0 to 1
    success: Tensor  # (R,) bool
    gaze: Tensor | None = None  # (R, 2, 3) unit vectors
    gaze_angle: Tensor | None = None  # (R, 2) radians
    eye_landmarks: Tensor | None = None  # (R, E, 2) pixels, the left eye's first
    eye_points: Tensor | None = None  # (R, E, 3) millimetres
    pose: Tensor | None = None  # (R, 6) millimetres and radians
    landmarks: Tensor | None = None  # (R, N, 2) pixels
    points: Tensor | None = None  # (R, N, 3) millimetres
    params_global: Tensor | None = None  # (R, 6) pixels per millimetre, radians, pixels
    params_local: Tensor | None = None  # (R, M) millimetres
    likelihoods: Tensor | None = None  # (R, N) of the landmarks
    image: tuple[str, ...] | None = None  # R names of pictures, where one table holds those of many

    def __post_init__(self) -> None:
        """Checks that the fields have the same rows, and as many columns as their names ask for."""
        for name, shape in _SHAPES.items():
            value = getattr(self, name)
            if value is None:
                continue
            expected = (len(self.frame), *shape)
            fits = value.ndim == len(expected) and all(e in (s, -1) for s, e in zip(value.shape, expected, strict=True))
            if not fits:
                sizes = ", ".join("any" if size == -1 else str(size) for size in expected)
                raise ValueError(f"{name} has shape {tuple(value.shape)}; expected ({sizes})")
        if self.image is not None and len(self.image) != len(self):
            raise ValueError(f"there are {len(self.image)} names of pictures for {len(self)} rows")

    def __len__(self) -> int:
        """Number of rows R."""
        return self.frame.shape[0]

    @classmethod
    def of(
        cls,
        *,
        frame: Tensor,
        face_id: Tensor,
        timestamp: Tensor,
        confidence: Tensor,
        success: Tensor,
        landmarks: Tensor,
        params: ShapeParams,
        measures: Measures,
        likelihoods: Tensor | None = None,
    ) -> "FaceTable":
        """Every group that there is.

        OpenFace: gaze is 0 in rows without success; all else is written as the last fit left it.

        Args:
            frame: See the fields; so for all that follow.
            face_id: Number of the face.
            timestamp: Time of the frame.
            confidence: Certainty.
            success: Whether the face was found.
            landmarks: Fitted landmarks.
            params: Fitted parameters.
            measures: What was measured of them.
            likelihoods: Likelihoods of the landmarks, if they are wanted.
        """
        eyes = measures.eyes
        found = success[:, None]
        return cls(
            frame=frame,
            face_id=face_id,
            timestamp=timestamp,
            confidence=confidence,
            success=success,
            gaze=torch.where(found[..., None], eyes.gaze, 0) if eyes else None,
            gaze_angle=torch.where(found, eyes.gaze_angle, 0) if eyes else None,
            eye_landmarks=eyes.landmarks.flatten(1, 2) if eyes else None,
            eye_points=eyes.points.flatten(1, 2) if eyes else None,
            pose=measures.pose.values,
            landmarks=landmarks,
            points=measures.points,
            params_global=params.globals,
            params_local=params.local,
            likelihoods=likelihoods,
        )

    def without(self, *groups: str) -> "FaceTable":
        """The same rows without some groups.

        Raises:
            ValueError: There is no such group, or it cannot be left out.
        """
        if wrong := set(groups) - {field.name for field in fields(self) if field.default is None}:
            raise ValueError(f"there are no groups {sorted(wrong)} that can be left out of a table")
        kept = {field.name: getattr(self, field.name) for field in fields(self) if field.name not in groups}
        return FaceTable(**kept)


_SHAPES = {
    "frame": (),
    "face_id": (),
    "timestamp": (),
    "confidence": (),
    "success": (),
    "gaze": (2, 3),
    "gaze_angle": (2,),
    "eye_landmarks": (-1, 2),
    "eye_points": (-1, 3),
    "pose": (6,),
    "landmarks": (-1, 2),
    "points": (-1, 3),
    "params_global": (6,),
    "params_local": (-1,),
    "likelihoods": (-1,),
}
