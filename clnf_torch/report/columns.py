"""Which columns of a table a report reads, and the faces that they hold."""

import re
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import count as count_up
from itertools import takewhile
from pathlib import Path

import numpy as np

from clnf_torch.geometry.landmarks68 import NUM_LANDMARKS
from clnf_torch.report.records import FaceLog, NoFacesError, TableError
from clnf_torch.report.signals import MEASURED

# Columns that a report looks at; all others are not even converted
WANTED = re.compile(
    r"frame|face|face_id|timestamp|confidence|success|gaze_angle_[xy]|pose_[TR][xyz]|p_scale|p_r[xyz]|p_t[xy]|"
    r"(eye_lmk_[xy]|[xyXYZ])_\d+"
)
# Of several videos, as tables that are joined have it, no page can be made: their frames have the same numbers
IMAGE, VIDEO = "image", "video"
PARAMS = ("p_scale", "p_rx", "p_ry", "p_rz", "p_tx", "p_ty")
POSE = ("pose_Tx", "pose_Ty", "pose_Tz", "pose_Rx", "pose_Ry", "pose_Rz")
NO_FACES = "expected columns of faces (x_0, y_0 and so on, or confidence), found none"

Columns = dict[str, np.ndarray]


@dataclass(frozen=True, kw_only=True)
class Selection:
    """What is read of a table; by default all that a report looks at.

    Attributes:
        for_signals: Whether only what timelines are made of is: of 68 landmarks those that are measured, no eyes. These
            are an eighth of the numbers.
        rows: Numbers of the rows, from 0; None: all.
        read: Told how many bytes more of the file are read.
    """

    for_signals: bool = False
    rows: Collection[int] | None = None
    read: Callable[[int], None] = lambda count: None

    def columns(self, names: Sequence[str]) -> tuple[list[int], tuple[int, ...] | None]:
        """Places of the columns that are read, and the numbers of the landmarks among them; None: all.

        Args:
            names: Of all columns.
        """
        wanted = [place for place, name in enumerate(names) if WANTED.fullmatch(name)]
        if not self.for_signals or not _has_68_landmarks(names):
            return wanted, None
        in_space = {f"{axis}_{number}" for axis in "XYZ" for number in MEASURED}
        in_image = {f"{axis}_{number}" for axis in "xy" for number in MEASURED}
        if {*in_space, *POSE, "confidence", "success"}.issubset(names):
            in_image = set()
        unread = re.compile(r"eye_lmk_.*|p_.*|[xyXYZ]_\d+")
        measured = in_space | in_image
        return [place for place in wanted if names[place] in measured or not unread.fullmatch(names[place])], MEASURED


def _has_68_landmarks(names: Sequence[str]) -> bool:
    """Whether all landmarks that a table has are of the scheme whose measures are shown."""
    counts = [sum(re.fullmatch(rf"{axis}_\d+", name) is not None for name in names) for axis in "xyXYZ"]
    return any(counts) and set(counts) <= {0, NUM_LANDMARKS}


class CollectedRows:
    """Rows of a table as they are read, some hundred at a time.

    Args:
        path: The table.
        names: Of the columns that are read.
        kept: Numbers of the landmarks among them; None: all.
    """

    def __init__(self, path: Path, names: Sequence[str], kept: tuple[int, ...] | None) -> None:
        self.path, self.names, self.kept = path, names, kept
        self.chunks, self.images, self.videos = list[np.ndarray](), list[str](), set[str]()
        self._known = dict[str, str]()

    def add(self, values: np.ndarray, images: Iterable[str] = (), videos: Iterable[str] = ()) -> None:
        """Adds rows: their numbers, shape (R, C), and their images and videos, where columns name them."""
        self.chunks.append(values)
        # One text for all rows of an image
        self.images += [self._known.setdefault(name, name) for name in images]
        self.videos.update(videos)

    def log(self, *, of_images: bool) -> FaceLog:
        """All of them.

        Args:
            of_images: Whether a column names images.

        Raises:
            TableError: They are no faces, or those of several videos.
        """
        _require_one_video(self.path, self.videos)
        values = np.concatenate(self.chunks) if self.chunks else np.zeros((0, len(self.names)))
        self.chunks.clear()
        columns = {name: values[:, number] for number, name in enumerate(self.names)}
        return _of_columns(self.path, columns, self.images if of_images else None, self.kept)


