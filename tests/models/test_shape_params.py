"""`clnf_torch.models.pdm`: rows, and OpenFace's vectors."""

from __future__ import annotations

import math

import pytest
import torch

from clnf_torch.models.pdm import ShapeParams
from tests.factories import make_params


def same(a: ShapeParams, b: ShapeParams) -> None:
    torch.testing.assert_close(a.globals, b.globals)
    torch.testing.assert_close(a.local, b.local)


def test_openfaces_vectors_there_and_back():
    params = make_params(3)
    assert params.globals.shape == (3, 6)
    assert params.globals[1].tolist() == [params.scale[1], *params.rotation[1], *params.translation[1]]
    same(ShapeParams.from_globals(params.globals, params.local), params)


@pytest.mark.parametrize("rows", [slice(1, 3), torch.tensor([4, 0]), torch.tensor([False, True, True, False, True])])
def test_rows(rows):
    params = make_params(5)
    torch.testing.assert_close(params[rows].globals, params.globals[rows])
    torch.testing.assert_close(params[rows].local, params.local[rows])
    assert len(params[rows]) == params.globals[rows].shape[0]


def test_where_takes_whole_rows():
    a, b = make_params(4, seed=1), make_params(4, seed=2)
    keep = torch.tensor([True, False, True, False])
    same(a.where(keep, b)[keep], a[keep])
    same(a.where(keep, b)[~keep], b[~keep])


@pytest.mark.parametrize("field", ["scale", "rotation", "translation", "local"])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_finite_finds_the_row(field, value):
    params = make_params(4)
    getattr(params, field)[2] = value
    assert params.finite().tolist() == [True, True, False, True]


def test_infinities_that_cancel_are_not_finite():
    params = make_params(2)
    params.translation[0] = torch.tensor([math.inf, -math.inf])
    assert params.finite().tolist() == [False, True]


def test_filled():
    filled = make_params(3).filled(2.5)
    assert len(filled) == 3 and (filled.globals == 2.5).all() and (filled.local == 2.5).all()
