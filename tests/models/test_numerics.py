"""`clnf_torch.models.numerics`: names, and what they stand for."""

from __future__ import annotations

from dataclasses import replace

import pytest

from clnf_torch.models.numerics import EXACT, OPENFACE, numerics_named


def test_names():
    assert numerics_named("openface") is OPENFACE
    assert numerics_named("exact") is EXACT


def test_ones_own_pass_through():
    own = replace(OPENFACE, name="dense", checkerboard=False)
    assert numerics_named(own) is own


def test_exact_approximates_nothing():
    assert not (EXACT.sample_on_32nds or EXACT.checkerboard or EXACT.quirks) and EXACT.kernel_step is None


def test_other_names_are_refused():
    with pytest.raises(ValueError, match="numerics 'fast' is not known; choose one of 'openface', 'exact'"):
        numerics_named("fast")
