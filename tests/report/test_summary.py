"""The numbers of a table against those of recordings whose frames, times and faces are known."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from clnf_torch.report import read_log, write_report
from clnf_torch.report.records import TableError
from clnf_torch.report.summary import summarise
from tests.report.tables import columns_of, talking, write_columns


def log_of(tmp_path, columns, keep=None):
    keep = range(len(columns["frame"])) if keep is None else keep
    return read_log(
        write_columns(tmp_path / "t.csv", {name: [cells[row] for row in keep] for name, cells in columns.items()})
    )


def page_numbers(tmp_path, columns) -> dict:
    write_columns(tmp_path / "t.csv", columns)
    write_report([tmp_path / "t.csv"], tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    return json.loads(re.search(r'<script type="application/json">(.*?)</script>', page)[1])


def test_frames_without_a_row_are_frames_without_a_face(tmp_path):
    """OpenFace's tables of several faces have rows of faces alone."""
    keep = [row for row in range(100) if not 40 <= row < 60]
    found = summarise(log_of(tmp_path, columns_of(talking(100)), keep))
    assert (found.frames, found.found, found.longest_gap) == (100, 80, 20)
    np.testing.assert_allclose(found.gaps, [(40 / 30, 2.0)])


def test_tables_of_every_fifth_frame_have_no_gaps(tmp_path):
    keep = [row for row in range(0, 100, 5) if row != 50]
    found = summarise(log_of(tmp_path, columns_of(talking(100)), keep))
    assert (found.frames, found.found, found.longest_gap) == (20, 19, 1)
    np.testing.assert_allclose(found.gaps, [(50 / 30, 55 / 30)])


def test_lines_of_every_fifth_frame_are_unbroken(tmp_path):
    columns = {name: cells[::5] for name, cells in columns_of(talking(50)).items()}
    line = page_numbers(tmp_path, columns)["faces"][0]["charts"][0]["lines"][0]
    np.testing.assert_allclose(line["x"], np.arange(0, 50, 5) / 30, atol=6e-4)
    assert None not in line["y"]


def test_numbers_that_cannot_be_of_frames_are_not_counted_up_to(tmp_path):
    columns = columns_of(talking(10))
    columns["frame"][-1] = 10**12
    assert summarise(log_of(tmp_path, columns)).frames == 10


def test_the_last_frame_is_part_of_the_length(tmp_path):
    assert summarise(log_of(tmp_path, columns_of(talking(30)))).seconds == pytest.approx(1.0)
    columns = columns_of(talking(5))
    columns["timestamp"] = [0, 0.1, 0.2, 1.2, 1.3]  # a pause of the camera
    assert summarise(log_of(tmp_path, columns)).seconds == pytest.approx(1.4)


def test_times_are_exact_in_long_recordings(tmp_path):
    columns = columns_of(talking(90))
    columns["timestamp"] = [36_000 + row / 30 for row in range(90)]
    columns["success"] = [0 if 30 <= row < 33 else 1 for row in range(90)]
    numbers = page_numbers(tmp_path, columns)
    np.testing.assert_allclose(numbers["gaps"], [(36_001, 36_001.1)], rtol=0, atol=6e-4)
    places = numbers["faces"][0]["charts"][0]["lines"][0]["x"]
    assert len(set(places)) == 87


def test_a_table_of_several_videos_is_refused(tmp_path):
    columns = {"video": ["a.mp4"] * 5 + ["b.mp4"] * 5, **columns_of(talking(10))}
    with pytest.raises(TableError, match=r"expected one video, column video names 2: a.mp4, b.mp4"):
        log_of(tmp_path, columns)
    assert len(log_of(tmp_path, columns, range(5))) == 5
