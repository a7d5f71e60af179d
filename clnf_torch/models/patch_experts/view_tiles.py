"""Faces of several views sorted into tiles of one view each, without a question to the device."""

from typing import NamedTuple

import torch
from torch import Tensor

# Tiles per view when all views are equally frequent. More of them copy more weights, fewer leave more places empty
TILES_PER_VIEW = 2


class ViewTiles(NamedTuple):
    """T tiles with places for F faces of one view each. The numbers T and F follow from those of faces and views alone.

    Attributes:
        view: View of each tile, int64, shape (T,); any one where a tile is empty.
        place: Place of each face, counted through all tiles, int64, shape (B,).
        faces: F.
    """

    view: Tensor
    place: Tensor
    faces: int

    @classmethod
    def of(cls, view: Tensor, views: int) -> "ViewTiles":
        """The tiles of faces in views (B,), each a number below `views`."""
        count = len(view)
        faces = max(1, -(-count // (TILES_PER_VIEW * views)))
        # Every view but one may leave its last tile unfilled
        tiles = min(count, count // faces + views)
        shown = view[:, None] == torch.arange(views, device=view.device)
        filled = -(-shown.sum(0) // faces)
        rank = shown.cumsum(0).gather(1, view[:, None]).squeeze(1) - 1
        place = (filled.cumsum(0) - filled)[view] * faces + rank
        return cls(view.new_zeros(tiles).index_copy(0, place // faces, view), place, faces)

    def lay(self, areas: Tensor) -> Tensor:
        """What belongs to each face (B, ...) laid into the tiles, shape (T, F, ...); 0 in empty places."""
        laid = areas.new_zeros(len(self.view) * self.faces, *areas.shape[1:])
        return laid.index_copy(0, self.place, areas).unflatten(0, (-1, self.faces))

    def take(self, laid: Tensor) -> Tensor:
        """What belongs to each face (B, ...) out of the tiles (T, F, ...)."""
        return laid.flatten(0, 1)[self.place]
