"""The faces of images, and one of them."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, overload

from torch import Tensor

from clnf_torch.faces.record import FaceRecord, confidence_range, row_number
from clnf_torch.faces.sources import ImageSource
from clnf_torch.geometry.boxes import box_around


class Problem(NamedTuple):
    """An image, or a box in it, that could not be used."""

    image: str
    message: str


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class _FacesOfImages(FaceRecord):
    """Faces, and the images that they are in.

    Attributes:
        given_boxes: What each face was fitted in: x, y, width, height in pixels, float64, shape (R, 4); None in videos.
        image_index: Which of the images each face is in, int64, shape (R,).
        sources: The images.
        problems: What could not be read or used.
        only_image: The number of the image that `in_image` chose; None: these are the faces of all images.
    """

    given_boxes: Tensor | None
    image_index: Tensor
    sources: tuple[ImageSource, ...]
    problems: tuple[Problem, ...] = ()
    only_image: int | None = None

    @property
    def boxes(self) -> Tensor:
        """The box of each face: x, y, width, height in pixels, shape (R, 4); in videos that of its landmarks."""
        return self._shown(box_around(self.fit.landmarks) if self.given_boxes is None else self.given_boxes)

    @property
    def images(self) -> tuple[str, ...]:
        """The names of all images, with or without faces."""
        return tuple(source.name for source in self.sources)

    def plot(self, axes: Any = None) -> Any:
        """Draws the faces on their images with matplotlib: contours, head axes, gaze, and confidence as colour.

        Args:
            axes: What to draw on, for faces of a single image; None: a new figure, with a place for each image.

        Returns:
            The axes, or an array of them for several images.

        Raises:
            RuntimeError: matplotlib is not installed.
        """
        from clnf_torch.faces.plot import plot_faces

        return plot_faces(self, axes)

    @property
    def _pictured(self) -> tuple[int, ...]:
        """The numbers of the images that a drawing shows."""
        return tuple(range(len(self.sources))) if self.only_image is None else (self.only_image,)


class Face(_FacesOfImages):
    """One face: its properties are those of `Faces` without their first dimension, as landmarks (N, 2)."""

    @property
    def image(self) -> str:
        """The name of its image."""
        return self.sources[int(self.image_index[0])].name

    def __repr__(self) -> str:
        """The face in a line."""
        found = f"confidence {float(self.confidence):.2f}" if self.success else "not found"
        return f"Face({found} in {self.image}: {len(self.landmarks)} landmarks, {self.device})"

    def _shown(self, values: Any) -> Any:
        """The only row."""
        return None if values is None else values[0]

    @property
    def _pictured(self) -> tuple[int, ...]:
        """Its own image."""
        return (int(self.image_index[0]),)


class Faces(_FacesOfImages):
    """The faces of images, one per row, by image and from the surest to the least sure; `detect` gives them.

    ``len(faces)`` is their number; ``faces[0]`` and iteration give a `Face`; a slice, a mask such as
    ``faces[faces.success]`` or numbers give `Faces` again. The properties (`landmarks`, `confidence`, `pose`,
    `points_mm`, `gaze` and others) are tensors with a row for each face.
    """

    def __len__(self) -> int:
        """Number of faces."""
        return len(self.table)

    def __iter__(self) -> Iterator[Face]:
        """The faces, one after the other."""
        return (self[number] for number in range(len(self)))

    @overload
    def __getitem__(self, rows: int) -> Face: ...
    @overload
    def __getitem__(self, rows: Any) -> "Faces": ...
    def __getitem__(self, rows: Any) -> "Face | Faces":
        """The face of a number, or the faces of a slice, of numbers, or where a mask is true."""
        if not hasattr(rows, "__index__") or (hasattr(rows, "ndim") and rows.ndim):
            return self._taken(rows)
        number = row_number(rows, len(self), "faces")
        one = self._taken(slice(number, number + 1))
        return Face(**vars(one))

    def in_image(self, number: int) -> "Faces":
        """The faces of the image of a number."""
        number = row_number(number, len(self.sources), "images")
        return replace(self._taken(self.image_index == number), only_image=number)

    def __repr__(self) -> str:
        """The faces in a line."""
        parts = [
            f"{_counted(len(self), 'face')} in {_counted(len(self.sources), 'image')}",
            *([confidence_range(self)] if len(self) else []),
            f"{self.fit.landmarks.shape[1]} landmarks",
            str(self.device),
            *([_counted(len(self.problems), "problem")] if self.problems else []),
        ]
        return f"Faces({', '.join(parts)})"


def _counted(count: int, noun: str) -> str:
    """A number of things."""
    return f"{count} {noun}{'' if count == 1 else 's'}"