def _require_one_video(path: Path, videos: set[str]) -> None:
    """Refuses a table of several videos, whose frames would be taken for those of one."""
    if len(videos) > 1:
        found = ", ".join(sorted(map(str, videos))[:3])
        raise TableError(
            f"{path}: expected one video, column video names {len(videos)}: {found}; write a table of each"
        )


def _of_columns(path: Path, columns: Columns, images: Sequence[str] | None, kept: tuple[int, ...] | None) -> FaceLog:
    """A log of the columns that a table has."""
    landmarks = _points(columns, kept, "x_", "y_")
    if landmarks is None and "confidence" not in columns:
        raise NoFacesError(f"{path}: {NO_FACES}")
    rows = len(next(iter(columns.values())))
    frame, names = frames_of_rows(columns.get("frame"), images, rows)
    success = columns.get("success")
    return FaceLog(
        frame=frame,
        face=whole_numbers(columns.get("face_id", columns.get("face", np.zeros(rows)))),
        time=None if names else columns.get("timestamp"),
        confidence=columns.get("confidence", np.full(rows, np.nan)),
        success=rows_with_face(landmarks, rows) if success is None else success > 0,
        landmarks=landmarks,
        points=_points(columns, kept, "X_", "Y_", "Z_"),
        pose=_group(columns, POSE),
        gaze=_group(columns, ("gaze_angle_x", "gaze_angle_y")),
        params=_group(columns, PARAMS),
        eyes=_points(columns, None, "eye_lmk_x_", "eye_lmk_y_"),
        images=names,
        judged=success is not None,
        kept=kept,
    )


def _points(columns: Columns, kept: Sequence[int] | None, *axes: str) -> np.ndarray | None:
    """Points (R, N, D) of columns such as x_0, x_1 and y_0, y_1; None where one of them is missing."""
    numbers = list(takewhile(lambda number: f"{axes[0]}{number}" in columns, count_up())) if kept is None else kept
    names = [f"{axis}{number}" for number in numbers for axis in axes]
    if not names or any(name not in columns for name in names):
        return None
    return np.stack([columns[name] for name in names], axis=1).reshape(-1, len(numbers), len(axes))


def _group(columns: Columns, names: Sequence[str]) -> np.ndarray | None:
    """Columns side by side, (R, C); None where one of them is missing."""
    return np.stack([columns[name] for name in names], axis=1) if all(name in columns for name in names) else None


def frames_of_rows(
    frame: np.ndarray | None, images: Sequence[str] | None, rows: int
) -> tuple[np.ndarray, tuple[str, ...] | None]:
    """The frame of each row, (R,), and the names of images by frame."""
    if frame is not None and not images:
        return whole_numbers(frame), None
    if images is None:
        return np.arange(1, rows + 1), None
    names = tuple(dict.fromkeys(images))
    number = {name: place for place, name in enumerate(names, 1)}
    return np.array([number[name] for name in images], dtype=np.int64), names


def whole_numbers(values: np.ndarray) -> np.ndarray:
    """Numbers as integers; those that are not finite as -1."""
    return np.where(np.isfinite(values), values, -1).astype(np.int64)


def rows_with_face(landmarks: np.ndarray | None, rows: int) -> np.ndarray:
    """Rows with a face, where no column says it: those whose landmarks are finite and not all 0."""
    if landmarks is None:
        return np.ones(rows, dtype=bool)
    axes = tuple(range(1, landmarks.ndim))
    return np.isfinite(landmarks).all(axes) & (landmarks != 0).any(axes)
