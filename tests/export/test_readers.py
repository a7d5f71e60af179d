"""Programs that read OpenFace's tables, in the ways that public ones do, read ours: of both kinds of models."""

from __future__ import annotations

import csv
import math
import re

import numpy as np
import pytest
import torch

from clnf_torch.export.csv import CSVForm, csv_file
from clnf_torch.export.openface_columns import GROUPS
from tests.export.tables import make_table

ROWS = 8
# The shipped model has no eyes, and more modes than OpenFace's
MODELS = {
    "OpenFace's": {},
    "default": {
        "gaze": None, "gaze_angle": None, "eye_landmarks": None, "eye_points": None,
        "params_local": torch.arange(ROWS * 55.0).view(ROWS, 55),
    },
}  # fmt: skip


@pytest.fixture(params=MODELS)
def model(request):
    return request.param


@pytest.fixture
def table(model):
    """Rows of which every second one is a success."""
    return make_table(ROWS, **MODELS[model])


@pytest.fixture
def path(table, tmp_path):
    """The table as OpenFace 2.2 writes it."""
    return written(table, tmp_path / "plain.csv")


@pytest.fixture
def path_with_blanks(table, tmp_path):
    """The table as older versions write it."""
    return written(table, tmp_path / "blanks.csv", header_blanks=True)


def written(table, path, **form):
    with csv_file(path, form=CSVForm(openface_groups=frozenset(GROUPS), **form)) as rows:
        rows.append(table)
    return path


def close(found, expected):
    np.testing.assert_allclose(np.asarray(found, dtype=np.float64), np.asarray(expected), rtol=1e-5)


def test_pandas_by_names(path, table):
    pandas = pytest.importorskip("pandas")
    frame = pandas.read_csv(path)
    good = frame[frame["success"] == 1]
    close(good[["pose_Rx", "pose_Ry", "pose_Rz"]].mean(), table.pose[table.success, 3:].mean(0))


def test_pandas_by_names_with_blanks(path_with_blanks, table):
    pandas = pytest.importorskip("pandas")
    frame = pandas.read_csv(path_with_blanks)
    close(frame.loc[frame[" success"] == 1, " pose_Tz"], table.pose[table.success, 2])
    close(frame[[f" x_{number}" for number in range(68)]], table.landmarks[..., 0])


@pytest.mark.parametrize("blanks", [False, True])
def test_pandas_that_strips_names(path, path_with_blanks, table, blanks):
    pandas = pytest.importorskip("pandas")
    frame = pandas.read_csv(path_with_blanks if blanks else path)
    frame.columns = [name.strip() for name in frame.columns]
    close(frame.filter(regex=r"^Z_\d+$"), table.points[..., 2])


@pytest.mark.parametrize(
    "how", [{"sep": ", ", "engine": "python"}, {"skipinitialspace": True}, {"sep": r",\s*", "engine": "python"}]
)
def test_pandas_that_expects_blanks(path_with_blanks, table, how):
    pandas = pytest.importorskip("pandas")
    frame = pandas.read_csv(path_with_blanks, **how)
    close(frame["timestamp"], table.timestamp)
    close(frame["y_67"], table.landmarks[:, 67, 1])
    assert math.isnan(frame["AU12_r"].mean())


def test_columns_by_position(path, table):
    pandas = pytest.importorskip("pandas")
    values = pandas.read_csv(path).iloc[:, :714].to_numpy()
    close(values[:, 299:367], table.landmarks[..., 0])
    close(values[:, 293:299], table.pose)
    close(values[:, 645:679], table.params_local[:, :34])
    assert np.isnan(values[:, 679:714]).all()


@pytest.mark.parametrize("blanks", [False, True])
def test_dictionaries_of_rows(path, path_with_blanks, table, blanks):
    with open(path_with_blanks if blanks else path, newline="") as file:
        rows = [{name.strip(): float(cell) for name, cell in row.items()} for row in csv.DictReader(file)]
    close([row["confidence"] for row in rows], table.confidence)
    assert all(math.isnan(row["AU12_r"]) for row in rows)
    assert [int(row["frame"]) for row in rows] == list(range(1, ROWS + 1))


def test_numpy_by_names(path, table):
    found = np.genfromtxt(path, delimiter=",", names=True)
    close(found["x_30"], table.landmarks[:, 30, 0])
    close(found["X_30"], table.points[:, 30, 0])


@pytest.mark.parametrize("blanks", [False, True])
def test_numpy_without_names(path, path_with_blanks, table, blanks):
    found = np.loadtxt(path_with_blanks if blanks else path, delimiter=",", skiprows=1)
    close(found[:, 367:435], table.landmarks[..., 1])
    assert len(found) == ROWS


def test_action_units_by_a_pattern(path):
    header = path.read_text().splitlines()[0].split(",")
    intensities, presences = ([name for name in header if re.match(rf"AU\d\d_{kind}$", name)] for kind in "rc")
    assert (len(intensities), len(presences)) == (17, 18)
    assert set(presences) - {name.replace("_r", "_c") for name in intensities} == {"AU28_c"}


def test_gaze(path, table, model):
    found = np.genfromtxt(path, delimiter=",", names=True)
    both = np.stack([[found[f"gaze_{eye}_{axis}"] for axis in "xyz"] for eye in (0, 1)])
    angles = np.degrees(np.stack([found["gaze_angle_x"], found["gaze_angle_y"]]))
    if model == "default":
        assert np.isnan(both).all() and np.isnan(angles).all()
    else:
        close(both.transpose(2, 0, 1), table.gaze)
        close(np.radians(angles).T, table.gaze_angle)


def test_rows_that_are_sure(path, table):
    with open(path, newline="") as file:
        kept = [row for row in csv.DictReader(file) if int(row["success"]) == 1 and float(row["confidence"]) > 0.5]
    assert [int(row["frame"]) for row in kept] == table.frame[table.success & (table.confidence > 0.5)].tolist()


def test_every_cell_is_a_number_to_r(path):
    # What R's type.convert takes for a number; another cell makes a whole column text
    number = re.compile(r"\s*([-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?|NA|NaN|[-+]?Inf)\s*")
    header, *rows = csv.reader(path.read_text().splitlines())
    assert all(number.fullmatch(cell) for row in rows for cell in row)
    assert all(re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name) for name in header)


def test_shape_parameters_between_two_names(path, table):
    header, *rows = csv.reader(path.read_text().splitlines())
    begin, end = header.index("p_0"), header.index("p_33") + 1
    close([list(map(float, row[begin:end])) for row in rows], table.params_local[:, :34])


def test_all_that_begins_alike(path, table):
    header, *rows = csv.reader(path.read_text().splitlines())
    places = [place for place, name in enumerate(header) if name.startswith("pose_")]
    close([[float(row[place]) for place in places] for row in rows], table.pose)
