"""A small validator: five landmarks, a square of four triangles on 8 x 7 pixels, and a random network."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from clnf_torch.geometry.warp import triangle_maps, warp_positions

WIDTH, HEIGHT, BINS = 8, 7, 4
ORIGIN = (-3.5, -2.5)  # of the pixel at column 0 and row 0 in the frame of reference
CORNERS = ((-3.5, -2.5), (3.2, -2.3), (0.1, 0.4), (-3.3, 3.1), (3.4, 3.3))
TRIANGLES = ((0, 1, 2), (1, 4, 2), (4, 3, 2), (3, 0, 2))


def make_warp_frame(size: tuple[int, int] = (HEIGHT, WIDTH), zoom: float = 1) -> tuple[Tensor, dict[str, Tensor]]:
    """The corners in the frame of reference, (N, 2), and the table of an image's pixels inside, float64."""
    corners = zoom * torch.tensor(CORNERS, dtype=torch.float64)
    triangles = torch.tensor(TRIANGLES)
    alpha, beta = barycentric_weights(corners, triangles)
    rows, columns = (torch.arange(side) for side in size)
    y, x = torch.meshgrid(rows + zoom * ORIGIN[1], columns + zoom * ORIGIN[0], indexing="ij")
    place = torch.stack((torch.ones_like(x), x, y), -1).double()
    u, v = place @ alpha.mT, place @ beta.mT  # (height, width, T)
    inside = (u >= 0) & (v >= 0) & (u + v <= 1)
    seen = inside.any(-1)
    pixels, triangle = place[seen][:, 1:], inside[seen].int().argmax(-1)
    return corners, {"triangles": triangles, "alpha": alpha, "beta": beta, "pixels": pixels, "triangle": triangle}


def warped(landmarks: Tensor, table: dict[str, Tensor]) -> Tensor:
    """Where a table's pixels lie between landmarks (B, N, 2), shape (B, P, 2)."""
    maps = triangle_maps(landmarks, table["triangles"], table["alpha"], table["beta"])
    return warp_positions(maps, table["pixels"], table["triangle"])


def barycentric_weights(corners: Tensor, triangles: Tensor) -> tuple[Tensor, Tensor]:
    """The weights of the corners j and k as functions of (1, X, Y), (T, 3) each, by solving for them."""
    at_corners = torch.cat((torch.ones(*triangles.shape, 1, dtype=corners.dtype), corners[triangles]), -1)  # (T, 3, 3)
    weights = torch.linalg.inv(at_corners)  # column c: the weight that is 1 at corner c and 0 at the others
    return weights[:, :, 1].contiguous(), weights[:, :, 2].contiguous()


def places_of(pixels: Tensor, zoom: float = 1) -> Tensor:
    """Columns and rows (P, 2) of the places in the frame of reference that pixels are at."""
    return (pixels - zoom * torch.tensor(ORIGIN)).round().long()


def make_validator_record(seed: int = 11) -> dict[str, Any]:
    """A bundle's validator: the frontal view, and one for faces turned aside that looks at half of the triangles."""
    return {
        "kind": "cnn",
        "size": [HEIGHT, WIDTH],
        "orientations": torch.tensor([[0.0, 0.0, 0.0], [0.0, 0.7, 0.0]], dtype=torch.float64),
        "views": [make_view_record(seed, triangles=4), make_view_record(seed + 1, triangles=2)],
    }


def make_view_record(seed: int, triangles: int) -> dict[str, Any]:
    """One orientation: the first so many triangles, and a network whose scores vary."""
    rng = torch.Generator().manual_seed(seed)
    _, table = make_warp_frame()
    seen = table["triangle"] < triangles
    column, row = places_of(table["pixels"][seen]).unbind(-1)
    count = int(seen.sum())
    return {
        "triangles": table["triangles"][:triangles],
        "alpha": table["alpha"][:triangles],
        "beta": table["beta"][:triangles],
        "origin": torch.tensor(ORIGIN, dtype=torch.float64),
        "pixels": row * WIDTH + column,
        "triangle": table["triangle"][seen],
        "mean": torch.randn(count, generator=rng),
        "deviation": 0.5 + torch.rand(count, generator=rng),
        "layers": [
            {"kind": "conv", "weight": torch.randn(3, 1, 3, 2, generator=rng), "bias": torch.randn(3, generator=rng)},
            {"kind": "relu"},
            {"kind": "max_pool", "kernel": [2, 2], "stride": [2, 2]},
            {
                "kind": "linear",
                "weight": torch.randn(BINS, 36, generator=rng),
                "bias": torch.randn(BINS, generator=rng),
            },
        ],
    }
