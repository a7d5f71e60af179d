"""A small share of the campaign, the same files in every run: each is refused in one line, or used without fault."""

from __future__ import annotations

import sys

import pytest

from tests.fuzz.cases import Bench
from tests.fuzz.formats import all_formats

if sys.platform != "linux":
    pytest.skip("memory is measured by Linux's /proc", allow_module_level=True)

# Of the seconds that the test suite may take for this; a wheel takes twenty times as long as a bundle
FILES = {"bundle": 150, "checkpoint": 100, "wheel": 12, "openface-cen": 25, "openface-templates": 25}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", FILES)
def test_damaged_files(tmp_path, name):
    bench = Bench(all_formats()[name], tmp_path)
    outcomes = [bench.run(*bench.damaged(seed=0, number=number)) for number in range(FILES[name])]
    faults = {number: outcome.message for number, outcome in enumerate(outcomes) if outcome.verdict == "fault"}
    assert faults == {}
    assert any(outcome.verdict == "refused" for outcome in outcomes)
