"""OpenFace's columns: their names, their order, and how many digits it prints."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from clnf_torch.files.names import escaped_name
from clnf_torch.geometry.records import row_index
from clnf_torch.measures.measure import Measures
from clnf_torch.models.pdm import ShapeParams


@dataclass(frozen=True, kw_only=True)
class FaceTable:
    """R rows, each a face in a frame (or in an image). Groups that are None are left out of the table."""

    frame: Tensor  # (R,) int64, from 1
    face_id: Tensor  # (R,) int64, from 0
    timestamp: Tensor  # (R,) seconds
    confidence: Tensor  # (R,) of the validation, 0 to 1
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
    errors: Tensor | None = None  # (R, N) expected of the landmarks, pixels, NaN where they are not known
    image: tuple[str, ...] | None = None  # R names of images, where one table holds those of many

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
            raise ValueError(f"there are {len(self.image)} names of images for {len(self)} rows")

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
        errors: Tensor | None = None,
    ) -> "FaceTable":
        """Every group that there is.

        OpenFace: gaze is 0 in rows without success; all else is written as the last fit left it.

        Args:
            frame: See the fields; so for all that follow.
            face_id: Number of the face.
            timestamp: Time of the frame.
            confidence: Confidence.
            success: Whether the face was found.
            landmarks: Fitted landmarks.
            params: Fitted parameters.
            measures: What was measured of them.
            likelihoods: Likelihoods of the landmarks, if they are wanted.
            errors: Expected errors of the landmarks, likewise.
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
            errors=errors,
        )

    def __getitem__(self, rows: Any) -> "FaceTable":
        """The rows of these numbers, or those where a mask is true, or a slice of them."""
        rows = row_index(rows, len(self))
        numbers = torch.arange(len(self), device="cpu")[rows.cpu() if isinstance(rows, Tensor) else rows].tolist()
        image = None if self.image is None else tuple(self.image[number] for number in numbers)
        return self._mapped(lambda values: values[rows], image)

    def to(self, device: torch.device | str) -> "FaceTable":
        """The same rows on a device."""
        return self._mapped(lambda values: values.to(device), self.image)

    @staticmethod
    def join(tables: Sequence["FaceTable"]) -> "FaceTable":
        """The rows of several tables with the same groups, one after the other."""
        first = tables[0]
        image = None if first.image is None else tuple(name for table in tables for name in table.image or ())
        joined = {
            field.name: torch.cat([getattr(table, field.name) for table in tables])
            for field in fields(first)
            if isinstance(getattr(first, field.name), Tensor)
        }
        return replace(first, **joined, image=image)

    def _mapped(self, function: Callable[[Tensor], Tensor], image: tuple[str, ...] | None) -> "FaceTable":
        """What a function makes of each group, with these names of images."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        tensors = {name: function(value) for name, value in values.items() if isinstance(value, Tensor)}
        return replace(self, **tensors, image=image)

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
    "errors": (-1,),
}


@dataclass(frozen=True)
class Block:
    """Columns of one kind that stand side by side."""

    names: tuple[str, ...]  # C names
    values: Tensor | tuple[str, ...]  # (R, C); or the texts of R rows in a single column
    decimals: int = 0  # digits after the point with OpenFace's precision


def columns(table: FaceTable, *, image_mode: bool = False) -> list[Block]:
    """A table in OpenFace's columns, without those of action units; what OpenFace does not have comes last.

    Names are case sensitive: `x_0` is a pixel, `X_0` a millimetre.

    Args:
        table: The rows; groups that are None are left out.
        image_mode: Begin with face and confidence, as FaceLandmarkImg does, instead of frame, face_id, timestamp,
            confidence and success, as FeatureExtraction does; success comes behind OpenFace's columns then.

    Source:
        The CSV files of OpenFace's FeatureExtraction and FaceLandmarkImg, in version 2.2.
    """
    head = _image_head(table) if image_mode else _frame_head(table)
    # FaceLandmarkImg has no such column: whoever reads its columns by position finds them at their places
    success = _success(table) if image_mode else ()
    return [*head, *_gaze(table), *_pose(table), *_landmarks(table), *_parameters(table), *success, *_extras(table)]


def _frame_head(table: FaceTable) -> Iterator[Block]:
    yield Block(("frame",), table.frame[:, None])
    yield Block(("face_id",), table.face_id[:, None])
    yield Block(("timestamp",), table.timestamp[:, None], decimals=3)
    yield Block(("confidence",), table.confidence[:, None], decimals=2)
    yield from _success(table)


def _success(table: FaceTable) -> Iterator[Block]:
    yield Block(("success",), table.success[:, None].long())


def _image_head(table: FaceTable) -> Iterator[Block]:
    yield Block(("face",), table.face_id[:, None])
    yield Block(("confidence",), table.confidence[:, None], decimals=3)


def _gaze(table: FaceTable) -> Iterator[Block]:
    if table.gaze is not None:
        names = tuple(f"gaze_{eye}_{axis}" for eye in range(2) for axis in "xyz")
        yield Block(names, table.gaze.flatten(1), decimals=6)
    if table.gaze_angle is not None:
        yield Block(("gaze_angle_x", "gaze_angle_y"), table.gaze_angle, decimals=3)
    yield from _points("eye_lmk_", "xy", table.eye_landmarks)
    yield from _points("eye_lmk_", "XYZ", table.eye_points)


def _pose(table: FaceTable) -> Iterator[Block]:
    if table.pose is not None:
        yield Block(("pose_Tx", "pose_Ty", "pose_Tz"), table.pose[:, :3], decimals=1)
        yield Block(("pose_Rx", "pose_Ry", "pose_Rz"), table.pose[:, 3:], decimals=3)


def _landmarks(table: FaceTable) -> Iterator[Block]:
    yield from _points("", "xy", table.landmarks)
    yield from _points("", "XYZ", table.points)


def _parameters(table: FaceTable) -> Iterator[Block]:
    if table.params_global is not None:
        names = ("p_scale", "p_rx", "p_ry", "p_rz", "p_tx", "p_ty")
        yield Block(names, table.params_global, decimals=3)
    if table.params_local is not None:
        yield Block(_numbered("p_", table.params_local.shape[1]), table.params_local, decimals=3)


def _extras(table: FaceTable) -> Iterator[Block]:
    if table.likelihoods is not None:
        yield Block(_numbered("lm_likelihood_", table.likelihoods.shape[1]), table.likelihoods, decimals=3)
    if table.errors is not None:
        yield Block(_numbered("lm_error_", table.errors.shape[1]), table.errors, decimals=2)
    if table.image is not None:
        yield Block(("image",), tuple(map(escaped_name, table.image)))


def _points(prefix: str, axes: str, points: Tensor | None) -> Iterator[Block]:
    """First x of all points (R, K, 2 or 3), then y of all, then z."""
    if points is not None:
        yield Block(_point_names(prefix, axes, points.shape[1]), points.mT.flatten(1), decimals=1)


# Far more than a program has kinds of tables
@lru_cache(256)
def _point_names(prefix: str, axes: str, count: int) -> tuple[str, ...]:
    return tuple(name for axis in axes for name in _numbered(f"{prefix}{axis}_", count))


@lru_cache(256)
def _numbered(prefix: str, count: int) -> tuple[str, ...]:
    return tuple(f"{prefix}{number}" for number in range(count))
