"""The frame of reference of a validator: a shape seen from the front, its triangles, and the pixels inside them."""

import torch
from torch import Tensor

# Of the points' extent: points on one circle, as mirror-symmetric shapes have them, must not stay there
JITTER = 1e-6


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
    # A circle is a plane cut of the paraboloid
    lifted = torch.cat((points, points.square().sum(-1, keepdim=True)), -1)
    first, second, third = lifted[triangles].unbind(1)
    normal = torch.linalg.cross(second - first, third - first)  # (K, 3)
    # Upwards: points inside the circle lie below the plane
    normal = normal * normal[:, 2:].sign()
    height = normal @ lifted.T - (normal * first).sum(-1, keepdim=True)  # (K, N)
    own = torch.zeros_like(height, dtype=torch.bool).scatter_(1, triangles, True)
    return triangles[((height > 0) | own).all(-1)]


# Rounding that keeps no pixel on an edge from belonging to a triangle
EDGE = 1e-9


def make_warp_table(shape: Tensor, side: int) -> dict[str, Tensor]:
    """The warp of a validator's view, in the fields of a bundle.

    Args:
        shape: The shape in the frame of reference (x, y), in any unit, shape (N, 2). Its longer extent fills the side.
        side: Height and width of the image that the network looks at, pixels.

    Returns:
        ``triangles``, ``alpha``, ``beta``, ``origin``, ``pixels`` and ``triangle``; see converters/README.md.
    """
    corners = frame_landmarks(shape, side)
    triangles = delaunay(corners)
    alpha, beta = corner_weights(corners, triangles)
    row, column = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    place = torch.stack((torch.ones(side, side), column, row), -1).double().flatten(0, 1)
    second, third = place @ alpha.T, place @ beta.T  # (side * side, T)
    inside = (second > -EDGE) & (third > -EDGE) & (second + third < 1 + EDGE)
    pixels = inside.any(-1).nonzero().squeeze(-1)
    return {
        "triangles": triangles,
        "alpha": alpha,
        "beta": beta,
        "origin": torch.zeros(2, dtype=torch.float64),
        "pixels": pixels,
        "triangle": inside[pixels].int().argmax(-1),
    }


def frame_landmarks(shape: Tensor, side: int) -> Tensor:
    """Where a shape (N, 2) lies in the image that the network looks at, in its middle, float64, shape (N, 2)."""
    shape = shape.detach().double()
    low, high = shape.amin(0), shape.amax(0)
    return (shape - (low + high) / 2) * ((side - 1) / (high - low).amax()) + (side - 1) / 2


def corner_weights(corners: Tensor, triangles: Tensor) -> tuple[Tensor, Tensor]:
    """How much a triangle's second and third corner weigh at (1, X, Y): factors alpha and beta, shape (T, 3) each."""
    three = corners[triangles]
    at_corners = torch.cat((torch.ones_like(three[..., :1]), three), -1)  # (T, 3, 3)
    # Column c weighs 1 at corner c and nothing at the others
    weights = torch.linalg.inv(at_corners)
    return weights[..., 1].contiguous(), weights[..., 2].contiguous()
