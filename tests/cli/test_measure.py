"""``clnf-torch measure``: tables of landmarks become tables of millimetres."""

from __future__ import annotations

import csv
import io
import sys
import tracemalloc
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from clnf_torch.cli.tables import measures
from clnf_torch.cli.tables.measures import POINTS, POSE, measure_table, read_points
from clnf_torch.cli.tables.smoothing import one_euro, savitzky_golay
from clnf_torch.files.table_text import TableError
from clnf_torch.geometry.rotation import euler_to_matrix
from clnf_torch.measures.face_measures import face_measures
from tests.factories import seeded
from tests.measures.test_face_measures import make_face, make_faces, make_poses


def write(path, faces: Tensor, rows: list[tuple[int, int, int]], blank: str = "", head: str = "frame") -> None:
    """A table of (frame, face_id, success) and faces (R, 68, 3) in the heads' axes."""
    pose = make_poses(len(faces))
    points = faces @ euler_to_matrix(pose.rotation).mT + pose.translation[:, None]
    with path.open("w", newline="") as file:
        lines = csv.writer(file)
        names = [head, "face_id", "timestamp", "confidence", "success", *POSE, "x_0", *POINTS]
        lines.writerow([f"{blank}{name}" for name in names])
        for row, numbers, place in zip(rows, pose.values.tolist(), points.mT.flatten(1).tolist(), strict=True):
            lines.writerow([*row[:2], row[0] / 25, "0.95", row[2], *numbers, 999, *place])


