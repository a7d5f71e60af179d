"""Delaunay's triangulation of a few points: no triangle's circle holds another point."""

import torch
from torch import Tensor

JITTER = 1e-6  # of the points' extent: points on one circle, as mirror-symmetric shapes have them, must not stay there


def delaunay(points: Tensor) -> Tensor:
    """Triangles between points, found by trying all of them: for up to some hundred points.

    Args:
        points: Shape (N, 2), no two of them the same.

    Returns:
        Their corners in ascending order, int64, shape (T, 3).
    """
    points = points.double()
    points = (points - points.mean(0)) / (points.amax(0) - points.amin(0)).amax()
    points = points + JITTER * torch.randn(points.shape, generator=torch.Generator().manual_seed(0)).double()
    triangles = torch.combinations(torch.arange(len(points)), 3)
    lifted = torch.cat((points, points.square().sum(-1, keepdim=True)), -1)  # a circle is a plane cut of the paraboloid
    first, second, third = lifted[triangles].unbind(1)
    normal = torch.linalg.cross(second - first, third - first)  # (K, 3)
    normal = normal * normal[:, 2:].sign()  # upwards: points inside the circle lie below the plane
    height = normal @ lifted.T - (normal * first).sum(-1, keepdim=True)  # (K, N)
    own = torch.zeros_like(height, dtype=torch.bool).scatter_(1, triangles, True)
    return triangles[((height > 0) | own).all(-1)]
