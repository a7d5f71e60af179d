"""Golden files: OpenFace's values by name, as the tensors that our functions take and give."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from clnf_torch.models.pdm import ShapeParams


class Golden:
    """A golden file, or what lies below one of its keys. Its tensors have one row, for one face."""

    def __init__(self, values: Mapping[str, np.ndarray], prefix: str = "", dtype: torch.dtype = torch.float32) -> None:
        self._values, self.prefix, self.dtype = values, prefix, dtype

    @classmethod
    def read(cls, path: Path) -> Golden:
        """The golden file at a path."""
        with np.load(path) as file:
            return cls(dict(file))

    def below(self, prefix: str) -> Golden:
        """The values whose keys begin with a prefix and a slash."""
        return Golden(self._values, f"{self.prefix}{prefix}/", self.dtype)

    def to(self, dtype: torch.dtype) -> Golden:
        """The same values as tensors of another number type."""
        return Golden(self._values, self.prefix, dtype)

    def groups(self, pattern: str) -> Iterator[Golden]:
        """What lies below each prefix that matches a pattern, in the file's order."""
        found = (re.match(f"({re.escape(self.prefix)}{pattern})/", key) for key in self._values)
        for prefix in dict.fromkeys(match.group(1) for match in found if match):
            yield Golden(self._values, f"{prefix}/", self.dtype)

    def __contains__(self, key: str) -> bool:
        """Whether there is a value of that name."""
        return self.prefix + key in self._values

    def __getitem__(self, key: str) -> Tensor:
        """A value, one row, shape (1, ...)."""
        value = torch.from_numpy(np.asarray(self._values[self.prefix + key]))[None]
        return value.to(self.dtype) if value.is_floating_point() else value

    def number(self, key: str) -> float:
        """A single number."""
        return self[key].item()

    def numbers(self, key: str) -> tuple[float, ...]:
        """A list of numbers."""
        return tuple(self[key].flatten().tolist())

    def points(self, key: str) -> Tensor:
        """Points that are stored as all x, then all y, shape (1, N, 2)."""
        return self[key].unflatten(-1, (2, -1)).mT

    def params(self, global_key: str, local_key: str) -> ShapeParams:
        """Parameters, one row (or one per iteration, where the value holds several)."""
        globals_, local = self[global_key], self[local_key]
        return ShapeParams.from_globals(globals_.reshape(-1, 6), local.reshape(-1, local.shape[-1]))


def traces(golden: Golden) -> list[Golden]:
    """What OpenFace wrote down of every scale of every hypothesis of the whole face."""
    return list(golden.groups(r"hyp\d+/(?:first/|rest/)?main/scale\d"))


def scale_index(trace: Golden) -> int:
    """The scale of a trace, 0 being the coarsest."""
    return int(trace.prefix.rstrip("/")[-1])


def responses_of(trace: Golden, landmarks: int) -> Tensor:
    """The response maps of a trace, 0 where a landmark is not visible, shape (1, N, R, R)."""
    window = int(trace.number("window"))
    blank = torch.zeros(1, window, window, dtype=trace.dtype)
    maps = [trace[f"resp/{i}"] if f"resp/{i}" in trace else blank for i in range(landmarks)]
    return torch.stack(maps, dim=1).nan_to_num(0.0)
