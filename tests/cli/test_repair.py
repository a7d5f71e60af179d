"""``clnf-torch repair``: poor rows of a table get other landmarks, all the rest stays as it was."""

from __future__ import annotations

import csv

import cv2
import pytest
import torch

import clnf_torch
from clnf_torch.cli import repair_resume
from clnf_torch.cli.runs import repair as repair_command
from clnf_torch.cli.tables.landmarks import COLUMNS, read_table
from clnf_torch.media.images import read_image
from tests.media.videos import write_folder, write_video


@pytest.fixture(scope="module")
def fitted(bundle, image, box) -> list[list[float]]:
    """The landmarks that the free model finds in its image."""
    detector = clnf_torch.load(bundle)
    return detector.fit(read_image(image)[None], torch.tensor([box])).landmarks[0].tolist()


def write(path, rows) -> None:
    """A table of (frame, note, landmarks)."""
    with path.open("w", newline="") as file:
        lines = csv.writer(file)
        lines.writerow(["frame", *(f" {name}" for name in COLUMNS), "note"])  # OpenFace's names have spaces
        for frame, note, points in rows:
            lines.writerow([frame, *(f"{p[axis]:.4f}" if p else "" for axis in range(2) for p in points), note])


def swapped(points):
    return [*points[:36], *points[42:48], *points[36:42], *points[48:]]


@pytest.fixture
def table(tmp_path, fitted):
    """A good face, one with exchanged eyes, one with an unknown point, and one after the end of the video."""
    unknown = [*fitted[:5], None, *fitted[6:]]
    rows = [(1, "good", fitted), (3, "eyes", swapped(fitted)), (2, "hole", unknown), (99, "none", swapped(fitted))]
    write(tmp_path / "theirs.csv", rows)
    return tmp_path / "theirs.csv"


def test_poor_rows_are_repaired_and_the_rest_stays(clnf_torch_cli, bundle, image, table, tmp_path):
    still = cv2.imread(str(image))
    folder = write_folder(tmp_path / "frames", [still] * 4)
    words = "--landmarks", table, "--csv", tmp_path / "ours.csv", "--model", bundle, "--batch", "2", "--no-multi-view"
    done = clnf_torch_cli("repair", folder, *words)
    assert done.exit_code == 0, done.output
    before, after = read_table(table), read_table(tmp_path / "ours.csv")
    assert done.stderr.startswith("3 faces, ") and "eyes crossed" in done.stderr
    assert [row[-2] for row in after.rows] == ["good", "eyes", "hole", "none"]
    assert [row[-1] for row in after.rows][1:] == ["refitted", "refitted", "no image"]
    assert after.names == [*before.names, "repair"] and torch.equal(after.frame, before.frame)
    assert [*after.rows][3][:-1] == [*before.rows][3]
    good = torch.linalg.vector_norm(before.landmarks[0] - after.landmarks, dim=-1).mean(-1)
    assert (good[:3] < 8).all() and after.landmarks[2].isfinite().all()
    assert not torch.equal(after.landmarks[1], before.landmarks[1])


def test_the_tables_of_track_are_repaired(clnf_torch_cli, bundle, image, box, tmp_path):
    folder = write_folder(tmp_path / "frames", [cv2.imread(str(image))] * 2)
    own, repaired = tmp_path / "own.csv", tmp_path / "repaired.csv"
    tracked = clnf_torch_cli("track", folder, "--model", bundle, "--box", *box, "--csv", own)
    assert tracked.exit_code == 0, tracked.output
    done = clnf_torch_cli("repair", folder, "--landmarks", own, "--csv", repaired, "--model", bundle)
    assert done.exit_code == 0, done.output
    names = own.read_text().splitlines()[0].split(",")
    assert {"x_0", "X_0", "Z_67"} <= set(names) and read_table(repaired).names == [*names, "repair"]
    pixels = [names.index(name) for name in COLUMNS]
    cells = [[float(row[place]) for place in pixels] for row in read_table(own).rows]
    assert read_table(own).landmarks.mT.flatten(1).tolist() == cells


def test_without_faces_in_the_video_the_table_comes_out_as_it_is(clnf_torch_cli, bundle, image, tmp_path, fitted):
    video = write_video(tmp_path / "clip.mp4", [cv2.imread(str(image))] * 2)
    write(tmp_path / "theirs.csv", [(7, "later", swapped(fitted))])
    done = clnf_torch_cli("repair", video, "--landmarks", tmp_path / "theirs.csv", "--csv", "-", "--model", bundle)
    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines()[1] == (tmp_path / "theirs.csv").read_text().splitlines()[1] + ",no image"
    assert done.stderr.startswith("0 faces, 0 fitted again\n")
    assert "1 of 1 rows are of frames 7 to 7, but the video has frames 1 to 2; these rows stay" in done.stderr


