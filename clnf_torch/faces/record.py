"""What the records of faces have in common: what was fitted and measured, as tensors, arrays, tables and files."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor

from clnf_torch.export.face_table import FaceTable, columns
from clnf_torch.geometry.records import map_tensors, row_index
from clnf_torch.models.pdm import ShapeParams
from clnf_torch.pipeline import FitResult

if TYPE_CHECKING:
    from numpy import ndarray

Own = TypeVar("Own", bound="FaceRecord")
# What `numpy` gives, where it is known
ARRAYS = (
    "landmarks", "confidence", "success", "visible", "likelihoods", "landmark_errors", "pose", "points_mm",
    "gaze", "gaze_angle", "eye_landmarks", "frame", "face_id", "timestamp",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class FaceRecord:
    """R fitted and measured faces. The properties are tensors with one row for each.

    Attributes:
        fit: What was fitted, with the parameters of the shape; see `FitResult`.
        table: What was measured, as the command line writes it; numbers of faces that were not found are 0.
        head: What a JSON document of the faces begins with.
    """

    fit: FitResult
    table: FaceTable
    head: Mapping[str, Any]

    @property
    def landmarks(self) -> Tensor:
        """Pixels (x, y), pixel centres at whole numbers, shape (R, N, 2)."""
        return self._shown(self.fit.landmarks)

    @property
    def confidence(self) -> Tensor:
        """How sure it is that landmarks lie on a face, from 0 to 1, shape (R,)."""
        return self._shown(self.table.confidence)

    @property
    def success(self) -> Tensor:
        """Faces that were found, bool, shape (R,)."""
        return self._shown(self.table.success)

    @property
    def visible(self) -> Tensor:
        """Landmarks that can be seen from the side on which the head is, bool, shape (R, N)."""
        return self._shown(self.fit.visible)

    @property
    def likelihoods(self) -> Tensor:
        """Mean likelihood of each landmark in its response maps, -1e8 where it is self-occluded, shape (R, N)."""
        return self._shown(self.fit.landmark_likelihoods)

    @property
    def landmark_errors(self) -> Tensor | None:
        """Expected error of each landmark, pixels, NaN where not known, shape (R, N); None: the model has none."""
        return self._shown(self.fit.landmark_errors)

    @property
    def params(self) -> ShapeParams:
        """Pose and shape in the model's own terms, one row per face."""
        return self._shown(self.fit.params)

    @property
    def pose(self) -> Tensor:
        """Head pose: Tx, Ty, Tz in front of the camera in mm, then pitch, yaw, roll in radians, shape (R, 6)."""
        return self._shown(self.table.pose)

    @property
    def points_mm(self) -> Tensor:
        """Landmarks in camera space, millimetres, shape (R, N, 3)."""
        return self._shown(self.table.points)

    @property
    def gaze(self) -> Tensor | None:
        """Unit vectors in camera space, the left eye of the image first, shape (R, 2, 3); None without eyes."""
        return self._shown(self.table.gaze)

    @property
    def gaze_angle(self) -> Tensor | None:
        """Of both eyes together, radians to the right and down, shape (R, 2); None without eyes."""
        return self._shown(self.table.gaze_angle)

    @property
    def eye_landmarks(self) -> Tensor | None:
        """Both eyes' landmarks, left then right, pixels, shape (R, 56, 2); None without eyes."""
        return self._shown(self.fit.eye_landmarks)

    @property
    def frame(self) -> Tensor:
        """Number of the frame of a video, from 1, int64, shape (R,)."""
        return self._shown(self.table.frame)

    @property
    def face_id(self) -> Tensor:
        """Number of the face in its image or video, from 0, int64, shape (R,); -1 in a frame without a face."""
        return self._shown(self.table.face_id)

    @property
    def timestamp(self) -> Tensor:
        """Seconds since the beginning of a video, shape (R,)."""
        return self._shown(self.table.timestamp)

    @property
    def device(self) -> torch.device:
        """Where the tensors are."""
        return self.fit.landmarks.device

    def to(self: Own, device: torch.device | str) -> Own:
        """The same faces on a device.

        Raises:
            ValueError: It is no device; number types stay as they are.
        """
        try:
            device = torch.device(device)
        except (TypeError, RuntimeError) as error:
            raise ValueError(f'to({device!r}): expected a device such as "cpu" or "cuda:0"') from error
        return self._mapped(lambda values: values.to(device), self.table.to(device))

    def cpu(self: Own) -> Own:
        """The same faces on the CPU."""
        return self.to("cpu")

    def numpy(self) -> "dict[str, ndarray]":
        """The properties as arrays, by their names; without those that the model does not give."""
        values = {name: getattr(self, name) for name in ARRAYS}
        return {name: value.detach().cpu().numpy() for name, value in values.items() if value is not None}

    def to_dataframe(self) -> Any:
        """The faces as a table of pandas, with the columns of the CSV file, which are OpenFace's.

        Raises:
            RuntimeError: pandas is not installed.
        """
        try:
            import pandas
        except ImportError as error:
            raise RuntimeError("a DataFrame needs pandas; install it with: pip install pandas") from error
        found: dict[str, Any] = {}
        for block in columns(self.table.to("cpu"), image_mode=self.of_images):
            if isinstance(block.values, Tensor):
                found |= dict(zip(block.names, block.values.detach().numpy().T, strict=True))
            else:
                found[block.names[0]] = list(block.values)
        return pandas.DataFrame(found)

    def to_supervision(self) -> Any:
        """The faces as ``KeyPoints`` of supervision, with the numbers of faces and frames in their ``data``.

        Raises:
            RuntimeError: supervision is not installed, or is older than 0.29.
        """
        from clnf_torch.faces.supervision import key_points

        return key_points(self)

    def save(self, path: str | os.PathLike[str], *, openface_precision: bool = False) -> None:
        """Writes the file that the command line writes for these faces.

        Args:
            path: A name that ends with .csv, .parquet (needs pyarrow), .json, or .png (a drawing of one image; of a
                video its plot).
            openface_precision: Write as few digits to CSV as OpenFace.

        Raises:
            ValueError: The name ends otherwise, or there is not one image to draw on.
        """
        from clnf_torch.faces.files import save_faces

        save_faces(self, path, openface_precision)

    @property
    def of_images(self) -> bool:
        """Whether these are faces of images, not of a video."""
        return self.table.image is not None

    def _shown(self, values: Any) -> Any:
        """A property of R rows, as it is given away."""
        return values

    def _mapped(self: Own, function: Callable[[Tensor], Tensor], table: FaceTable) -> Own:
        """What a function makes of each tensor with R rows, with another table."""
        others = {field.name: getattr(self, field.name) for field in fields(self)}
        tensors: dict[str, Any] = {name: function(value) for name, value in others.items() if isinstance(value, Tensor)}
        return replace(self, fit=map_tensors(function, self.fit), table=table, **tensors)

    def _taken(self: Own, rows: Any) -> Own:
        """The rows of a slice, of numbers, or where a mask is true."""
        index = row_index(rows, len(self.table))
        if isinstance(index, Tensor):
            # As the host knows them: the names of images are no tensor
            index = torch.arange(len(self.table), device="cpu")[index.cpu()].tolist()
        return self._mapped(lambda values: values[index], self.table[index])


def row_number(number: Any, count: int, what: str) -> int:
    """The place of a row from 0, where negative numbers count from the end.

    Args:
        number: As it was asked for.
        count: How many there are.
        what: They are called, in the plural.

    Raises:
        IndexError: There is no such row.
        TypeError: It is a flag, which is no number.
    """
    if isinstance(number, bool) or getattr(number, "dtype", None) == torch.bool:
        raise TypeError(f"{bool(number)} is no number of {what}; a mask has one value for each")
    try:
        return range(count)[number]
    except IndexError:
        raise IndexError(f"there is no number {number} among {count} {what}") from None


def confidence_range(record: FaceRecord) -> str:
    """The confidences of faces in a few words."""
    known = record.table.confidence[record.table.success]
    if not len(known):
        return "none found"
    least, most = f"{float(known.min()):.2f}", f"{float(known.max()):.2f}"
    return f"confidence {least}" if least == most else f"confidence {least} to {most}"
