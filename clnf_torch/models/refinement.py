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
    """Landmarks between those of the fitted shape and the centroids of their response maps.

    A shape model cannot follow a face into every detail, and where responses are is not quite where people put
    landmarks. Both keep an offset that is constant in the upright face, learned on faces that the experts were not
    trained on.

    Args:
        share: Of the centroids in the refined landmarks, from 0 to 1, shape (N,).
        shape_offset: Added to the landmarks of the shape, millimetres of the upright face, shape (N, 2).
        centroid_offset: Added to the centroids, shape (N, 2).
    """

    def __init__(self, share: Tensor, shape_offset: Tensor, centroid_offset: Tensor) -> None:
        super().__init__()
        self.share = nn.Parameter(share, requires_grad=False)
        self.shape_offset = nn.Parameter(shape_offset, requires_grad=False)
        self.centroid_offset = nn.Parameter(centroid_offset, requires_grad=False)

    @classmethod
    def of_centroids(cls, landmarks: int, like: Tensor) -> "Refinement":
        """The refinement whose results are the centroids themselves."""
        return cls(like.new_ones(landmarks), like.new_zeros(landmarks, 2), like.new_zeros(landmarks, 2))

    def forward(self, shape: Tensor, centroids: Tensor, to_image: Tensor) -> Tensor:
        """The refined landmarks.

        Args:
            shape: Landmarks of the fitted shapes, pixels, shape (B, N, 2).
            centroids: Of the landmarks' response maps, pixels, shape (B, N, 2); NaN where a map is empty, and the
                landmark stays the shape's.
            to_image: The map from millimetres of the upright face to the image, shape (B, 2, 2).

        Returns:
            Pixels, shape (B, N, 2).
        """
        known, share = centroids.isfinite(), self.share[:, None]
        offset = torch.lerp(self.shape_offset, self.centroid_offset, share)
        refined = torch.lerp(shape, torch.where(known, centroids, shape), share) + offset @ to_image.mT
        return torch.where(known, refined, shape)

    def to_record(self) -> dict[str, Tensor]:
        """The refinement as a bundle holds it, float64."""
        return {name: value.detach().double() for name, value in self.named_parameters()}

    @classmethod
    def check_record(cls, record: Any, where: str, context: Context) -> None:
        """Refuses what is no record of `to_record` for N landmarks.

        Raises:
            SchemaError: Something in it is not what it should be.
        """
        offset = Array("N", 2, low=-FARTHEST, high=FARTHEST)
        fields = {"share": Array("N", low=0, high=1), "shape_offset": offset, "centroid_offset": offset}
        Fields(fields, closed=True).check(record, where, context)

    @classmethod
    def from_record(cls, record: Mapping[str, Tensor], dtype: torch.dtype) -> "Refinement":
        """The refinement in a record."""
        return cls(**{name: value.to(dtype) for name, value in record.items()})
