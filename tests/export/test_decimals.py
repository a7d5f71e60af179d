"""`clnf_torch.export.decimals`: the texts of numpy's own numbers, one by one, for all kinds of sizes."""

from __future__ import annotations

import json
import math

import pytest
import torch

from clnf_torch.export import decimals
from clnf_torch.export.decimals import nine_digit_texts, shortest_texts
from tests.factories import seeded

EDGES = [
    0.0, -0.0, 1.0, 10.0, 0.1, 0.5, 1e-3, 9.999e-4, 1e-4, 999999.94, 1e6, 1048576.0, 16777216.0, 123456789.0, 1e9, 1e16,
    3e-45, math.nan, math.inf, -math.inf,
]  # fmt: skip


def numbers(kind: str) -> torch.Tensor:
    """float32, shape (R, 4)."""
    rng = seeded(9)
    if kind == "edges":
        return torch.tensor(EDGES).view(-1, 4)
    if kind == "any bits":
        return torch.randint(-(1 << 31), 1 << 31, (2000, 4), generator=rng).int().view(torch.float32)
    if kind == "powers of two":
        return (2.0 ** torch.arange(-30, 42)).view(-1, 4)
    if kind == "few digits":
        return (torch.randn(2000, 4, generator=rng) * 1000).round(decimals=1)
    return torch.randn(2000, 4, generator=rng) * 10 ** torch.empty(2000, 4).uniform_(-5, 8, generator=rng)


@pytest.fixture(params=["loops", "numpy"], autouse=True)
def form(request, monkeypatch):
    """Text by compiled loops, and by what defines them."""
    if request.param == "loops":
        pytest.importorskip("numba", reason="the compiled loops need numba")
    else:
        monkeypatch.setattr(decimals, "load_kernels", lambda module: None)


KINDS = ("edges", "any bits", "powers of two", "few digits", "all sizes")


@pytest.mark.parametrize("kind", KINDS)
def test_shortest_texts_are_those_of_numpy(kind):
    values = numbers(kind)
    assert shortest_texts(values) == [[str(value) for value in row] for row in values.numpy()]


@pytest.mark.parametrize("dtype", [torch.float64, torch.int64])
def test_other_numbers(dtype):
    values = (1e3 * torch.randn(5, 3, generator=seeded(2), dtype=torch.float64)).to(dtype)
    assert shortest_texts(values) == [[str(value) for value in row] for row in values.numpy()]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("kind", KINDS)
def test_nine_digits_are_those_that_are_printed(kind, dtype):
    values = numbers(kind).to(dtype)
    found = nine_digit_texts([values, values[:, 0], values[:, :2, None].float()])
    expected = [[json.dumps(float(f"{v:.9g}")) if math.isfinite(v) else "null" for v in row] for row in values.tolist()]
    assert found == [[*row, row[0], *row[:2]] for row in expected]


def test_no_rows():
    assert shortest_texts(torch.zeros(0, 3)) == []
    assert nine_digit_texts([torch.zeros(0), torch.zeros(0, 2)]) == []
