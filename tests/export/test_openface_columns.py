"""OpenFace's whole table: every column at its place, also those that a model does not have."""

from __future__ import annotations

import csv

import pytest
import torch

from clnf_torch.export.csv import CSVForm, csv_file
from clnf_torch.export.openface_columns import GROUPS, Unknown, openface_columns
from tests.export.tables import make_table, names_of

ALL = frozenset(GROUPS)
NO_EYES = {"gaze": None, "gaze_angle": None, "eye_landmarks": None, "eye_points": None}
# Where OpenFace's columns begin: facts of its format
PLACES = {
    "frame": 0, "gaze_0_x": 5, "gaze_angle_x": 11, "eye_lmk_x_0": 13, "eye_lmk_X_0": 125, "pose_Tx": 293,
    "pose_Rx": 296, "x_0": 299, "y_0": 367, "X_0": 435, "Z_67": 638,
    "p_scale": 639, "p_tx": 643, "p_0": 645, "p_33": 678,
    "AU01_r": 679, "AU45_r": 695, "AU01_c": 696, "AU28_c": 712, "AU45_c": 713,
}  # fmt: skip


def names(table, groups=ALL, **mode):
    return [name for block in openface_columns(table, groups, **mode) for name in block.names]


@pytest.mark.parametrize(
    "other",
    [{}, {**NO_EYES, "params_local": torch.zeros(2, 55)}, {**NO_EYES, "params_local": torch.zeros(2, 20)}],
    ids=["OpenFace's", "no eyes, 55 modes", "no eyes, 20 modes"],
)
def test_columns_stand_at_openfaces_places(other):
    found = names(make_table(2, **other))
    assert {name: found.index(name) for name in PLACES} == PLACES
    assert found[714:] == [f"p_{number}" for number in range(34, 55)] * ("params_local" in other and "p_54" in found)
    assert len(set(found)) == len(found)


def test_known_columns_are_those_of_other_tables():
    table = make_table(2)
    assert names(table)[:679] == names_of(table)
    shifted = names(table, image_mode=True)
    assert shifted[:2] == ["face", "confidence"] and "success" not in shifted
    assert shifted.index("x_0") == PLACES["x_0"] - 3


def test_what_openface_does_not_have_comes_last():
    table = make_table(2, likelihoods=torch.zeros(2, 68), image=("a.png", "b.png"))
    assert names(table)[714:] == [*(f"lm_likelihood_{number}" for number in range(68)), "image"]


@pytest.mark.parametrize(("group", "count"), [("gaze", 288), ("pose", 6), ("2Dfp", 136), ("3Dfp", 204), ("aus", 35)])
def test_groups_that_are_not_wanted_are_left_out(group, count):
    table = make_table(2)
    assert len(names(table, {group})) == 5 + count
    assert len(names(table, ALL - {group})) == 714 - count


def test_fewer_modes_leave_places_without_numbers():
    unknown = [
        block
        for block in openface_columns(make_table(1, params_local=torch.zeros(1, 20)))
        if isinstance(block, Unknown)
    ]
    assert unknown[0].names == tuple(f"p_{number}" for number in range(20, 34))


@pytest.mark.parametrize("rounded", [False, True])
@pytest.mark.parametrize("blanks", [False, True])
def test_unknown_cells_are_no_numbers(tmp_path, rounded, blanks):
    form = CSVForm(openface_precision=rounded, header_blanks=blanks, openface_groups=ALL)
    table = make_table(3, **NO_EYES)
    with csv_file(tmp_path / "t.csv", form=form) as file:
        file.append(table)
    header, *rows = csv.reader((tmp_path / "t.csv").read_text().splitlines(), skipinitialspace=True)
    assert [len(row) for row in rows] == [len(header)] * 3
    for row in rows:
        assert {name for name, cell in zip(header, row, strict=True) if cell == "NaN"} == {
            name for name in header if name.startswith(("gaze", "eye", "AU"))
        }
    x = [float(row[PLACES["x_0"]]) for row in rows]
    torch.testing.assert_close(torch.tensor(x), table.landmarks[:, 0, 0], atol=0.06, rtol=0)
