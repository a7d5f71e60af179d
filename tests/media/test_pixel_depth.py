"""Images in memory, of any depth, in eight bits."""

from __future__ import annotations

import numpy as np
import pytest

from clnf_torch.media.other_formats import DecodeError
from clnf_torch.media.pixel_depth import to_eight_bits


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0, 0.2, 1], [0, 51, 255]),
        ([0, 0.2, 1.3], [0, 51, 255]),
        ([-3, 100, 256], [0, 100, 255]),
        ([-3, 100, 371.5], [0, 100, 255]),
        ([0, 1, 2], [0, 1, 2]),
        ([0, 7, 16], [0, 7, 16]),
        ([0, 1024, 4095], [0, 64, 255]),
        ([0, 256, 65535], [0, 1, 255]),
        ([np.nan, 0.2, np.inf], [0, 51, 51]),
    ],
    ids=["unit", "unit-overshoot", "one-above", "overshoot", "black", "dark", "12 bits", "16 bits", "not-finite"],
)
def test_floating_point_is_as_bright_as_meant(values, expected, kind):
    assert to_eight_bits(np.array(values, kind)).tolist() == expected


@pytest.mark.parametrize(
    ("values", "expected"),
    [([0, 100, 255], [0, 100, 255]), ([0, 100, 256], [0, 25, 64]), ([0, 256, 65535], [0, 1, 255])],
)
def test_integers_have_the_depth_of_the_brightest(values, expected):
    for kind in (np.uint16, np.int32, np.uint32, np.int64):
        assert to_eight_bits(np.array(values, kind)).tolist() == expected
    assert to_eight_bits(np.array([-7, *values], np.int64)).tolist() == [0, *expected]


def test_numbers_beyond_sixteen_bits_are_refused():
    with pytest.raises(DecodeError, match="expected 0 to 1, 0 to 255 or 0 to 65535"):
        to_eight_bits(np.array([1e9], np.float32))
    with pytest.raises(DecodeError, match="numbers up to 65536 are not read"):
        to_eight_bits(np.array([65536], np.int64))