def test_rows_that_appear_twice_are_said(clnf_torch_cli, bundle, image, tmp_path, fitted):
    video = write_video(tmp_path / "clip.mp4", [cv2.imread(str(image))] * 2)
    write(tmp_path / "theirs.csv", [(7, "later", fitted), (8, "later", fitted), (7, "again", fitted)])
    done = clnf_torch_cli("repair", video, "--landmarks", tmp_path / "theirs.csv", "--csv", "-", "--model", bundle)
    assert done.exit_code == 0 and len(done.stdout.splitlines()) == 4
    assert "theirs.csv: 1 row has the frame and face of an earlier row, first in frame 7" in done.stderr


def test_rows_of_damaged_frames_stay_and_it_is_said(clnf_torch_cli, bundle, image, table, tmp_path):
    folder = write_folder(tmp_path / "frames", [cv2.imread(str(image))] * 4)
    (folder / "2.png").write_bytes(b"nothing")  # the third frame, where the eyes are exchanged
    words = "--landmarks", table, "--csv", tmp_path / "ours.csv", "--model", bundle
    done = clnf_torch_cli("repair", folder, *words)
    assert done.exit_code == 1 and "1 of 4 images cannot be used" in done.stderr
    assert [*read_table(tmp_path / "ours.csv").rows][1] == [*[*read_table(table).rows][1], "no image"]


def test_an_interrupted_repair_goes_on_to_the_same_table(clnf_torch_cli, bundle, image, fitted, tmp_path, monkeypatch):
    folder = write_folder(tmp_path / "frames", [cv2.imread(str(image))] * 4)
    write(theirs := tmp_path / "theirs.csv", [(frame, "eyes", swapped(fitted)) for frame in range(1, 5)])
    words = ["repair", folder, "--landmarks", theirs, "--model", bundle, "--batch", 2, "--no-multi-view", "--csv"]
    whole = clnf_torch_cli(*words, tmp_path / "whole.csv")
    assert whole.exit_code == 0, whole.stderr
    (out := tmp_path / "out.csv").write_text("older")
    monkeypatch.setattr(repair_resume, "SAVE_EVERY", 0.0)
    repaired, calls = repair_command.repair_landmarks, []

    def interrupted(*arguments, **settings):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return repaired(*arguments, **settings)

    monkeypatch.setattr(repair_command, "repair_landmarks", interrupted)
    stopped = clnf_torch_cli(*words, out)
    assert stopped.exit_code == 130 and out.read_text() == "older"
    assert stopped.stderr.splitlines()[-1] == f"clnf-torch: unfinished: {out}.partial"
    partial = (tmp_path / "out.csv.partial").read_text()
    assert partial.count("\n") == 3 and (tmp_path / "whole.csv").read_text().startswith(partial)
    again = clnf_torch_cli(*words, out, "--resume")
    assert again.exit_code == 0 and f"{out}: goes on behind frame 2" in again.stderr and len(calls) == 3
    assert out.read_bytes() == (tmp_path / "whole.csv").read_bytes()
    assert again.stderr.splitlines()[1:] == whole.stderr.splitlines()
    assert not list(tmp_path.glob("out.csv.*"))
    assert "finished by an earlier run; skipped" in clnf_torch_cli(*words, out, "--resume").stderr


@pytest.mark.parametrize("what", ["video", "table"])
@pytest.mark.parametrize("finished", [True, False])
def test_resume_does_not_replace_what_was_made_of_another_input(
    clnf_torch_cli, bundle, image, fitted, tmp_path, monkeypatch, what, finished
):
    for name in ("one", "two"):
        write_folder(tmp_path / name, [cv2.imread(str(image))] * (2 + (name == "two")))
        write(tmp_path / f"{name}.csv", [(1, name, swapped(fitted)), (2, name, fitted)])
    out = tmp_path / "out.csv"

    def words(video, table, *more):
        options = "--model", bundle, "--batch", 1, "--no-multi-view", "--csv", out, *more
        return ["repair", tmp_path / video, "--landmarks", tmp_path / f"{table}.csv", *options]

    with monkeypatch.context() as patch:
        if not finished:
            patch.setattr(repair_resume, "SAVE_EVERY", 0.0)
            patch.setattr(repair_command.RepairJob, "save", interrupted_after(repair_command.RepairJob.save))
        assert clnf_torch_cli(*words("one", "one")).exit_code == (0 if finished else 130)
    before = {path: path.read_bytes() for path in tmp_path.glob("out.csv*")}
    assert before
    done = clnf_torch_cli(*words(*(("two", "one") if what == "video" else ("one", "two")), "--resume"))
    other = tmp_path / ("one" if what == "video" else "one.csv")
    assert done.exit_code == 1 and f"{out}: was made of {other}; give another name" in done.stderr
    assert {path: path.read_bytes() for path in tmp_path.glob("out.csv*")} == before
    # The table itself may change, and --resume then begins anew
    write(tmp_path / "one.csv", [(1, "other", fitted)])
    assert clnf_torch_cli(*words("one", "one", "--resume")).exit_code == 0
    assert [row[-2] for row in read_table(out).rows] == ["other"]


def interrupted_after(function):
    """The function, behind which Ctrl-C comes."""

    def interrupted(*arguments):
        function(*arguments)
        raise KeyboardInterrupt

    return interrupted
