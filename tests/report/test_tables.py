"""Tables as a report reads them."""

import json

import numpy as np
import pytest
import torch

from clnf_torch.report import TableError, read_log
from clnf_torch.report.columns import Selection
from clnf_torch.report.records import NoFacesError
from clnf_torch.report.signals import MEASURED
from clnf_torch.report.tables import read_rows
from tests.export.tables import part_of
from tests.report.tables import columns_of, talking, write_columns, write_table

FIELDS = {"gaze": "gaze_angle", "params": "params_global", "eyes": "eye_landmarks"}


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".json"])
def test_every_format_holds_the_same(tmp_path, suffix):
    table = talking(6, faces=2, lost=slice(2, 3))
    log = read_log(write_table(tmp_path / f"clip{suffix}", table))
    assert len(log) == 12 and log.images is None
    for name in ("landmarks", "points", "pose", "gaze", "params", "eyes"):
        expected = getattr(table, FIELDS.get(name, name)).numpy()
        np.testing.assert_allclose(getattr(log, name), expected, rtol=1e-5)
    np.testing.assert_array_equal(log.frame, table.frame)
    np.testing.assert_array_equal(log.face, table.face_id)
    np.testing.assert_array_equal(log.success, table.success)
    np.testing.assert_allclose(log.time, table.timestamp)
    assert log.of_face(1).tolist() == [1, 3, 7, 9, 11] and log.rows_of(3).tolist() == []


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".json"])
def test_tables_in_a_folder_whose_name_is_not_utf8_are_read(tmp_path, suffix):
    folder = tmp_path / "caf\udce9"
    folder.mkdir()
    assert len(read_log(write_table(folder / f"clip{suffix}", talking(3)))) == 3


def test_blanks_after_commas_and_unknown_columns_are_read_over(tmp_path):
    columns = {**columns_of(talking(3)), "AU01_r": ["0.1"] * 3}
    log = read_log(write_columns(tmp_path / "t.csv", columns, blank=" "))
    assert log.landmarks.shape == (3, 68, 2) and log.points is not None


@pytest.mark.parametrize(
    ("delimiter", "mark", "encoding", "first", "last"),
    [
        (";", ",", "utf-8-sig", "", ""),
        (";", ".", "utf-8", "sep=;\r\n", "\r\n"),
        ("\t", ",", "utf-16", "", ""),
        (",", ".", "utf-8", "# edited\r\n", "," * 700 + "\r\n\r\n"),
    ],
)
def test_tables_that_a_spreadsheet_saved_hold_the_same(tmp_path, delimiter, mark, encoding, first, last):
    path = write_table(tmp_path / "t.csv", talking(3))
    rows = [line.replace(",", delimiter) for line in path.read_text().splitlines()]
    text = "\r\n".join([rows[0], *(row.replace(".", mark) for row in rows[1:]), last])
    (edited := tmp_path / "e.csv").write_bytes((first + text).encode(encoding))
    before, after = read_log(path), read_log(edited)
    assert len(after) == 3 and after.success.all() and after.confidence[0] == 0.5
    for name in ("frame", "time", "landmarks", "points", "pose", "gaze", "params", "eyes"):
        np.testing.assert_array_equal(getattr(after, name), getattr(before, name))


def test_decimal_commas_between_commas_are_refused(tmp_path):
    path = write_columns(tmp_path / "t.csv", {"frame": [1, 2], "confidence": ["0,5", "0,7"], "success": [1, 1]})
    with pytest.raises(TableError, match="row 2 has 4 cells for 3 columns; are decimals written with commas"):
        read_log(path)


def test_images_may_be_called_as_comments_begin(tmp_path):
    log = read_log(write_columns(tmp_path / "t.csv", {"image": ["#1.png", "2.png"], "confidence": [0.5, 0.7]}))
    assert log.images == ("#1.png", "2.png")


def test_missing_columns_are_none(tmp_path):
    log = read_log(write_columns(tmp_path / "t.csv", {"frame": [4, 5], "confidence": [0.5, "x"]}))
    assert (log.landmarks, log.points, log.pose, log.gaze, log.params, log.eyes, log.time) == (None,) * 7
    assert log.success.all() and log.face.tolist() == [0, 0]
    np.testing.assert_array_equal(log.confidence, [0.5, np.nan])


def test_a_group_without_one_of_its_columns_is_none(tmp_path):
    log = read_log(write_columns(tmp_path / "t.csv", columns_of(talking(2), "Y_30", "pose_Rz")))
    assert log.points is None and log.pose is None and log.landmarks is not None


