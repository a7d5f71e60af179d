"""Detection validation: how certain it is that landmarks lie on a face, from what is seen between them."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from clnf_torch.detection.view_validator import ViewValidator
from clnf_torch.fitting.images import ImageBatch
from clnf_torch.geometry.constants import constant
from clnf_torch.geometry.host import is_readable
from clnf_torch.models.numerics import Numerics

# OpenFace's ``validation_boundary``
BOUNDARY = 0.725
# Pixels around the landmarks that OpenFace cuts out with them
BORDER = 3
# In bundles
KIND = "cnn"
# Faces that a network looks at together, so that its activations stay small
FACES = 64


def is_face(confidence: Tensor, boundary: float = BOUNDARY) -> Tensor:
    """Whether confidences (B,) exceed the boundary, bool, shape (B,).

    OpenFace: both are float32. Of 20 scores the sixth is 0.725 to the last bit, and fails.
    """
    return confidence.float() > boundary


class DetectionValidator(nn.Module):
    """How certain it is that landmarks lie on a face.

    Args:
        orientations: Rotations of the head (rx, ry, rz) that there are validators for, radians, shape (V, 3).
        views: The validator of each.

    Source:
        OpenFace ``DetectionValidator``.
    """

    def __init__(self, orientations: Tensor, views: Sequence[ViewValidator]) -> None:
        super().__init__()
        self.orientations: Tensor
        self.register_buffer("orientations", orientations)
        self.views = nn.ModuleList(views)

    @staticmethod
    def record(size: tuple[int, int], orientations: Tensor, views: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """The fields of a validator in a bundle.

        Args:
            size: Height and width of the images that the networks look at, pixels.
            orientations: Radians, float64, shape (V, 3).
            views: Records of `ViewValidator.record`.
        """
        return {"kind": KIND, "size": list(size), "orientations": orientations, "views": list(views)}

    @classmethod
    def from_record(cls, record: Mapping[str, Any], dtype: torch.dtype = torch.float32) -> "DetectionValidator":
        """The validator in a record of `record`.

        Args:
            record: A bundle's ``validator``.
            dtype: Number type of the arithmetic.

        Raises:
            ValueError: It is of a kind that is not known.
            KeyError: A field is missing.
        """
        if record["kind"] != KIND:
            raise ValueError(f"the bundle's validator is of kind {record['kind']!r}, this program knows {KIND!r}")
        height, width = record["size"]
        views = [ViewValidator.from_record(view, (int(height), int(width)), dtype) for view in record["views"]]
        return cls(record["orientations"], views)

    def to_record(self) -> dict[str, Any]:
        """The validator as a bundle holds it.

        Raises:
            ValueError: A network has layers that bundles do not hold.
        """
        views = [cast(ViewValidator, view) for view in self.views]
        return self.record(views[0].size, self.orientations, [view.to_record() for view in views])

    def forward(self, images: ImageBatch, rotation: Tensor, landmarks: Tensor, numerics: Numerics) -> Tensor:
        """Confidences of faces.

        Args:
            images: The images of the faces.
            rotation: Rotation of each head (rx, ry, rz), radians, shape (B, 3).
            landmarks: Landmarks (x, y), pixels, shape (B, N, 2).
            numerics: OpenFace's approximations or the exact forms.

        Returns:
            One of C evenly spaced confidences between 0 and 1; 0 where there is nothing to look at: landmarks in a heap
            or outside their image, or numbers that are not finite. In the landmarks' number type, shape (B,).

        Source:
            OpenFace ``DetectionValidator::Check``.
        """
        corner, usable = face_region(landmarks, *images.size)
        usable = usable & landmarks.isfinite().all(-1).all(-1) & rotation.isfinite().all(-1)
        # OpenFace: what it cuts out ends before its last column and row, so the image's own are never seen.
        images = images.without_last_pixels() if numerics.quirks else images
        confidence = landmarks.new_zeros(len(landmarks))
        nearest = torch.where(usable, self.nearest_view(rotation), len(self.views))
        if not is_readable(nearest):
            # Every view looks at every face: their networks cost little, a question to the device more
            for number, view in enumerate(self.views):
                seen = cast(ViewValidator, view).confidence(images, landmarks, corner, numerics)
                confidence = torch.where(nearest == number, seen, confidence)
            return confidence
        for view, rows in self._rows_by_view(nearest):
            if len(rows) == len(landmarks):
                return view.confidence(images, landmarks, corner, numerics)
            seen = view.confidence(images.rows(rows), landmarks[rows], corner[rows], numerics)
            confidence = confidence.index_copy(0, rows, seen)
        return confidence

    def nearest_view(self, rotation: Tensor) -> Tensor:
        """The orientation closest to rotations (B, 3), the first one on a tie; int64, shape (B,)."""
        distance = (rotation.detach().double()[:, None] - self.orientations.double()).square().sum(-1)
        return distance.argmin(-1)

    def _rows_by_view(self, nearest: Tensor) -> Iterator[tuple[ViewValidator, Tensor]]:
        """The rows of each view, int64, at most `FACES` at a time; not those whose number (B,) no view has."""
        rows_of = defaultdict[int, list[int]](list)
        for row, number in enumerate(nearest.tolist()):
            rows_of[number].append(row)
        for number in sorted(rows_of.keys() - {len(self.views)}):
            for rows in torch.tensor(rows_of[number], device=nearest.device).split(FACES):
                yield cast(ViewValidator, self.views[number]), rows


def face_region(landmarks: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    """What of the image is cut out around landmarks.

    Args:
        landmarks: Landmarks (x, y), pixels, shape (B, N, 2).
        height: Of the image.
        width: Of the image.

    Returns:
        Its upper left corner (x, y), whole numbers in the landmarks' type, shape (B, 2), and whether more than one
        pixel of it is left each way, bool, shape (B,).

    Source:
        OpenFace ``DetectionValidator::CheckCNN``.
    """
    landmarks = landmarks.detach()
    last = constant((width - 1, height - 1), landmarks)
    low = (landmarks.amin(1) - BORDER).trunc().clamp(min=0)
    high = torch.minimum((landmarks.amax(1) + BORDER).trunc(), last)
    return low, (high - low > 1).all(-1)
