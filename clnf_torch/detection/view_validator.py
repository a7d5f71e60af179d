"""The validator of faces that are turned one way: a warp to its frame of reference, and a small network."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from clnf_torch.fitting.images import ImageBatch
from clnf_torch.geometry.sampling import cells_at, cells_at_32nds
from clnf_torch.geometry.warp import triangle_maps, warp_positions
from clnf_torch.models.layers import Layer, build_network, layer_records
from clnf_torch.models.numerics import Numerics


class ViewValidator(nn.Module):
    """The validator of faces that are turned one way.

    Args:
        table: The warp from the frame of reference, with its P pixels; see `warp_table`.
        places: Where these pixels are in the image that the network looks at, row by row, int64, shape (P,).
        size: Height H and width W of that image.
        mean: Mean of each normalised pixel, shape (P,).
        deviation: Its standard deviation, shape (P,).
        network: Maps images (B, 1, H, W) to scores (B, C), best first.
    """

    def __init__(
        self,
        table: Mapping[str, Tensor],
        places: Tensor,
        size: tuple[int, int],
        mean: Tensor,
        deviation: Tensor,
        network: nn.Module,
    ) -> None:
        super().__init__()
        self.size, self.network = size, network
        self.places: Tensor
        self.mean: Tensor
        self.deviation: Tensor
        self.triangles: Tensor
        self.alpha: Tensor
        self.beta: Tensor
        self.pixels: Tensor
        self.triangle: Tensor
        for name, values in {**table, "places": places, "mean": mean, "deviation": deviation}.items():
            self.register_buffer(name, values)

    @staticmethod
    def record(
        *,
        triangles: Tensor,
        alpha: Tensor,
        beta: Tensor,
        origin: Tensor,
        pixels: Tensor,
        triangle: Tensor,
        mean: Tensor,
        deviation: Tensor,
        layers: Sequence[Layer],
    ) -> dict[str, Any]:
        """The fields of a view in a bundle; ``converters/README.md`` describes them.

        Args:
            triangles: int64, shape (T, 3); this and the next five are the warp.
            alpha: float64, shape (T, 3).
            beta: float64, shape (T, 3).
            origin: float64, shape (2,).
            pixels: int64, shape (P,).
            triangle: int64, shape (P,).
            mean: Of each pixel, shape (P,).
            deviation: Likewise.
            layers: The network; see `layer_records`.
        """
        warp = {"triangles": triangles, "alpha": alpha, "beta": beta, "origin": origin}
        numbers = {"pixels": pixels, "triangle": triangle, "mean": mean, "deviation": deviation}
        return {**warp, **numbers, "layers": list(layers)}

    @classmethod
    def from_record(cls, record: Mapping[str, Any], size: tuple[int, int], dtype: torch.dtype) -> "ViewValidator":
        """The validator in a record of `record`, for images of a height and width."""
        mean, deviation = record["mean"].to(dtype), record["deviation"].to(dtype)
        network = build_network(record["layers"], dtype)
        return cls(warp_table(record, size[1], dtype), record["pixels"], size, mean, deviation, network)

    def to_record(self) -> dict[str, Any]:
        """The validator as a bundle holds it, in the number type of its weights."""
        width = self.size[1]
        column_row = torch.stack((self.places % width, self.places // width), -1)
        # Where columns and rows are the smallest, most often 0, least is lost of the origin
        first = column_row.argmin(0)
        axes = torch.arange(2, device=first.device)
        origin = self.pixels[first, axes] - column_row[first, axes].to(self.pixels)
        return self.record(
            triangles=self.triangles,
            alpha=self.alpha.double(),
            beta=self.beta.double(),
            origin=origin.double(),
            pixels=self.places,
            triangle=self.triangle,
            mean=self.mean,
            deviation=self.deviation,
            layers=layer_records(self.network),
        )

    def positions(self, landmarks: Tensor) -> Tensor:
        """Where the pixels of the warp lie in the image, (B, P, 2), for landmarks (B, N, 2), pixels (x, y)."""
        maps = triangle_maps(landmarks, self.triangles, self.alpha, self.beta)
        return warp_positions(maps, self.pixels, self.triangle)

    def confidence(self, images: ImageBatch, landmarks: Tensor, corner: Tensor, numerics: Numerics) -> Tensor:
        """Confidences (B,) of faces with landmarks (B, N, 2), pixels, cut out from a corner (B, 2) on."""
        return confidence_of(self(self.warp(images, landmarks - corner[:, None], corner, numerics)))

    def warp(self, images: ImageBatch, landmarks: Tensor, corner: Tensor, numerics: Numerics) -> Tensor:
        """The gray levels between the landmarks.

        Args:
            images: The images of the faces.
            landmarks: Places (x, y) relative to the corner, pixels, shape (B, N, 2).
            corner: Whole pixels (x, y), shape (B, 2).
            numerics: OpenFace's approximations or the exact forms.

        Returns:
            Gray levels, shape (B, P).
        """
        table = self.triangles, self.alpha, self.beta, self.pixels, self.triangle
        warped = images.read_warped(landmarks, corner, table, numerics.sample_on_32nds)
        if warped is not None:
            return warped
        positions = self.positions(landmarks)
        column, row, right, down = (cells_at_32nds if numerics.sample_on_32nds else cells_at)(positions)
        corner_column, corner_row = corner.to(column.dtype)[..., None].unbind(1)
        return images.read((column + corner_column, row + corner_row, right, down), landmarks.dtype)

    def normalise(self, pixels: Tensor) -> Tensor:
        """Gray levels (B, P) as the network expects them, (B, P): first each face by itself, then each pixel.

        Source:
            OpenFace ``DetectionValidator::NormaliseWarpedToVector``.
        """
        exact = pixels.double()
        centred = exact - exact.mean(-1, keepdim=True)
        variance = centred.square().mean(-1, keepdim=True)
        # A face without texture has no contrast, though its mean may be rounded and its variance not quite 0
        textured = exact.amax(-1, keepdim=True) > exact.amin(-1, keepdim=True)
        own = centred / torch.where(textured, variance, 1).sqrt()
        return (own.to(pixels.dtype) - self.mean) / self.deviation

    def forward(self, pixels: Tensor) -> Tensor:
        """Scores (B, C) of gray levels (B, P) between landmarks."""
        images = pixels.new_zeros(len(pixels), self.size[0] * self.size[1])
        images = images.index_copy(1, self.places, self.normalise(pixels))
        scores: Tensor = self.network(images.view(-1, 1, *self.size))
        return scores


def warp_table(record: Mapping[str, Any], width: int, dtype: torch.dtype) -> dict[str, Tensor]:
    """The warp in the record of a view, for images of that width: arguments of `triangle_maps`, `warp_positions`."""
    places = record["pixels"]
    column_row = torch.stack((places % width, places // width), -1)
    return {
        "triangles": record["triangles"],
        "alpha": record["alpha"].to(dtype),
        "beta": record["beta"].to(dtype),
        "pixels": column_row.to(dtype) + record["origin"].to(dtype),
        "triangle": record["triangle"],
    }


def confidence_of(scores: Tensor) -> Tensor:
    """Confidences (B,) of scores (B, C): 1 - (k + 1/2) / C for the greatest score k, 0 where one is no number.

    Source:
        OpenFace ``DetectionValidator::CheckCNN``.
    """
    bins = scores.shape[-1]
    confidence = 1 - (scores.argmax(-1).double() + 0.5) / bins
    # OpenFace: rounded to float32
    return torch.where(scores.isfinite().all(-1), confidence, 0).float().to(scores.dtype)
