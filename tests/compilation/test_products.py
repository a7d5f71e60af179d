"""`clnf_torch.compilation.products`: against numpy's products, and one row against the same among others."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("numba", reason="the compiled loops need numba")

from clnf_torch.compilation.compiler import f32
from clnf_torch.compilation.products import LOWEST, NOTHING, multiply, pack
from clnf_torch.compilation.tiles import LANES, ROWS, VECTORS


def product(rows, weight, bias, *, packed=False, added=NOTHING, least=LOWEST):
    """``max(rows @ weight + bias + added, least)`` by compiled loops."""
    found = np.full((len(rows), len(bias)), np.nan, np.float32)
    flat = pack(weight) if packed else weight.ravel()
    begins, places = np.arange(len(rows)) * rows.shape[1], np.arange(len(rows)) * len(bias)
    segments = (1, 0, rows.shape[1])
    multiply(rows.ravel(), begins, segments, flat, packed, bias, found.ravel(), places, added.ravel(), least, flat)
    return found


def make(rows, inner, width, seed=0):
    rng = np.random.default_rng(seed)
    return (rng.standard_normal(shape, dtype=np.float32) for shape in ((rows, inner), (inner, width), (width,)))


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("width", [LANES, LANES + 1, LANES * VECTORS, LANES * VECTORS + 5, 2 * LANES * VECTORS + 3])
@pytest.mark.parametrize("rows", [0, 1, ROWS, ROWS + 1, 3 * ROWS - 1])
def test_products_of_any_size(rows, width, packed):
    source, weight, bias = make(rows, 7, width)
    expected = source.astype(np.float64) @ weight + bias
    np.testing.assert_allclose(product(source, weight, bias, packed=packed), expected, rtol=1e-5, atol=1e-5)
    added = np.ones((rows + 1, width), np.float32)[:rows] * 3
    if rows:
        found = product(source, weight, bias, packed=packed, added=added, least=f32(0))
        np.testing.assert_allclose(found, np.maximum(expected + 3, 0), rtol=1e-5, atol=1e-5)


def test_a_row_is_the_same_alone_and_among_others():
    source, weight, bias = make(3 * ROWS + 2, 33, 2 * LANES + 3)
    together = product(source, weight, bias)
    for i in range(len(source)):
        assert (product(source[i : i + 1], weight, bias) == together[i]).all()
    assert (product(source, weight, bias, packed=True) == together).all()


def test_rows_of_segments_are_what_a_filter_sees():
    """A 2 x 2 filter over an image (4, 5, 3): two segments of two pixels of three channels, a row of pixels apart."""
    rng = np.random.default_rng(0)
    image, weight = rng.standard_normal((4, 5, 3), dtype=np.float32), rng.standard_normal((12, LANES), dtype=np.float32)
    begins = np.array([(y * 5 + x) * 3 for y in range(3) for x in range(4)])
    found, bias = np.empty((12, LANES), np.float32), np.zeros(LANES, np.float32)
    places = np.arange(12) * LANES
    multiply(
        image.ravel(), begins, (2, 15, 6), weight.ravel(), False, bias, found.ravel(), places, NOTHING, LOWEST, NOTHING
    )
    seen = np.stack([image[y : y + 2, x : x + 2].ravel() for y in range(3) for x in range(4)])
    np.testing.assert_allclose(found, seen @ weight, rtol=1e-5, atol=1e-5)


def test_rows_of_nan_spare_the_others():
    source, weight, bias = make(ROWS + 3, 9, LANES)
    expected = product(source, weight, bias, least=f32(0))
    source[2] = np.nan
    found = product(source, weight, bias, least=f32(0))
    assert np.isnan(found[2]).all()
    assert (np.delete(found, 2, 0) == np.delete(expected, 2, 0)).all()
