"""Small OpenFace files for tests: valid ones, kept in named pieces so that a test can damage one of them."""

from __future__ import annotations

import struct

import numpy as np

VIEWS, POINTS, SUPPORT = 3, 5, 3
MIRROR_INDS, MIRROR_VIEWS = (1, 0, 2, 4, 3), (0, 2, 1)
OWN_IN_FRONT = (0, 2, 3)  # landmarks 1 and 4 mirror 0 and 3
UNSEEN = 4  # in view 1; its mirror, 3, in view 2
CODES = {np.dtype("<i4"): 4, np.dtype("<f4"): 5, np.dtype("<f8"): 6}

Pieces = dict[str, bytes]


def matrix(values: np.ndarray) -> bytes:
    """A binary matrix, as OpenFace ``ReadMatBin`` reads it."""
    return struct.pack("<3i", *values.shape, CODES[values.dtype]) + values.tobytes()


def cen_pieces(*, scale: float = 0.25, seed: int = 0, mixed: bool = True) -> Pieces:
    """A CEN file of 3 views and 5 landmarks: mirrored, invisible and empty experts.

    Args:
        scale: The patch scaling.
        seed: Of the random numbers.
        mixed: Whether experts differ in depth, widths, activations, element type and direction of the biases.
    """
    rng = np.random.default_rng(seed)
    pieces = {"scale": struct.pack("<d", scale), "views": struct.pack("<i", VIEWS)}
    for view, yaw in enumerate((0.0, -30.0, 30.0)):
        pieces[f"center {view}"] = matrix(np.array([[0.0], [yaw], [0.0]]))
    for view in range(VIEWS):
        seen = np.ones((POINTS, 1), "<i4")
        if view:
            seen[UNSEEN if view == 1 else MIRROR_INDS[UNSEEN]] = 0
        pieces[f"visible {view}"] = matrix(seen)
    pieces["mirror_inds"] = matrix(np.array([MIRROR_INDS], "<i4"))
    pieces["mirror_views"] = matrix(np.array(MIRROR_VIEWS, "<i4")[:, None])
    for view in range(VIEWS):
        for landmark in range(POINTS):
            own = landmark in OWN_IN_FRONT if view == 0 else view == 1 and landmark != UNSEEN
            pieces |= expert_pieces(f"{view},{landmark}", rng, own, mixed)
    return pieces


def expert_pieces(name: str, rng: np.random.Generator, own: bool, mixed: bool) -> Pieces:
    """One expert, or an empty one."""
    depth = int(rng.integers(2, 4)) if mixed else 2
    widths = [*rng.integers(2, 5, depth - 1).tolist(), 1] if mixed else [3, 1]
    activations = [int(rng.integers(0, 4)) if mixed else 2 for _ in widths[:-1]] + [0]
    inputs = 1 + SUPPORT**2
    pieces = {f"marker {name}": struct.pack("<i", 6), f"size {name}": struct.pack("<2i", SUPPORT, SUPPORT)}
    pieces[f"layers {name}"] = struct.pack("<i", len(widths) if own else 0)
    for k, outputs in enumerate(widths if own else []):
        bias_type, weight_type = rng.choice(["<f4", "<f8"], 2) if mixed else ("<f4", "<f4")
        shape = (1, outputs) if mixed and rng.random() < 0.5 else (outputs, 1)
        pieces[f"activation {name} {k}"] = struct.pack("<i", activations[k])
        pieces[f"bias {name} {k}"] = matrix(rng.normal(size=shape).astype(bias_type))
        pieces[f"weight {name} {k}"] = matrix(rng.normal(size=(outputs, inputs)).astype(weight_type))
        inputs = outputs
    pieces[f"confidence {name}"] = struct.pack("<d", rng.random())
    return pieces


def offset_of(pieces: Pieces, name: str) -> int:
    """Where a piece begins in the file."""
    names = list(pieces)
    return sum(len(pieces[before]) for before in names[: names.index(name)])


def pdm_text(points: int = POINTS, modes: int = 2) -> str:
    """A PDM file."""
    rng = np.random.default_rng(1)
    blocks = [rng.normal(size=(3 * points, 1)), rng.normal(size=(3 * points, modes)), np.array([[9.0, 4.0][:modes]])]
    text = ""
    for name, block in zip(("mean", "modes", "variances"), blocks, strict=True):
        rows = "\n".join(" ".join(f"{value:.6f}" for value in row) + " " for row in block)
        text += f"# {name}\n{len(block)}\n{block.shape[1]}\n6\n{rows}\n"
    return text
