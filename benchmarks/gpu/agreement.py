"""How far two results of the same inputs lie apart."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from clnf_torch import FitResult


@dataclass(frozen=True, kw_only=True)
class Bound:
    """What is still called the same."""

    median_px: float
    largest_px: float = float("inf")
    same: bool = True  # view, hypothesis and success of every face must be the same

    def __str__(self) -> str:
        """In few words."""
        largest = "" if self.largest_px == float("inf") else f", largest {self.largest_px:g}"
        return f"median {self.median_px:g}{largest} px{', same choices' if self.same else ''}"


DOUBLE = Bound(median_px=1e-6, largest_px=1e-3)  # float64: a difference is a mistake, not a rounding
SINGLE = Bound(median_px=1e-2, largest_px=1.0)  # float32: a face in a chaotic spot may end elsewhere; few do
REDUCED = Bound(median_px=0.5, same=False)  # TF32: products of 10 bits


@dataclass(frozen=True, kw_only=True)
class Distances:
    """Of points found twice, pixels. Points that are NaN both times agree; `one_sided` ones are NaN once."""

    median_px: float
    p99_px: float
    max_px: float
    one_sided: int


@dataclass(frozen=True, kw_only=True)
class Choices:
    """Faces for which both results chose the same, and what they say of confidence."""

    faces: int
    same_view: int
    same_hypothesis: int
    same_success: int
    confidence_apart: float  # largest difference

    @property
    def all_same(self) -> bool:
        """Every face."""
        return self.same_view == self.same_hypothesis == self.same_success == self.faces


def distances(found: Tensor, expected: Tensor) -> Distances:
    """Distances between points (..., 2), in float64 on the CPU.

    Raises:
        ValueError: There are not equally many.
    """
    if found.shape != expected.shape:
        raise ValueError(f"the card found points of shape {tuple(found.shape)}, the CPU {tuple(expected.shape)}")
    found, expected = found.detach().cpu().double(), expected.detach().cpu().double()
    known = found.isfinite().all(-1), expected.isfinite().all(-1)
    away = (found - expected)[known[0] & known[1]].norm(dim=-1)
    if not len(away):
        away = torch.zeros(1, dtype=torch.float64)
    ordered = away.sort().values
    return Distances(
        median_px=float(ordered[(len(ordered) - 1) // 2]),
        p99_px=float(ordered[round(0.99 * (len(ordered) - 1))]),
        max_px=float(ordered[-1]),
        one_sided=int((known[0] != known[1]).sum()),
    )


def choices(found: FitResult, expected: FitResult) -> Choices:
    """What both chose for their B faces."""

    def same(name: str) -> int:
        return int((getattr(found, name).cpu() == getattr(expected, name).cpu()).sum())

    apart = (found.confidence.cpu().double() - expected.confidence.cpu().double()).abs()
    return Choices(
        faces=len(expected.success),
        same_view=same("view"),
        same_hypothesis=same("hypothesis"),
        same_success=same("success"),
        confidence_apart=float(apart.max()) if len(apart) else 0.0,
    )


def all_points(result: FitResult) -> Tensor:
    """The landmarks of faces and of their parts, side by side, shape (B, N + ..., 2)."""
    return torch.cat([result.landmarks, *(part.landmarks for part in result.parts.values())], dim=1)


def compare_fits(found: FitResult, expected: FitResult, bound: Bound) -> dict[str, Any]:
    """The values of a row about two results of a fit."""
    chosen = choices(found, expected)
    values = compare_points(all_points(found), all_points(expected), bound)
    fine = values["within"] and (chosen.all_same or not bound.same)
    return {**asdict(chosen), **values, "within": bool(fine)}


def compare_points(found: Tensor, expected: Tensor, bound: Bound) -> dict[str, Any]:
    """The values of a row about points (..., 2) found twice."""
    apart = distances(found, expected)
    fine = apart.median_px <= bound.median_px and apart.max_px <= bound.largest_px and not apart.one_sided
    return {**asdict(apart), "within": fine, "bound": str(bound)}


def compare_gradients(
    found: Mapping[str, Tensor | None], expected: Mapping[str, Tensor | None], bound: float
) -> dict[str, Any]:
    """The values of a row about gradients by name: the largest difference relative to the gradient's length."""
    worst, name_of_worst = 0.0, ""
    for name, reference in expected.items():
        got = found[name]
        if reference is None or got is None:
            apart = 0.0 if reference is got else float("inf")
        else:
            reference, got = reference.detach().cpu().double(), got.detach().cpu().double()
            apart = float((got - reference).norm() / reference.norm().clamp_min(1e-30))
            apart = float("inf") if math.isnan(apart) else apart
        if apart > worst:
            worst, name_of_worst = apart, name
    lengths = [float(one.detach().norm()) for one in expected.values() if one is not None]
    return {
        "gradients": len(expected),
        "not_zero": sum(length > 0 for length in lengths),
        "relative_error": worst,
        "worst": name_of_worst,
        "within": worst <= bound,
        "bound": f"{bound:g}",
    }
