"""What a report reads: the faces of one table, and what of it could not be read."""

from dataclasses import dataclass

import numpy as np
import torch

from clnf_torch.media.frame_step import usual_step

# Frames without a row that are counted, nine hours at 30 a second: with more, some number of a frame is wrong
MOST_MISSING = 1_000_000


class TableError(ValueError):
    """A table that cannot be read; its text is one line."""


class NoFacesError(TableError):
    """A table of something else than faces."""


@dataclass(frozen=True, kw_only=True)
class FaceLog:
    """R faces in the frames of a video, or in images, as a table holds them. Groups that it does not have are None.

    Attributes:
        frame: Number of the frame, or of the image among those of the table, from 1, shape (R,).
        face: Number of the face, shape (R,).
        time: Seconds, shape (R,); None for images.
        confidence: From 0 to 1, shape (R,); NaN where it is not known.
        success: Rows that count, bool, shape (R,).
        landmarks: Pixels, shape (R, N, 2).
        points: Landmarks in camera space, millimetres, shape (R, N, 3).
        pose: Head position (millimetres) and rotation (radians), shape (R, 6).
        gaze: Angles to the right and down, radians, shape (R, 2).
        params: Weak perspective: scale, rotation, centre, shape (R, 6).
        eyes: Landmarks of both eyes, pixels, shape (R, E, 2).
        images: Names of the images by `frame`, from the first one on; None for videos.
        video: Name of the video, where the table says it.
        judged: Whether the table says which rows count; where it does not, all that hold a face do.
        cut: Rows with fewer cells than there are columns.
        kept: Numbers of the landmarks that `landmarks` and `points` hold, of 68; None: all.
    """

    frame: np.ndarray
    face: np.ndarray
    time: np.ndarray | None
    confidence: np.ndarray
    success: np.ndarray
    landmarks: np.ndarray | None = None
    points: np.ndarray | None = None
    pose: np.ndarray | None = None
    gaze: np.ndarray | None = None
    params: np.ndarray | None = None
    eyes: np.ndarray | None = None
    images: tuple[str, ...] | None = None
    video: str | None = None
    judged: bool = True
    cut: int = 0
    kept: tuple[int, ...] | None = None

    def __len__(self) -> int:
        """Number of rows R."""
        return len(self.frame)

    def of_face(self, face: int) -> np.ndarray:
        """The rows of a face that count, by frame."""
        rows = np.flatnonzero((self.face == face) & self.success)
        return rows[np.argsort(self.frame[rows], kind="stable")]

    def left_out(self) -> str | None:
        """Which rows do not count or are cut, or that rejected fits may count, in sentences; None where all do."""
        said, rejected = [], int((~self.success).sum())
        if not self.judged:
            said.append("No column success says which fits were rejected: all are shown; compare their confidence.")
        elif rejected:
            said.append(f"Rows with success 0 are left out, {rejected} of {len(self)}: no face, or a rejected fit.")
        if self.cut:
            found = "1 row has" if self.cut == 1 else f"{self.cut} rows have"
            said.append(f"{found} fewer cells than there are columns: the file may be cut off; copy it again.")
        return " ".join(said) or None

    def frames(self) -> np.ndarray:
        """Numbers of the frames or images, ascending; of a video also those without a row between others.

        OpenFace's tables of several faces have rows of faces alone: where nobody is found, a number is missing.
        """
        numbers, step = np.unique(self.frame), self.step()
        steps = np.round(np.diff(numbers) / step).astype(np.int64)
        if self.images is not None or not 0 < (steps - 1).clip(0).sum() <= MOST_MISSING:
            return numbers
        between = [first + step * np.arange(max(count, 1)) for first, count in zip(numbers, steps, strict=False)]
        return np.concatenate([*between, numbers[-1:]])

    def step(self) -> int:
        """How far the numbers of frames usually are apart; more than 1 where only every so many were tracked."""
        return usual_step(torch.from_numpy(self.frame), torch.from_numpy(self.face))

    def rows_of(self, frame: int) -> np.ndarray:
        """The rows of a frame that count."""
        return np.flatnonzero((self.frame == frame) & self.success)