def read(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


@pytest.fixture
def table(tmp_path):
    """Two faces in two frames: the first one smiles in the second, where the other one is lost."""
    faces = torch.cat((make_face(), make_faces(1), make_face(p48=(-3, -4)), make_face()))
    write(tmp_path / "clip.csv", faces, [(1, 0, 1), (1, 7, 1), (2, 0, 1), (2, 7, 0)])
    return tmp_path / "clip.csv"


def test_a_table_becomes_a_table_of_measures(clnf_torch_cli, table, tmp_path):
    done = clnf_torch_cli("measure", table, "--out", tmp_path / "out.csv", "--rest", "1:1")
    assert done.exit_code == 0, done.output
    assert "4 rows, 3 with a face" in done.stderr
    rows = read((tmp_path / "out.csv").read_text())
    assert [(row["frame"], row["face_id"], row["timestamp"], row["success"]) for row in rows] == [
        ("1", "0", "0.04", "1"), ("1", "7", "0.04", "1"), ("2", "0", "0.08", "1"), ("2", "7", "0.08", "0"),
    ]  # fmt: skip
    assert [row["commissure_excursion_image_left_mm"] for row in rows] == ["0.0000", "0.0000", "5.0000", "nan"]
    assert rows[0]["mouth_width_mm"] == "50.0000" and rows[3]["mouth_width_mm"] == "nan"
    # The other face is measured against its own rest
    assert rows[1]["mouth_width_mm"] == f"{face_measures(make_faces(1)).mouth_width.item():.4f}"


def test_without_rest_there_are_no_excursions(clnf_torch_cli, table):
    done = clnf_torch_cli("measure", table, "--out", "-")
    assert done.exit_code == 0, done.output
    assert "excursion" not in done.stdout and len(read(done.stdout)) == 4


def test_several_tables_go_into_a_folder(clnf_torch_cli, table, tmp_path):
    other = tmp_path / "other.csv"
    other.write_text(table.read_text())
    done = clnf_torch_cli("measure", table, other, "--out", tmp_path / "measures")
    assert done.exit_code == 0, done.output
    names = ["clip_measures.csv", "other_measures.csv"]
    assert sorted(path.name for path in (tmp_path / "measures").iterdir()) == names
    assert len({path.read_text() for path in (tmp_path / "measures").iterdir()}) == 1


def test_the_tables_of_a_folder(clnf_torch_cli, table, tmp_path):
    (tmp_path / "summary.csv").write_text("file,frames\nclip,4\n")
    done = clnf_torch_cli("measure", tmp_path, "--out", tmp_path / "measures")
    assert done.exit_code == 0, done.output
    assert [path.name for path in (tmp_path / "measures").iterdir()] == ["clip_measures.csv"]
    done = clnf_torch_cli("measure", tmp_path, "--out", tmp_path / "other")
    assert done.exit_code == 0, done.output
    (empty := tmp_path / "empty").mkdir()
    assert clnf_torch_cli("measure", empty, "--out", tmp_path / "none").exit_code == 2


def test_measures_beside_their_tables_are_replaced(clnf_torch_cli, table, tmp_path):
    for _ in range(2):
        done = clnf_torch_cli("measure", tmp_path, "--out", tmp_path)
        assert done.exit_code == 0, done.output
    assert sorted(path.name for path in tmp_path.glob("*.csv")) == ["clip.csv", "clip_measures.csv"]


def test_a_table_that_cannot_be_used_spares_the_others(clnf_torch_cli, table, tmp_path):
    (broken := tmp_path / "broken.csv").write_text("frame,x_0\n1,2\n")
    done = clnf_torch_cli("measure", broken, table, tmp_path / "missing.csv", "--out", tmp_path / "measures")
    assert done.exit_code == 1
    assert f"{broken}: expected columns X_0 to Z_67 and pose_Tx to pose_Rz, found no pose_Tx" in done.stderr
    assert f"{tmp_path / 'missing.csv'}: No such file or directory" in done.stderr
    assert [path.name for path in (tmp_path / "measures").iterdir()] == ["clip_measures.csv"]


def test_an_input_is_not_written_over(clnf_torch_cli, table):
    before = table.read_text()
    assert clnf_torch_cli("measure", table, "--out", table).exit_code == 2
    assert table.read_text() == before


@pytest.mark.parametrize("rest", ["5", "9:3", "a:b", "-1:4"])
def test_no_frames_at_rest(clnf_torch_cli, table, tmp_path, rest):
    done = clnf_torch_cli("measure", table, "--out", tmp_path / "out.csv", f"--rest={rest}")
    assert done.exit_code == 2 and "such as 1:25" in done.stderr


def test_frames_at_rest_without_a_face(table):
    with pytest.raises(TableError, match=r"expected a face at rest in frames 8 to 9, found none in its frames 1 to 2"):
        measure_table(table, (8, 9))


def test_a_face_of_another_video_is_another_face(tmp_path):
    """As in the table of a cluster's job: both videos have a face 0."""
    head, other = make_face()[0], make_face(p54=(9, 0))[0]
    write(path := tmp_path / "t.csv", torch.stack((head, head, other, other)), [(1, 0, 1), (2, 0, 1)] * 2)
    lines = path.read_text().splitlines()
    videos = ["video", "a.mp4", "a.mp4", "b.mp4", "b.mp4"]
    path.write_text("\n".join(f"{name},{line}" for name, line in zip(videos, lines, strict=True)))
    measured = measure_table(path, rest=(1, 1))
    assert measured.measures.commissure_excursion_image_right.max() < 1e-6
    assert [cells[0] for cells in measured.cells] == videos[1:]


def test_openface_writes_blanks_and_tables_of_images(tmp_path):
    write(tmp_path / "of.csv", make_faces(2), [(1, 0, 1), (2, 0, 1)], blank=" ")
    write(tmp_path / "image.csv", make_faces(2), [(0, 0, 1), (1, 0, 1)], head="face")
    expected = face_measures(make_faces(2)).values
    for name in ("of.csv", "image.csv"):
        torch.testing.assert_close(measure_table(tmp_path / name).measures.values, expected, equal_nan=True)
    assert read_points(tmp_path / "image.csv").frame.tolist() == [1, 2]


@pytest.mark.parametrize("words", [("--rest", "1:1"), ("--smooth", "one-euro"), ("--smooth", "savgol")])
def test_images_have_neither_rest_nor_neighbours(clnf_torch_cli, tmp_path, words):
    write(path := tmp_path / "images.csv", make_faces(9), [(0, 0, 1)] * 9, head="face")
    done = clnf_torch_cli("measure", path, "--out", tmp_path / "out.csv", *words)
    assert done.exit_code == 1 and not (tmp_path / "out.csv").exists()
    expected = f"{path}: has no column frame; leave out --rest and --smooth, which are of videos"
    assert done.stderr == f"clnf-torch: error: {expected}\n"


def test_rejected_fits_are_not_measured_and_counted(clnf_torch_cli, tmp_path):
    table = make_face().double().repeat(3, 1, 1)
    write(path := tmp_path / "images.csv", table, [(0, 0, 1), (1, 0, 0), (2, 0, "")], head="face")
    done = clnf_torch_cli("measure", path, "--out", tmp_path / "out.csv")
    assert done.exit_code == 0, done.output
    assert done.stderr == f"{tmp_path / 'out.csv'}: 3 rows, 1 with a face; 2 with success 0 are not measured\n"
    assert [row["mouth_width_mm"] for row in read((tmp_path / "out.csv").read_text())] == ["50.0000", "nan", "nan"]


def test_success_in_words(tmp_path):
    write(tmp_path / "clip.csv", make_faces(2), [(1, 0, "TRUE"), (2, 0, "False")])
    assert read_points(tmp_path / "clip.csv").rejected.tolist() == [False, True]


def test_tables_that_do_not_say_which_fits_were_rejected(clnf_torch_cli, tmp_path):
    write(path := tmp_path / "images.csv", make_faces(2), [(0, 0, 1), (1, 0, 1)], head="face")
    path.write_text(path.read_text().replace("success", "other"))
    done = clnf_torch_cli("measure", path, "--out", "-")
    assert done.exit_code == 0, done.output
    assert f"{path}: 2 rows, 2 with a face\n{path}: no column success says which fits were rejected" in done.stderr


def test_a_cell_without_a_number_is_named(tmp_path):
    write(tmp_path / "clip.csv", make_faces(1), [(1, 0, 1)])
    text = (tmp_path / "clip.csv").read_text().replace("999", "12").replace(",1,", ",yes,", 1)
    (tmp_path / "clip.csv").write_text(text)
    with pytest.raises(TableError, match="row 2, "):
        read_points(tmp_path / "clip.csv")


def test_an_empty_cell_is_a_row_without_measures(tmp_path):
    write(tmp_path / "clip.csv", make_faces(2), [(1, 0, 1), (2, 0, 1)])
    head, first, second = (tmp_path / "clip.csv").read_text().splitlines()
    first = ",".join(
        ["" if name == "Y_48" else cell for name, cell in zip(head.split(","), first.split(","), strict=True)]
    )
    (tmp_path / "clip.csv").write_text("\n".join((head, first, second)))
    found = measure_table(tmp_path / "clip.csv").measures
    assert found.mouth_width[0].isnan() and found.mouth_width[1].isfinite()


def test_decimal_commas_become_points(clnf_torch_cli, table):
    text = table.read_text().replace(",", ";").replace(".", ",")
    table.write_text(text)
    done = clnf_torch_cli("measure", table, "--out", "-")
    first = read(done.stdout)[0]
    assert (first["timestamp"], first["confidence"]) == ("0.04", "0.95") and float(first["mouth_width_mm"]) > 0


def test_images_may_be_called_as_comments_begin(clnf_torch_cli, table):
    text = table.read_text().replace("frame,", "image,", 1).replace("\n2,7,", "\n#2.png,7,")
    table.write_text(text)
    done = clnf_torch_cli("measure", table, "--out", "-")
    assert [row["image"] for row in read(done.stdout)] == ["1", "1", "2", "#2.png"]


def test_a_table_without_rows(tmp_path):
    write(tmp_path / "clip.csv", make_faces(0), [])
    assert len("".join(measure_table(tmp_path / "clip.csv").texts()).splitlines()) == 1


def test_rows_are_measured_in_blocks(tmp_path, monkeypatch):
    path = noisy(tmp_path, [*range(1, 41)] * 2, [0] * 40 + [1] * 40)
    found = [["".join(measure_table(path, rest).texts())] for rest in (None, (3, 30))]
    monkeypatch.setattr(measures, "BLOCK", 7)
    assert [["".join(measure_table(path, rest).texts())] for rest in (None, (3, 30))] == found


def test_a_long_table_is_not_held_as_text(tmp_path, monkeypatch):
    monkeypatch.setattr(measures, "BLOCK", 8, raising=False)
    path = noisy(tmp_path, [*range(1, 101)], [0] * 100)
    head, *lines = path.read_text().splitlines()
    path.write_text("\n".join([f"{head},note", *(f"{line},{'a' * 50_000}" for line in lines)]))
    tracemalloc.start()
    try:
        assert len(measure_table(path).cells) == 100
        assert tracemalloc.get_traced_memory()[1] < path.stat().st_size / 2
    finally:
        tracemalloc.stop()


def noisy(tmp_path, frames: list[int], faces: list[int]):
    """A table of faces at rest whose points are off by 0.3 mm."""
    noise = 0.3 * torch.randn(len(frames), 68, 3, generator=seeded(8), dtype=torch.float64)
    write(tmp_path / "noisy.csv", make_face() + noise, [(*row, 1) for row in zip(frames, faces, strict=True)])
    return tmp_path / "noisy.csv"


def test_smoothed_points_are_steadier(clnf_torch_cli, tmp_path):
    pytest.importorskip("scipy", reason="no SciPy: pip install 'clnf-torch[smooth]'")
    table = noisy(tmp_path, [*range(1, 61)] * 2, [0] * 60 + [1] * 60)
    spread = []
    for words in ((), ("--smooth", "savgol"), ("--smooth", "savgol", "--window", "21")):
        done = clnf_torch_cli("measure", table, "--out", "-", *words)
        assert done.exit_code == 0, done.output
        spread.append(torch.tensor([float(row["mouth_width_mm"]) for row in read(done.stdout)]).std().item())
    # What parabolas over 7 and 21 frames leave of independent noise: the root of 1/3 and of 0.11
    assert spread[1] / spread[0] == pytest.approx(0.58, abs=0.08)
    assert spread[2] / spread[0] == pytest.approx(0.33, abs=0.08)


def test_parabolas_stay_and_gaps_are_not_bridged(tmp_path):
    pytest.importorskip("scipy", reason="no SciPy: pip install 'clnf-torch[smooth]'")
    time = torch.arange(30.0, dtype=torch.float64)[:, None, None]
    frames = [*range(1, 11), *range(21, 31), *range(1, 6), *range(50, 55)]
    write(tmp_path / "t.csv", make_face() + 0.1 * time**2, [(n, int(k > 19), 1) for k, n in enumerate(frames)])
    table = read_points(tmp_path / "t.csv")
    torch.testing.assert_close(savitzky_golay(table, 7), table.points)
    # The first face ends before the gap; in between nothing was averaged, and short runs are as they were
    table = replace(table, points=table.points + torch.where(table.frame > 20, 5.0, 0.0)[:, None, None])
    torch.testing.assert_close(savitzky_golay(table, 7), table.points)


def test_one_euro_sees_earlier_frames_alone_and_begins_anew_behind_gaps(clnf_torch_cli, tmp_path):
    path = noisy(tmp_path, [*range(1, 41), *range(61, 101)], [0] * 80)
    table = read_points(path)
    smooth = one_euro(table)
    assert smooth[:40].diff(n=2, dim=0).abs().median() < 0.5 * table.points[:40].diff(n=2, dim=0).abs().median()
    for begin, end in ((0, 25), (40, 80)):
        alone = replace(table, **{name: getattr(table, name)[begin:end] for name in ("points", "frame", "identity")})
        torch.testing.assert_close(smooth[begin:end], one_euro(alone))
    widths = []
    for words in ((), ("--smooth", "one-euro")):
        done = clnf_torch_cli("measure", path, "--out", "-", *words)
        assert done.exit_code == 0, done.output
        widths.append(torch.tensor([float(row["mouth_width_mm"]) for row in read(done.stdout)]).std())
    assert widths[1] < 0.8 * widths[0]


@pytest.mark.parametrize("smoother", ["savgol", "one-euro"])
@pytest.mark.parametrize("step", [2, 5])
def test_tables_of_every_nth_frame_are_smoothed(clnf_torch_cli, tmp_path, smoother, step):
    """As those of all frames, also where a face is lost for a while and another one in every second of its frames."""
    pytest.importorskip("scipy", reason="no SciPy: pip install 'clnf-torch[smooth]'")
    texts = []
    frames = [*range(1, 21), *range(31, 51)]
    for factor in (1, step):
        path = noisy(tmp_path, [factor * frame for frame in frames], [0] * len(frames))
        done = clnf_torch_cli("measure", path, "--out", "-", "--smooth", smoother)
        assert done.exit_code == 0 and "smoothed" not in done.stderr
        texts.append([row["mouth_width_mm"] for row in read(done.stdout)])
    assert texts[0] == texts[1]


def test_smoothing_that_does_nothing_is_said(clnf_torch_cli, tmp_path):
    """A face that is lost in every second frame has no neighbours, although its rows are equally far apart."""
    faces, rows = make_face().repeat(20, 1, 1), [(frame, 0, frame % 2) for frame in range(1, 21)]
    write(tmp_path / "t.csv", faces + 0.1 * torch.rand(20, 68, 3, generator=seeded(3), dtype=torch.float64), rows)
    done = clnf_torch_cli("measure", tmp_path / "t.csv", "--out", "-", "--smooth", "one-euro")
    assert done.exit_code == 0
    assert "nothing is smoothed: no face was found in enough frames in a row" in done.stderr


def test_rows_that_appear_twice_are_said(clnf_torch_cli, table, tmp_path):
    assert "earlier row" not in clnf_torch_cli("measure", table, "--out", "-").stderr
    lines = table.read_text().splitlines(keepends=True)
    table.write_text("".join([*lines, *lines[3:]]))
    done = clnf_torch_cli("measure", table, "--out", "-")
    assert done.exit_code == 0 and len(read(done.stdout)) == 6
    assert "2 rows have the frame and face of an earlier row, first in frame 2; remove copies" in done.stderr
    table.write_text(lines[0].replace("frame", "image", 1) + lines[1] * 2)
    assert "1 row has the image and face" in clnf_torch_cli("measure", table, "--out", "-").stderr


@pytest.mark.parametrize(
    ("text", "found"), [("", "an empty file"), (" \n\r\n", "an empty file"), ("# a\n", "no line but")]
)
def test_an_empty_file_is_called_so(clnf_torch_cli, tmp_path, text, found):
    (tmp_path / "t.csv").write_text(text)
    done = clnf_torch_cli("measure", tmp_path / "t.csv", "--out", "-")
    assert done.exit_code == 1 and f"t.csv: expected a table, found {found}" in done.stderr


def test_an_even_window_is_refused(clnf_torch_cli, table):
    done = clnf_torch_cli("measure", table, "--out", "-", "--smooth", "savgol", "--window", "8")
    assert done.exit_code == 2 and "--window 8: give an odd number of frames" in done.stderr


def test_without_scipy_one_line_says_what_to_install(clnf_torch_cli, table, monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy.signal", None)
    done = clnf_torch_cli("measure", table, "--out", "-", "--smooth", "savgol")
    assert done.exit_code == 1
    assert done.stderr == (
        "clnf-torch: error: SciPy is not installed; install it with: pip install 'clnf-torch[smooth]'\n"
    )
