"""Rows are kept whatever happens: errors stay in their row, the budget ends a part, the files are always whole."""

from __future__ import annotations

import json
import math

import pytest
import torch

from benchmarks.gpu import recorder as recorders
from benchmarks.gpu.command import free_path
from benchmarks.gpu.page import to_markdown
from benchmarks.gpu.recorder import Recorder, is_out_of_memory
from benchmarks.gpu.records import Report, Row, to_json

CPU = torch.device("cpu")


def make(tmp_path, minutes: float = 5.0) -> Recorder:
    return Recorder(tmp_path / "card_day", {"device": "a card"}, CPU, minutes, say=lambda line: None)


def failing(error: Exception):
    def run(*_):
        raise error

    return run


def read(tmp_path) -> dict:
    return json.loads((tmp_path / "card_day.json").read_text())


def test_both_files_are_written_after_every_row(tmp_path):
    recorder = make(tmp_path)
    assert read(tmp_path)["rows"] == [] and not read(tmp_path)["complete"]
    for count in (1, 2):
        recorder.measure("fast", "a table", f"row {count}", lambda: {"ms": 1.5})
        assert len(read(tmp_path)["rows"]) == count and f"row {count}" in (tmp_path / "card_day.md").read_text()
    assert "cut off" in (tmp_path / "card_day.md").read_text()
    recorder.finish()
    assert read(tmp_path)["complete"] and "cut off" not in (tmp_path / "card_day.md").read_text()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["card_day.json", "card_day.md"]


def test_the_row_under_way_is_on_disk(tmp_path):
    """Which may take the process, or the machine, with it."""
    recorder = make(tmp_path)

    def run():
        assert read(tmp_path)["under_way"] == "fast: a table: a row"
        assert "Under way: fast: a table: a row." in (tmp_path / "card_day.md").read_text()
        return {"ms": 1.0}

    assert recorder.measure("fast", "a table", "a row", run).outcome == "ok"
    assert read(tmp_path)["under_way"] is None and "Under way" not in (tmp_path / "card_day.md").read_text()


def test_parts_that_are_asked_for_share_the_time(tmp_path):
    ends = {}
    for parts in (("right", "fast", "why"), ("fast",), ("right", "why")):
        recorder = Recorder(tmp_path / "r", {}, CPU, 10.0, say=lambda line: None, parts=parts)
        ends[parts] = [round(recorder.left(part) / 6) for part in parts]
    assert list(ends.values()) == [[45, 90, 100], [100], [82, 100]]


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB"), "out of memory"),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), "out of memory"),
        (MemoryError(), "out of memory"),
        (RuntimeError("CUDA error: an illegal memory access was encountered\nsecond line"), "failed"),
        (ValueError("no such thing"), "failed"),
    ],
)
def test_errors_are_rows(tmp_path, error, outcome):
    recorder = make(tmp_path)
    row = recorder.measure("fast", "a table", "a row", failing(error))
    assert row.outcome == outcome and type(error).__name__ in row.values["error"]
    assert "second line" not in row.values["error"] and "test_recorder.py" in row.values["error"]
    assert recorder.measure("fast", "a table", "the next", lambda: {"ms": 1.0}).outcome == "ok"
    assert is_out_of_memory(error) == (outcome == "out of memory")
    assert len(recorder.report.wrong) == (outcome == "failed")


def test_rows_beyond_their_bounds_are_wrong(tmp_path):
    recorder = make(tmp_path)
    assert recorder.measure("right", "a table", "a row", lambda: {"within": False}).outcome == "off"
    assert [row.name for row in recorder.report.wrong] == ["a row"]
    assert "Wrong: a table: a row" in to_markdown(recorder.report)


def test_rows_that_no_longer_fit_are_named(tmp_path):
    recorder = make(tmp_path, minutes=1.0)
    assert recorder.measure("right", "a table", "too long", lambda: {}, needs=40.0) is None
    assert recorder.measure("why", "a table", "fits", lambda: {}, needs=40.0) is not None
    (skipped,) = read(tmp_path)["skipped"]
    assert (skipped["name"], skipped["reason"]) == ("too long", "time budget used up")
    assert "- right: a table: too long: time budget used up" in (tmp_path / "card_day.md").read_text()


def test_a_card_that_answers_no_more_ends_the_run(tmp_path, monkeypatch):
    recorder = make(tmp_path)
    monkeypatch.setattr(recorders, "_lost", lambda device: "the card answers no more")
    assert recorder.measure("right", "a table", "a row", failing(RuntimeError("CUDA error"))).outcome == "failed"
    assert recorder.measure("fast", "a table", "the next", lambda: {}) is None
    assert recorder.report.skipped[0].reason == "the card answers no more"


def test_numbers_that_json_does_not_know_are_null():
    row = Row(part="why", table="t", name="n", outcome="ok", values={"a": math.nan, "b": [math.inf, 1]}, seconds=0.0)
    assert json.loads(to_json(Report(about={}, rows=(row,))))["rows"][0]["values"] == {"a": None, "b": [None, 1]}


def test_a_file_is_replaced_as_a_whole(tmp_path, monkeypatch):
    recorder = make(tmp_path)
    recorder.measure("fast", "a table", "old", lambda: {})
    monkeypatch.setattr("os.replace", failing(OSError("stopped")))
    with pytest.raises(OSError, match="stopped"):
        recorder.measure("fast", "a table", "new", lambda: {})
    assert [row["name"] for row in read(tmp_path)["rows"]] == ["old"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["card_day.json", "card_day.md"]


def test_a_second_run_of_a_day_does_not_replace_the_first(tmp_path):
    paths = []
    for _ in range(3):
        paths.append(free_path(tmp_path, "card_day"))
        Recorder(paths[-1], {"device": "a card"}, CPU, 5.0, say=lambda line: None)
    assert [path.name for path in paths] == ["card_day", "card_day-2", "card_day-3"]
    assert len(list(tmp_path.iterdir())) == 6
