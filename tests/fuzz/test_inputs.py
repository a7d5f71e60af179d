"""A share of the campaign over images, tables and videos: files of a seed are read, or refused in a short line."""

from __future__ import annotations

import sys

import pytest

from tests.fuzz import images, tables, videos
from tests.fuzz.cases import Bench

if sys.platform != "linux":
    pytest.skip("memory is measured by Linux's /proc", allow_module_level=True)

COUNT = 150


@pytest.mark.parametrize("chosen", [*images.FORMATS, *tables.FORMATS, *videos.FORMATS], ids=lambda chosen: chosen.name)
def test_damaged_files_are_used_or_refused(tmp_path, monkeypatch, chosen):
    # Detection and tracking take their time: they belong to the campaign
    monkeypatch.setattr(images, "SEARCHED", 2**33)
    monkeypatch.setattr(videos, "TRACKED", 2**33)
    monkeypatch.setenv("CLNF_TORCH_MAX_PIXELS", str(images.PIXELS))
    bench = Bench(chosen, tmp_path)
    intact = [bench.run(path, content) for path, content in bench.files]
    assert [outcome.message for outcome in intact] == [""] * len(intact)
    outcomes = [bench.run(*bench.damaged(3, number)) for number in range(COUNT)]
    assert [outcome.message for outcome in outcomes if outcome.verdict == "fault"] == []
    assert {outcome.verdict for outcome in outcomes} == {"accepted", "refused"}
