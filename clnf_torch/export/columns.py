"""OpenFace's columns: their names, their order, and how many digits it prints."""

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor

from clnf_torch.export.rows import FaceTable


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
            confidence and success, as FeatureExtraction does.

    Source:
        The CSV files of OpenFace's FeatureExtraction and FaceLandmarkImg, in version 2.2.
    """
    head = _picture_head(table) if image_mode else _frame_head(table)
    return [*head, *_gaze(table), *_pose(table), *_landmarks(table), *_parameters(table), *_extras(table)]


def _frame_head(table: FaceTable) -> Iterator[Block]:
    yield Block(("frame",), table.frame[:, None])
    yield Block(("face_id",), table.face_id[:, None])
    yield Block(("timestamp",), table.timestamp[:, None], decimals=3)
    yield Block(("confidence",), table.confidence[:, None], decimals=2)
    yield Block(("success",), table.success[:, None].long())


def _picture_head(table: FaceTable) -> Iterator[Block]:
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
    if table.image is not None:
        yield Block(("image",), table.image)


def _points(prefix: str, axes: str, points: Tensor | None) -> Iterator[Block]:
    """First x of all points (R, K, 2 or 3), then y of all, then z."""
    if points is not None:
        names = tuple(name for axis in axes for name in _numbered(f"{prefix}{axis}_", points.shape[1]))
        yield Block(names, points.mT.flatten(1), decimals=1)


def _numbered(prefix: str, count: int) -> tuple[str, ...]:
    return tuple(f"{prefix}{number}" for number in range(count))
