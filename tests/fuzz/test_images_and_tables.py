"""A share of the campaign over images and tables: the first files of a seed are read or refused in a short line."""

from __future__ import annotations

import sys

import pytest

from tests.fuzz import images, tables
from tests.fuzz.cases import Bench

if sys.platform != "linux":
    pytest.skip("memory is measured by Linux's /proc", allow_module_level=True)

COUNT = 150


@pytest.mark.parametrize("chosen", [*images.FORMATS, *tables.FORMATS], ids=lambda chosen: chosen.name)
def test_damaged_files_are_used_or_refused(tmp_path, monkeypatch, chosen):
    # Detection takes its time: it belongs to the campaign
    monkeypatch.setattr(images, "SEARCHED", 2**33)
    monkeypatch.setenv("CLNF_TORCH_MAX_PIXELS", str(images.PIXELS))
    bench = Bench(chosen, tmp_path)
    intact = [bench.run(path, content) for path, content in bench.files]
    assert [outcome.message for outcome in intact] == [""] * len(intact)
    outcomes = [bench.run(*bench.damaged(3, number)) for number in range(COUNT)]
    assert [outcome.message for outcome in outcomes if outcome.verdict == "fault"] == []
    assert {outcome.verdict for outcome in outcomes} == {"accepted", "refused"}
