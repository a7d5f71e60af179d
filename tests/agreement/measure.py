"""Measures how far our values are from OpenFace's, asserts a bound, and lists what was measured when the tests end."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

import torch
from torch import Tensor

from clnf_torch.models.pdm import ShapeParams

PROPERTY = "agreement"  # the name under which a test's report carries its measurements
FLIP = "flipped kernel"  # and the kernels whose centres OpenFace rounds elsewhere than we do


class Measurement(NamedTuple):
    """The largest difference of a test, and what it may be."""

    stage: str
    found: float
    bound: float


class Agreement:
    """Asserts that values agree, and remembers by how much.

    Args:
        record: pytest's ``record_property``.
    """

    def __init__(self, record: Callable[[str, object], None]) -> None:
        self._record = record

    def holds(self, stage: str, found: float, within: float, note: str = "") -> None:
        """Asserts that a measured difference is within its bound."""
        self._record(PROPERTY, (stage, found, within))  # plain values, which pytest-xdist can send
        assert found <= within, f"{stage}: {found:.3g}, more than {within:.3g}. {note}"

    def absolute(self, stage: str, ours: Tensor, theirs: Tensor, *, within: float, note: str = "") -> None:
        """Asserts on the largest difference; NaNs of `theirs` stand for landmarks that OpenFace did not see."""
        self.holds(stage, difference(ours, theirs).max().item(), within, note)

    def relative(self, stage: str, ours: Tensor, theirs: Tensor, *, within: float, note: str = "") -> None:
        """Asserts on the largest difference, relative to the largest entry of its row; rows of zeros must be zeros."""
        rows = theirs.shape[0]
        largest = theirs.double().nan_to_num(0.0).abs().reshape(rows, -1).amax(1)
        found = difference(ours, theirs).reshape(rows, -1).amax(1)
        self.holds(stage, torch.where(found == 0, 0.0, found / largest).max().item(), within, note)

    def params(self, stage: str, ours: ShapeParams, theirs: ShapeParams, *, within: float, note: str = "") -> None:
        """Asserts on scale, rotation, translation and shape, each relative to its own largest entry."""
        for part in ("scale", "rotation", "translation", "local"):
            self.relative(stage, getattr(ours, part), getattr(theirs, part), within=within, note=f"{part}. {note}")


def difference(ours: Tensor, theirs: Tensor) -> Tensor:
    """Absolute differences, 0 where OpenFace has no value."""
    assert ours.shape == theirs.shape, f"{tuple(ours.shape)} against {tuple(theirs.shape)}"
    return torch.where(theirs.isnan(), 0.0, (ours.double() - theirs.double()).abs())


def table(measurements: Iterable[Measurement]) -> list[str]:
    """One line per stage: the largest difference of all tests beside its bound."""
    worst: dict[str, Measurement] = {}
    for measured in measurements:
        if measured.stage not in worst or measured.found > worst[measured.stage].found:
            worst[measured.stage] = measured
    width = max(map(len, worst), default=0)
    return [f"{m.stage:{width}}  {m.found:8.2g}  of {m.bound:.2g}" for _, m in sorted(worst.items())]
