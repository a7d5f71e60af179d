"""`clnf_torch.export.csv`: what is read back is what was written, in full or in OpenFace's digits."""

from __future__ import annotations

import csv

import numpy as np
import pytest
import torch

from clnf_torch.export.csv import CSVForm, csv_file, text_cell
from clnf_torch.files.writing import partial_of
from tests.export.tables import by_name, make_table, names_of, part_of

ROWS = 6


def read(path) -> dict[str, list[str]]:
    """Columns of texts by name."""
    with open(path, newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    return {name: [row[column] for row in rows] for column, name in enumerate(header)}


@pytest.fixture
def target(tmp_path):
    return tmp_path / "faces.csv"


@pytest.mark.parametrize("image_mode", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_reads_back_the_same_numbers(target, dtype, image_mode):
    table = make_table(ROWS, dtype=dtype, likelihoods=torch.rand(ROWS, 68, dtype=dtype))
    with csv_file(target, image_mode=image_mode) as rows:
        rows.append(part_of(table, slice(0, 2)))
        rows.append(part_of(table, slice(2, ROWS)))
    found, expected = read(target), by_name(table, image_mode=image_mode)
    assert list(found) == names_of(table, image_mode=image_mode)
    kind = np.float32 if dtype == torch.float32 else np.float64
    for name, cells in found.items():
        parse = {"timestamp": float}.get(name, kind)
        assert [parse(cell) for cell in cells] == [parse(value) for value in expected[name]], name


def test_writes_no_more_digits_than_it_needs(target):
    with csv_file(target) as rows:
        rows.append(make_table(1, confidence=torch.tensor([0.1]), pose=torch.tensor([[1e-7, 250.5, 0.3, 0, 2, 5]])))
    found = read(target)
    assert found["confidence"] == ["0.1"]
    assert [found[f"pose_T{axis}"] for axis in "xyz"] == [["1e-07"], ["250.5"], ["0.3"]]
    assert found["frame"] == ["1"] and found["success"] == ["1"]


def test_openfaces_digits(target):
    table = make_table(2, confidence=torch.tensor([0.975, 0.725]), gaze_angle=torch.tensor([[0.12345, -0.0004]] * 2))
    with csv_file(target, form=CSVForm(openface_precision=True)) as rows:
        rows.append(table)
    found = read(target)
    assert found["confidence"] == ["0.98", "0.73"]
    assert found["gaze_angle_x"] == ["0.123"] * 2 and found["gaze_angle_y"] == ["-0.000"] * 2
    assert found["timestamp"] == ["0.000", "0.033"] and found["frame"] == ["1", "2"] and found["success"] == ["1", "0"]
    assert found["x_5"] == [f"{value:.1f}" for value in table.landmarks[:, 5, 0].tolist()]


def test_format_is_openfaces(target):
    with csv_file(target, form=CSVForm(openface_precision=True)) as rows:
        rows.append(make_table(2))
    header, *lines = target.read_bytes().decode("ascii").split("\n")
    assert header.startswith("frame,face_id,timestamp,confidence,success,gaze_0_x,") and header.endswith(",p_33")
    assert lines[0].startswith("1,0,0.000,") and lines[2] == "" and " " not in header + lines[0]


def test_numbers_that_are_none(target):
    points = torch.full((1, 68, 3), torch.nan)
    points[0, 1] = torch.inf
    for rounded in (False, True):
        with csv_file(target, form=CSVForm(openface_precision=rounded)) as rows:
            rows.append(make_table(1, points=points))
        assert read(target)["X_0"] == ["nan"] and read(target)["X_1"] == ["inf"]


def test_names_of_images_may_hold_commas(target):
    with csv_file(target, image_mode=True) as rows:
        rows.append(make_table(2, image=('a, "b".png', "ü.png")))
    assert read(target)["image"] == ['a, "b".png', "ü.png"]


def test_a_table_without_rows_has_a_header(target):
    with csv_file(target) as rows:
        rows.append(make_table(0))
    assert len(read(target)) == 679


def test_other_columns_are_refused_and_what_was_written_stays(target):
    with (
        pytest.raises(ValueError, match=r"have 671 columns that are not the 679 of the first"),
        csv_file(target) as rows,
    ):
        rows.append(make_table(2))
        rows.append(make_table(1).without("gaze", "gaze_angle"))
    assert read(partial_of(target))["frame"] == ["1", "2"] and not target.exists()


def test_gone_on_with_it_is_the_same_file(target):
    first, second = make_table(2), make_table(3)
    with csv_file(target) as rows:
        rows.append(first)
        rows.append(second)
    whole = target.read_bytes()
    with pytest.raises(KeyboardInterrupt), csv_file(target) as rows:
        rows.append(first)
        position = rows.position()
        rows.append(first)
        raise KeyboardInterrupt
    with csv_file(target, position=position) as rows:
        rows.append(second)
    assert target.read_bytes() == whole and list(target.parent.iterdir()) == [target]


def test_the_rows_of_a_batch_need_no_gradient(target):
    with csv_file(target) as rows:
        rows.append(make_table(1, pose=torch.ones(1, 6, requires_grad=True)))
    assert read(target)["pose_Tx"] == ["1.0"]


TEXTS = {
    "=cmd|' C'!A0.png": "'=cmd|' C'!A0.png",
    "+1.png": "'+1.png",
    "-1.png": "'-1.png",
    "@SUM(A1).png": "'@SUM(A1).png",
    "\t=1.png": r"\x09=1.png",
    "\r=1.png": r"\x0d=1.png",
    "\uff1d1.png": "'\uff1d1.png",
    "'a.png": "''a.png",
    "a=1.png": "a=1.png",
    "\udcff.png": r"\xff.png",
}


def test_names_begin_no_formula_and_numbers_stay(target):
    table = make_table(len(TEXTS), image=tuple(TEXTS))
    with csv_file(target) as file:
        file.append(table)
    found = read(target)
    assert found["image"] == list(TEXTS.values())
    assert [float(cell) for cell in found["x_0"]] == pytest.approx(by_name(table)["x_0"], rel=1e-6)
    assert text_cell("-1") == "'-1" and text_cell("'=") == "''="
