"""The last, free step of a fit: landmarks leave the shape model for where their own responses are."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from clnf_torch.models.array_schema import Array
from clnf_torch.models.schema import Context, Fields

# Millimetres of the upright face, beyond those of any model
FARTHEST = 20.0


class Refinement(nn.Module):
    """Landmarks between those of the fitted shape and the centroids of their response maps at the last K scales.

    A shape model cannot follow a face into every detail, and where responses are is not quite where people put
    landmarks. Both keep an offset that is constant in the upright face, learned on faces that the experts were not
    trained on. Experts of several scales that err in different ways are better together.

    Args:
        share: Of each scale's centroids in the refined landmarks, from coarse to fine; what is left to 1 is the
            shape's. Shape (K, N).
        shape_offset: Added to the landmarks of the shape, millimetres of the upright face, shape (N, 2).
        centroid_offset: Added to the centroids, shape (K, N, 2).
    """

    def __init__(self, share: Tensor, shape_offset: Tensor, centroid_offset: Tensor) -> None:
        super().__init__()
        self.share = nn.Parameter(share, requires_grad=False)
        self.shape_offset = nn.Parameter(shape_offset, requires_grad=False)
        self.centroid_offset = nn.Parameter(centroid_offset, requires_grad=False)

    @property
    def scales(self) -> int:
        """How many of the model's last scales it takes centroids of, K."""
        return len(self.share)

    @classmethod
    def of_centroids(cls, landmarks: int, like: Tensor, scales: int = 1) -> "Refinement":
        """The refinement whose results are the centroids themselves, of the coarsest of so many last scales."""
        share = like.new_zeros(scales, landmarks)
        share[0] = 1
        return cls(share, like.new_zeros(landmarks, 2), like.new_zeros(scales, landmarks, 2))

    def of_one_scale(self, place: int) -> "Refinement":
        """One that takes the centroids of a single one of its scales, which has the shares of all."""
        share = torch.zeros_like(self.share)
        share[place] = self.share.sum(0)
        return Refinement(share, self.shape_offset.detach(), self.centroid_offset.detach())

    def forward(self, shape: Tensor, centroids: Tensor, to_image: Tensor) -> Tensor:
        """The refined landmarks.

        Args:
            shape: Landmarks of the fitted shapes, pixels, shape (B, N, 2).
            centroids: Of the landmarks' response maps at the last scales, coarse to fine, pixels, shape (B, K, N, 2),
                or those of fewer, where a fit ended before. NaN where a map is empty, and the shape takes its share. A
                landmark all of whose maps are empty stays the shape's.
            to_image: The map from millimetres of the upright face to the image, shape (B, 2, 2).

        Returns:
            Pixels, shape (B, N, 2).
        """
        # Only NaN is unlike itself
        known, scales, offset = centroids == centroids, centroids.shape[1], self.shape_offset
        share = self.share[:scales, :, None]
        away = (share * (centroids - shape[:, None]).nan_to_num()).sum(1)
        # What the centroids' offsets change in the shape's
        changes = torch.where(known, self.centroid_offset[:scales] - offset, 0.0)
        moved = shape + away + torch.bmm(offset + (share * changes).sum(1), to_image.mT)
        return torch.where(known.any(1), moved, shape)

    def to_record(self) -> dict[str, Tensor]:
        """The refinement as a bundle holds it, float64."""
        return {name: value.detach().double() for name, value in self.named_parameters()}

    @classmethod
    def check_record(cls, record: Any, where: str, context: Context, scales: int) -> None:
        """Refuses what is no record of `to_record` for N landmarks and at most so many scales.

        Raises:
            SchemaError: Something in it is not what it should be.
        """
        # Bundles of older versions take the centroids of the last scale alone, and have no axis of scales
        share = record.get("share") if isinstance(record, Mapping) else None
        axis = () if isinstance(share, Tensor) and share.ndim == 1 else ("K",)
        fields = {
            "share": Array(*axis, "N", low=0, high=1, longest=scales),
            "shape_offset": Array("N", 2, low=-FARTHEST, high=FARTHEST),
            "centroid_offset": Array(*axis, "N", 2, low=-FARTHEST, high=FARTHEST),
        }
        Fields(fields, closed=True).check(record, where, context)

    @classmethod
    def from_record(cls, record: Mapping[str, Tensor], dtype: torch.dtype) -> "Refinement":
        """The refinement in a record."""
        share, shape, centroids = (record[name].to(dtype) for name in ("share", "shape_offset", "centroid_offset"))
        return cls(share.reshape(-1, len(shape)), shape, centroids.reshape(-1, *shape.shape))
