"""Catmull-Clark subdivision of a mesh of quads that moves, and points that are fixed to a surface."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Subdivision:
    """What the refinement of one mesh needs, wherever its V vertices lie. It has Q quads and E edges."""

    quads: Tensor  # (Q, 4) int64
    edges: Tensor  # (E, 2) int64: the vertices at their ends
    edges_of: Tensor  # (Q, 4) int64: the edge from each corner to the next
    border: Tensor  # (E,) bool: edges of one quad alone
    vertices: int

    @classmethod
    def of(cls, quads: Tensor, vertices: int) -> "Subdivision":
        """The subdivision of quads (Q, 4) of so many vertices."""
        ends = torch.stack((quads, quads.roll(-1, 1)), -1).view(-1, 2).sort(-1).values
        edges, edges_of = ends.unique(dim=0, return_inverse=True)
        border = edges_of.bincount(minlength=len(edges)) < 2
        return cls(quads=quads, edges=edges, edges_of=edges_of.view(-1, 4), border=border, vertices=vertices)

    def refined_quads(self) -> Tensor:
        """The quads (4 Q, 4) of the finer mesh: four for each old one, whose corner comes first."""
        edges = self.edges_of + self.vertices
        middles = torch.arange(len(self.quads))[:, None].expand(-1, 4) + self.vertices + len(self.edges)
        return torch.stack((self.quads, edges, middles, edges.roll(1, 1)), -1).view(-1, 4)

    def refine(self, points: Tensor) -> Tensor:
        """The finer mesh's vertices (V + E + Q, 3): old ones smoothed, one for each edge, one for each quad.

        Args:
            points: The vertices, shape (V, 3). Borders follow their curve; what no quad uses stays.
        """
        faces, halves = points[self.quads].mean(1), points[self.edges].mean(1)
        beside = _gathered(self.edges_of, faces, len(self.edges))
        edges = torch.where(self.border[:, None], halves, halves / 2 + beside / 4)
        return torch.cat((self._smoothed(points, faces, halves), edges, faces))

    def _smoothed(self, points: Tensor, faces: Tensor, halves: Tensor) -> Tensor:
        """The rule of Catmull and Clark: (faces + 2 edges + (n - 3) vertex) / n, and 1-6-1 along borders."""
        count, border = len(points), self.border[:, None]
        valence = self.quads.flatten().bincount(minlength=count)[:, None]
        around = _gathered(self.quads, faces, count) / valence.clamp_min(1)
        middles = _gathered(self.edges, halves, count)
        middles = middles / self.edges.flatten().bincount(minlength=count)[:, None].clamp_min(1)
        smooth = (around + 2 * middles + (valence - 3) * points) / valence.clamp_min(1)
        along = 0.5 * points + 0.25 * _gathered(self.edges, halves * border, count)
        outer = torch.zeros(count, dtype=torch.bool).index_fill_(0, self.edges[self.border].flatten(), value=True)
        return torch.where(outer[:, None], along, torch.where(valence > 0, smooth, points))


def _gathered(places: Tensor, values: Tensor, count: int) -> Tensor:
    """Sums (count, 3) of the values (K, 3) at each of their places (K, P)."""
    sums = values.new_zeros(count, values.shape[1])
    return sums.index_add_(0, places.flatten(), values.repeat_interleave(places.shape[1], 0))


@dataclass(frozen=True, kw_only=True)
class SurfacePoints:
    """Points between vertices of a surface, which follow it."""

    vertices: Tensor  # (K, C) int64
    shares: Tensor  # (K, C), of sum 1

    def on(self, surface: Tensor) -> Tensor:
        """The points (K, D) on vertices (S, D)."""
        return (surface[self.vertices] * self.shares[..., None]).sum(1)
