"""Thin-plate splines: the smoothest maps of the plane that move given points to given places."""

from dataclasses import dataclass

import torch
from torch import Tensor

# How much the plate may miss its points, so that points that coincide are no contradiction
STIFFNESS = 1e-5


@dataclass(frozen=True)
class ThinPlate:
    """How far the points of B planes are moved."""

    points: Tensor  # (B, N, 2) that are held
    weights: Tensor  # (B, N + 3, 2) of the kernels around them, and of 1, x and y
    unit: Tensor  # (B, 1, 1) length in which the spline counts: the points' spread
    middle: Tensor  # (B, 1, 2) of the points

    @classmethod
    def through(cls, points: Tensor, shifts: Tensor) -> "ThinPlate":
        """The spline that moves points (B, N, 2), not all on a line, by shifts (B, N, 2).

        Source:
            F. L. Bookstein, Principal warps, PAMI 1989.
        """
        middle = points.mean(1, keepdim=True)
        unit = (points - middle).square().sum(-1, keepdim=True).mean(1, keepdim=True).sqrt()
        held = ((points - middle) / unit).double()
        system = held.new_zeros(len(points), points.shape[1] + 3, points.shape[1] + 3)
        system[:, :-3, :-3] = _kernel(held, held) + STIFFNESS * torch.eye(
            points.shape[1], dtype=held.dtype, device=held.device
        )
        system[:, :-3, -3:] = _plane(held)
        system[:, -3:, :-3] = _plane(held).mT
        right = torch.nn.functional.pad(shifts.double(), (0, 0, 0, 3))
        weights = torch.linalg.solve(system, right)
        return cls(held.to(points), weights.to(points), unit, middle)

    def at(self, places: Tensor) -> Tensor:
        """How far the spline moves places (B, K, 2), shape (B, K, 2)."""
        places = (places - self.middle) / self.unit
        return torch.cat((_kernel(places, self.points), _plane(places)), -1) @ self.weights


def _kernel(places: Tensor, points: Tensor) -> Tensor:
    """r^2 log r between places (B, K, 2) and points (B, N, 2), shape (B, K, N)."""
    square = (places[:, :, None] - points[:, None]).square().sum(-1)
    return 0.5 * torch.special.xlogy(square, square)


def _plane(places: Tensor) -> Tensor:
    """1, x and y of places (B, K, 2), shape (B, K, 3)."""
    return torch.cat((torch.ones_like(places[..., :1]), places), -1)