def test_rows_that_are_cut_off_are_nan(tmp_path):
    path = write_columns(tmp_path / "t.csv", columns_of(talking(3)))
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:-1], lines[-1][: len(lines[-1]) // 2]]))
    log = read_log(path)
    assert len(log) == 3 and np.isnan(log.params[2]).any() and np.isfinite(log.params[:2]).all()
    assert log.cut == 1 and "1 row has fewer cells than there are columns: the file may be cut off" in log.left_out()


def test_a_row_that_is_cut_off_before_its_video_tells_no_other_one(tmp_path):
    path = write_columns(tmp_path / "t.csv", columns_of(talking(3)))
    names, *rows = path.read_text().splitlines()
    path.write_text("\n".join([f"{names},video", *(f"{row},clip.mp4" for row in rows[:-1]), rows[-1][:40]]))
    log = read_log(path)
    assert len(log) == 3 and log.cut == 1


def test_an_empty_table_is_called_so(tmp_path):
    (tmp_path / "t.csv").touch()
    with pytest.raises(NoFacesError, match="found an empty file"):
        read_log(tmp_path / "t.csv")


def test_tables_of_images_are_numbered_by_image(tmp_path):
    table = talking(3, image=("b.png", "a.png", "b.png"))
    log = read_log(write_table(tmp_path / "t.csv", table, image_mode=True))
    assert log.images == ("b.png", "a.png") and log.frame.tolist() == [1, 2, 1] and log.time is None


def test_rows_of_zeros_are_no_faces_where_no_column_says_it(tmp_path):
    table = talking(3, image=("a", "b", "c"))
    table.landmarks[1] = 0
    log = read_log(write_columns(tmp_path / "t.csv", columns_of(table, "success")))
    assert log.success.tolist() == [True, False, True] and not log.judged


def test_success_in_words(tmp_path):
    columns = {"frame": [1, 2, 3], "confidence": [0.9, 0.4, 0.8], "success": ["TRUE", "FALSE", "True"]}
    assert read_log(write_columns(tmp_path / "t.csv", columns)).success.tolist() == [True, False, True]


def test_nulls_in_json_are_nan(tmp_path):
    path = write_table(tmp_path / "t.json", talking(2))
    content = json.loads(path.read_text())
    content["faces"][1] |= {"landmarks": None, "confidence": None}
    content["faces"][0]["pose"][2] = None
    path.write_text(json.dumps(content))
    log = read_log(path)
    assert np.isnan(log.landmarks[1]).all() and np.isnan(log.confidence[1]) and np.isnan(log.pose[0, 2])
    assert log.video == "clip.mp4"


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".json"])
def test_tables_without_rows(tmp_path, suffix):
    log = read_log(write_table(tmp_path / f"t{suffix}", part_of(talking(2), slice(0, 0))))
    assert len(log) == 0


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("t.csv", b""), ("t.csv", b"name,value\na,1\n"), ("t.csv", b"\xff\xfe\0\1"), ("t.parquet", b"PAR1"),
        ("t.json", b"[1, 2]"), ("t.json", b"{"), ("t.json", b'{"faces": 3}'),
        ("t.json", b'{"faces": [{"landmarks": [[1, 2], [3]]}]}'),
    ],
)  # fmt: skip
def test_other_files_are_refused_in_a_line(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(TableError, match=name) as error:
        read_log(tmp_path / name)
    assert "\n" not in str(error.value)


def test_thousands_of_rows_are_read_in_pieces(tmp_path):
    columns = {"frame": list(range(1300)), "confidence": torch.rand(1300).tolist()}
    log = read_log(write_columns(tmp_path / "t.csv", columns))
    assert log.frame.tolist() == columns["frame"]
    np.testing.assert_allclose(log.confidence, columns["confidence"])


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_of_timelines_only_what_they_are_made_of_is_read(tmp_path, suffix):
    path = write_table(tmp_path / f"t{suffix}", talking(6, faces=2, lost=slice(2, 3)))
    whole, log = read_log(path), read_log(path, Selection(for_signals=True))
    assert log.kept == MEASURED and (log.landmarks, log.eyes, log.params) == (None,) * 3
    np.testing.assert_array_equal(log.points, whole.points[:, list(MEASURED)])
    for name in ("frame", "face", "time", "confidence", "success", "pose", "gaze"):
        np.testing.assert_array_equal(getattr(log, name), getattr(whole, name))


@pytest.mark.parametrize("without", ["success", "pose_Rz", "Z_36"])
def test_timelines_are_made_of_the_image_where_the_rest_is_missing(tmp_path, without):
    path = write_columns(tmp_path / "t.csv", columns_of(talking(3), without))
    whole, log = read_log(path), read_log(path, Selection(for_signals=True))
    landmarks = whole.landmarks if log.kept is None else whole.landmarks[:, list(MEASURED)]
    np.testing.assert_array_equal(log.landmarks, landmarks)
    np.testing.assert_array_equal(log.success, whole.success)


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_some_rows_are_read_whole(tmp_path, suffix):
    table = talking(6, image=("b", "a", "c", "b", "d", "c"))
    path = write_table(tmp_path / f"t{suffix}", table, image_mode=True)
    whole, log = read_log(path), read_log(path, Selection(for_signals=True))
    some = read_rows(path, log, np.array([2, 4, 5]), lambda count: None)
    assert some.frame.tolist() == [3, 4, 3] and some.images == whole.images == ("b", "a", "c", "d")
    np.testing.assert_array_equal(some.landmarks, whole.landmarks[[2, 4, 5]])
    np.testing.assert_array_equal(some.eyes, whole.eyes[[2, 4, 5]])


def test_rows_of_a_table_that_changed_meanwhile_are_refused(tmp_path):
    log = read_log(path := write_table(tmp_path / "t.csv", talking(6)))
    write_table(path, talking(3))
    with pytest.raises(TableError, match="expected 2 of its rows again, found 1; it has changed"):
        read_rows(path, log, np.array([2, 4]), lambda count: None)


def test_landmarks_of_another_scheme_are_read_whole(tmp_path):
    columns = {"frame": [1, 2], "confidence": [0.5, 0.6], "x_0": [1, 2], "y_0": [3, 4]}
    log = read_log(write_columns(tmp_path / "t.csv", columns), Selection(for_signals=True))
    assert log.kept is None and log.landmarks.tolist() == [[[1, 3]], [[2, 4]]]


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".json"])
def test_all_bytes_of_a_table_are_told(tmp_path, suffix):
    path, told = write_table(tmp_path / f"t{suffix}", talking(1300)), list[int]()
    read_log(path, Selection(for_signals=True, read=told.append))
    # Parquet tells whole bytes of each batch
    assert sum(told) == pytest.approx(path.stat().st_size, abs=2)
    assert len(told) == (3 if suffix == ".csv" else 1)
