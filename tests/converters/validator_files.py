"""Small validator files for tests: valid ones, kept in named pieces so that a test can damage one of them."""

from __future__ import annotations

import struct

import numpy as np
import torch

from tests.converters.openface_files import POINTS, Pieces, matrix
from tests.validators import BINS, HEIGHT, ORIGIN, WIDTH, make_warp_frame, places_of

SMALL = (HEIGHT, WIDTH)
YAWS = (0.0, -40.0)


def validator_pieces(*, size: tuple[int, int] = SMALL, zoom: float = 1, seed: int = 0) -> Pieces:
    """A validator of two orientations for five landmarks: one convolution, two pools and a list of scores.

    Args:
        size: Height and width of the images that the networks look at.
        zoom: How much larger than the smallest image the triangles are drawn.
        seed: Of the random numbers.
    """
    rng = np.random.default_rng(seed)
    pieces = {"type": struct.pack("<i", 3), "views": struct.pack("<i", len(YAWS))}
    for view, yaw in enumerate(YAWS):
        pieces[f"orientation {view}"] = matrix(np.array([[0.0], [yaw], [0.0]]))
    for view in range(len(YAWS)):
        warp = warp_pieces(view, size, zoom)
        (count,) = struct.unpack("<i", warp[f"count {view}"])
        pieces[f"mean {view}"] = matrix(rng.normal(size=(1, count)))
        pieces[f"deviation {view}"] = matrix(rng.uniform(0.5, 1.5, (1, count)))
        pieces |= network_pieces(view, size, rng) | warp
    return pieces


def network_pieces(view: int, size: tuple[int, int], rng: np.random.Generator) -> Pieces:
    """Layers of every kind."""
    kernels, outputs = 2, BINS

    def floats(*shape: int) -> np.ndarray:
        return rng.normal(size=shape).astype("<f4")

    pieces = {f"layers {view}": struct.pack("<i", 6), f"convolution {view}": struct.pack("<3i", 0, 1, kernels)}
    pieces[f"kernel biases {view}"] = floats(kernels).tobytes()
    for k in range(kernels):
        pieces[f"kernel {view} {k}"] = matrix(floats(3, 2))
    height, width = -(-(size[0] - 2) // 2), -(-(size[1] - 1) // 2)  # of a pool's maps, rounded up
    pieces[f"relu {view}"], pieces[f"pool {view}"] = struct.pack("<i", 3), struct.pack("<i", 1)
    for name, inputs in (("connected", kernels * height * width), ("last", 5)):
        pieces[f"{name} {view}"] = struct.pack("<i", 2)
        pieces[f"{name} biases {view}"] = matrix(floats(5 if name == "connected" else outputs, 1))
        pieces[f"{name} weights {view}"] = matrix(floats(inputs, 5 if name == "connected" else outputs))
    pieces[f"sigmoid {view}"] = struct.pack("<i", 4)
    return pieces


def warp_pieces(view: int, size: tuple[int, int], zoom: float) -> Pieces:
    """The tables of the small frame of reference, without its first triangle in the second view."""
    corners, table = make_warp_frame(size, zoom)
    first = view
    triangle_map = np.full(size, -1, "<i4")
    column, row = places_of(table["pixels"], zoom).T.numpy()
    triangle_map[row, column] = table["triangle"].numpy() - first
    mask = triangle_map >= 0
    return {
        f"count {view}": struct.pack("<i", mask.sum()),
        f"origin {view}": struct.pack("<2d", *(zoom * start for start in ORIGIN)),
        f"corners {view}": matrix(corners.mT.reshape(2 * POINTS, 1).numpy()),
        f"triangles {view}": matrix(table["triangles"][first:].to(torch.int32).numpy()),
        f"map {view}": matrix(np.where(mask, triangle_map, -1).astype("<i4")),
        f"mask {view}": matrix(mask.astype("<i4")),
        f"alpha {view}": matrix(table["alpha"][first:].numpy()),
        f"beta {view}": matrix(table["beta"][first:].numpy()),
    }
