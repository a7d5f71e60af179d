"""Tables of made-up faces."""

from __future__ import annotations

import torch

from clnf_torch.export.face_table import FaceTable, columns
from tests.factories import seeded


def make_table(rows: int, *, seed: int = 1, dtype: torch.dtype = torch.float32, **other: object) -> FaceTable:
    """All that OpenFace writes of faces of 68 landmarks and 34 modes, in numbers of many digits."""
    rng = seeded(seed)

    def numbers(*shape: int) -> torch.Tensor:
        return (100 * torch.randn(rows, *shape, generator=rng, dtype=torch.float64)).to(dtype)

    values = {
        "frame": torch.arange(1, rows + 1), "face_id": torch.arange(rows) % 3,
        "timestamp": torch.arange(rows, dtype=torch.float64) / 30, "confidence": numbers().sigmoid(),
        "success": torch.arange(rows) % 2 == 0, "gaze": numbers(2, 3), "gaze_angle": numbers(2),
        "eye_landmarks": numbers(56, 2), "eye_points": numbers(56, 3), "pose": numbers(6),
        "landmarks": numbers(68, 2), "points": numbers(68, 3), "params_global": numbers(6), "params_local": numbers(34),
    }  # fmt: skip
    return FaceTable(**{**values, **other})


def part_of(table: FaceTable, keep: slice) -> FaceTable:
    """Some of its rows."""
    return FaceTable(**{name: None if value is None else value[keep] for name, value in vars(table).items()})


def names_of(table: FaceTable, **mode: bool) -> list[str]:
    """Names of its columns."""
    return [name for block in columns(table, **mode) for name in block.names]


def by_name(table: FaceTable, **mode: bool) -> dict[str, list]:
    """Its columns as plain values."""
    found: dict[str, list] = {}
    for block in columns(table, **mode):
        if isinstance(block.values, tuple):
            found[block.names[0]] = list(block.values)
        else:
            found |= zip(block.names, block.values.mT.tolist(), strict=True)
    return found
