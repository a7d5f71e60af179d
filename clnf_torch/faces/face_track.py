"""The faces of a video, frame by frame; each face keeps its number."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, overload

import torch
from torch import Tensor

from clnf_torch.faces.faces import Faces, Problem
from clnf_torch.faces.record import FaceRecord, confidence_range, row_number
from clnf_torch.faces.sources import ImageSource
from clnf_torch.geometry.records import row_index
from clnf_torch.media.recording import NO_FACE


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class FaceTrack(FaceRecord):
    """The faces of a video, one per row, by frame and number; `track` gives them.

    ``len(found)`` is the number of frames; ``found[0]`` and iteration give the `Faces` of a frame, a slice, places or a
    mask the `FaceTrack` of some frames, ``found.face(0)`` the rows of one face. A frame without a face has one row,
    whose `face_id` is -1 and whose numbers are 0, as in the tables of the command line.

    Attributes:
        video: The name of the video.
        rate: Frames per second.
        problem: What was wrong with the video, in a line; None: nothing.
    """

    video: str
    rate: float
    problem: str | None = None

    def __len__(self) -> int:
        """Number of frames."""
        return len(self._frames())

    def __iter__(self) -> Iterator[Faces]:
        """The faces of each frame."""
        return (self[number] for number in range(len(self)))

    @overload
    def __getitem__(self, frames: int) -> Faces: ...
    @overload
    def __getitem__(self, frames: Any) -> "FaceTrack": ...
    def __getitem__(self, frames: Any) -> "Faces | FaceTrack":
        """The faces of a frame by its place, or the frames of a slice, of places, or where a mask is true.

        Raises:
            IndexError: There is no such frame, or it is asked for twice.
            TypeError: It is none of these.
        """
        numbers = self._frames()
        if hasattr(frames, "__index__") and not getattr(frames, "ndim", 0):
            number = int(numbers[row_number(frames, len(numbers), "frames")])
            return faces_of_frame(self._taken(self.table.frame == number))
        chosen = torch.arange(len(numbers), device="cpu")[row_index(frames, len(numbers))].tolist()
        if len(set(chosen)) < len(chosen):
            raise IndexError("a frame is asked for twice; a track has each of its frames once")
        counts = self.table.frame.unique_consecutive(return_counts=True)[1].tolist()
        rows = torch.arange(len(self.table), device="cpu").split(counts)
        return self._taken(torch.cat([rows[place] for place in chosen]) if chosen else [])

    @property
    def face_ids(self) -> tuple[int, ...]:
        """The numbers of the faces that are found at least once."""
        found = self.table.face_id[self.table.success]
        return tuple(number for number in found.unique().tolist() if number != NO_FACE)

    def face(self, number: int) -> "FaceTrack":
        """The rows of one face.

        Raises:
            IndexError: There is no face of that number.
        """
        rows = self.table.face_id == number
        if number == NO_FACE or not bool(rows.any()):
            raise IndexError(f"there is no face {number}; the numbers are {list(self.face_ids)}")
        return self._taken(rows)

    def plot(self, axes: Any = None) -> Any:
        """Draws confidence and head rotation over time with matplotlib, a line for each face.

        Args:
            axes: Two axes to draw on; None: those of a new figure.

        Returns:
            The axes.

        Raises:
            RuntimeError: matplotlib is not installed.
        """
        from clnf_torch.faces.plot import plot_track

        return plot_track(self, axes)

    def __repr__(self) -> str:
        """The video in a line."""
        faces, landmarks = len(self.face_ids), self.fit.landmarks.shape[1]
        found = f"{len(self)} frames with {faces} face{'' if faces == 1 else 's'}, {confidence_range(self)}"
        problem = "" if self.problem is None else f", problem: {self.problem}"
        return f"FaceTrack({self.video}: {found}, {landmarks} landmarks, {self.device}{problem})"

    def _frames(self) -> Tensor:
        """The numbers of the frames in order."""
        return self.table.frame.unique_consecutive()


def faces_of_frame(rows: FaceTrack, image: Any = None, problem: str | None = None) -> Faces:
    """The faces of one frame.

    Args:
        rows: Its rows.
        image: The frame, if it is known, RGB, uint8, shape (3, H, W).
        problem: What is wrong with it, in a line.
    """
    frame = int(rows.table.frame[0]) if len(rows.table) else 0
    name = f"{rows.video}, frame {frame}"
    rows = rows._taken(rows.table.face_id != NO_FACE)
    return Faces(
        fit=rows.fit,
        table=rows.table,
        head=rows.head,
        given_boxes=None,
        image_index=torch.zeros(len(rows.table), dtype=torch.int64, device=rows.device),
        sources=(ImageSource(name, image),),
        problems=() if problem is None else (Problem(name, problem),),
    )
