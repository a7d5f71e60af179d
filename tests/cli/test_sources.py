"""Folders, cameras, stdin and stdout as sources and outputs; what is skipped, and the summary of many videos."""

from __future__ import annotations

import csv
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import pytest

from clnf_torch.cli.videos import run as video_run
from clnf_torch.media.video_capture import Camera, open_source
from clnf_torch.media.video_frames import VideoError
from tests.cli.test_track import found, rows_of  # noqa: F401  a fixture
from tests.media.videos import moving, shades, write_folder, write_video


@pytest.fixture
def clip(image, tmp_path):
    return write_video(tmp_path / "clip.mp4", moving(image, 3))


def test_a_folder_of_images_stands_for_them(clnf_torch_cli, bundle, image, box, tmp_path):
    (folder := tmp_path / "photos").mkdir()
    for name in ("10.png", "2.png"):
        shutil.copy(image, folder / name)
    (folder / "clip.mp4").write_bytes(b"a video")
    done = clnf_torch_cli("detect", folder, "--model", bundle, "--box", *box, "--csv", tmp_path / "t.csv")
    assert done.exit_code == 0, done.stderr
    assert done.stderr == f"{folder}: its 2 images are read; videos beside them (1) are left out\n"
    assert [Path(row["image"]).name for row in rows_of(tmp_path / "t.csv")] == ["2.png", "10.png"]


def test_a_folder_of_videos_stands_for_them(clnf_torch_cli, bundle, image, found, clip, tmp_path):  # noqa: F811
    (folder := tmp_path / "clips").mkdir()
    for name in ("b.mp4", "a.mp4"):
        shutil.copy(clip, folder / name)
    shutil.copy(image, folder / "title.png")
    done = clnf_torch_cli("track", folder, "--model", bundle, "--csv", tmp_path / "out", "--no-multi-view")
    assert done.exit_code == 0, done.stderr
    assert done.stderr.startswith(f"{folder}: its 2 videos are tracked; images beside them (1) are left out\n")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"a.csv", "b.csv", "manifest.json", "summary.csv"}


@pytest.mark.parametrize("command", ["detect", "track"])
def test_missing_folders_are_said_before_a_model_is_loaded(clnf_torch_cli, tmp_path, command):
    (model := tmp_path / "no_model.pt").write_bytes(b"would be refused")
    done = clnf_torch_cli(command, tmp_path / "nowhere", "--model", model, "--csv", tmp_path / "t.csv")
    assert done.exit_code == 1
    assert done.stderr.startswith(f"clnf-torch: error: {tmp_path / 'nowhere'}: ")
    assert "no_model" not in done.stderr
    assert not (tmp_path / "t.csv").exists()


def test_tables_on_stdout(clnf_torch_cli, bundle, image, box, clip, tmp_path):
    words = "--model", bundle, "--box", *box
    for given in (["detect", image], ["track", clip]):
        shown = clnf_torch_cli(*given, *words, "--csv", "-")
        clnf_torch_cli(*given, *words, "--csv", tmp_path / "t.csv")
        assert shown.exit_code == 0, shown.stderr
        assert shown.stdout == (tmp_path / "t.csv").read_text()
    both = clnf_torch_cli("detect", image, *words, "--csv", "-", "--json", "-")
    assert both.exit_code == 2
    assert "would both go to stdout" in both.stderr


def test_blanks_behind_commas(clnf_torch_cli, bundle, image, box, tmp_path):
    for name, words in (("plain", []), ("blanks", ["--header-blanks"])):
        table = tmp_path / f"{name}.csv"
        assert clnf_torch_cli("detect", image, "--model", bundle, "--box", *box, "--csv", table, *words).exit_code == 0
    plain = (tmp_path / "plain.csv").read_text()
    assert (tmp_path / "blanks.csv").read_text() == plain.replace(",", ", ")


def test_what_is_there_is_skipped(clnf_torch_cli, bundle, image, found, clip, tmp_path):  # noqa: F811
    other = write_video(tmp_path / "other.mp4", moving(image, 2))
    (out := tmp_path / "out").mkdir()
    (out / "clip.csv").write_text("mine\n")
    words = "--model", bundle, "--csv", out, "--no-multi-view", "--skip-existing"
    done = clnf_torch_cli("track", clip, other, *words)
    assert done.exit_code == 0, done.stderr
    assert done.stderr.splitlines()[0] == f"{clip}: its outputs exist; skipped"
    assert (out / "clip.csv").read_text() == "mine\n"
    assert len(rows_of(out / "other.csv")) == 2
    assert clnf_torch_cli("track", clip, other, *words).exit_code == 0


@pytest.mark.parametrize("tables", [False, True])
def test_drawn_videos_are_not_tracked_the_next_time(clnf_torch_cli, bundle, image, found, clip, tmp_path, tables):  # noqa: F811
    (folder := tmp_path / "clips").mkdir()
    for name in ("a.mov", "b.mov"):
        shutil.copy(clip, folder / name)
    words = ["track", folder, "--model", bundle, "--no-multi-view", "--draw", folder]
    # The manifest lies in the first folder of outputs
    words += ["--csv", tmp_path / "tables"] if tables else []
    assert clnf_torch_cli(*words).exit_code == 0
    there = set(folder.iterdir())
    for more, skipped in (([], 0), (["--skip-existing"], 2), (["--resume"], 2)):
        again = clnf_torch_cli(*words, *more)
        assert again.exit_code == 0, again.stderr
        assert f"{folder}: drawings of earlier runs (2) are left out" in again.stderr
        assert again.stderr.count("; skipped") == skipped
        assert set(folder.iterdir()) == there
    # One that was put into the place of a drawing is lost to no run that names it
    named = clnf_torch_cli("track", folder / "a.mp4", "--model", bundle, "--no-multi-view", "--csv", tmp_path / "t.csv")
    assert named.exit_code == 0 and len(rows_of(tmp_path / "t.csv")) == 3


def test_drawings_of_images_from_elsewhere_are_not_read_the_next_time(clnf_torch_cli, bundle, image, box, tmp_path):
    (folder := tmp_path / "photos").mkdir()
    for place in (tmp_path / "x.png", folder / "y.png"):
        shutil.copy(image, place)
    words = "detect", tmp_path / "x.png", folder, "--model", bundle, "--box", *box, "--draw", folder
    for _ in range(2):
        done = clnf_torch_cli(*words)
        assert done.exit_code == 0, done.stderr
        expected = {"y.png", "x_landmarks.png", "y_landmarks.png", "manifest.json"}
        assert {path.name for path in folder.iterdir()} == expected
    assert f"{folder}: drawings of earlier runs (2) are left out" in done.stderr


def test_the_summary_of_many_videos(clnf_torch_cli, bundle, image, found, tmp_path):  # noqa: F811
    (face,) = moving(image, 1)
    dark = shades(1, *face.shape[1::-1])
    videos = [
        write_folder(tmp_path / "gaps", [face, *dark, face, *dark * 3, face]),
        write_folder(tmp_path / "nobody", dark * 2),
    ]
    words = "--model", bundle, "--csv", tmp_path / "out", "--no-multi-view", "--single-face"
    done = clnf_torch_cli("track", *videos, *words)
    assert done.exit_code == 0, done.stderr
    gaps, nobody = rows_of(tmp_path / "out" / "summary.csv")
    table = rows_of(tmp_path / "out" / "gaps.csv")
    success = "".join(row["success"] for row in table)
    assert (gaps["frames"], gaps["frames_with_face"]) == ("7", str(success.count("1")))
    assert gaps["longest_gap"] == str(max(map(len, success.split("1"))))
    confidences = [float(row["confidence"]) for row in table if row["success"] == "1"]
    assert float(gaps["mean_confidence"]) == pytest.approx(sum(confidences) / len(confidences), abs=1e-3)
    assert gaps["outputs"] == "gaps.csv"
    assert (nobody["frames_with_face"], nobody["longest_gap"], nobody["mean_confidence"]) == ("0", "2", "")
    assert "nobody.csv" in done.stdout and "longest gap" in done.stdout
    again = clnf_torch_cli("track", *videos, *words, "--resume")
    assert again.exit_code == 0, again.stderr
    assert [row["frames"] for row in rows_of(tmp_path / "out" / "summary.csv")] == ["7", "2"]


def test_a_video_on_stdin(bundle, box, clip, tmp_path):
    words = [sys.executable, "-m", "clnf_torch", "track", "-", "--model", bundle, "--box", *box, "--csv", "-"]
    with clip.open("rb") as video:
        done = subprocess.run(list(map(str, words)), stdin=video, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert [row["frame"] for row in csv.DictReader(done.stdout.splitlines())] == ["1", "2", "3"]


def test_a_camera_is_read_until_it_is_stopped(clnf_torch_cli, bundle, image, box, tmp_path, monkeypatch):
    film = write_video(tmp_path / "film.mp4", moving(image, 40))
    opened = []

    def camera(path, note, device):
        opened.append(Camera(film))
        return opened[-1]

    def done_after_five(total, unit, stop):
        return counting(total, unit, lambda: signal.raise_signal(signal.SIGINT) if taken(5) else stop())

    taken = Countdown()
    counting = video_run.counting_bar
    monkeypatch.setattr(video_run, "open_source", camera)
    monkeypatch.setattr(video_run, "counting_bar", done_after_five)
    done = clnf_torch_cli("track", "0", "--model", bundle, "--box", *box, "--csv", tmp_path / "t.csv")
    assert done.exit_code == 0, done.stderr
    assert 5 <= len(rows_of(tmp_path / "t.csv")) < 40
    assert not list(tmp_path.glob("*.partial"))


class Countdown:
    """True once, when it has been asked so many times."""

    def __init__(self):
        self.count = 0

    def __call__(self, times):
        self.count += 1
        return self.count == times


def test_cameras_that_are_not_there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(VideoError, match="camera"):
        open_source(Path("97"))
    monkeypatch.setattr(sys, "platform", "elsewhere")
    with pytest.raises(VideoError, match="record a file"):
        open_source(Path("97"))


def test_the_summary_keeps_the_videos_of_earlier_runs(clnf_torch_cli, bundle, image, box, tmp_path):
    for name, frames in (("c", 2), ("a", 3), ("b", 2), ("d", 2)):
        write_video(tmp_path / f"{name}.mp4", [cv2.imread(str(image))] * frames)
    out = tmp_path / "out"

    def run(*names, more=()):
        videos = [tmp_path / f"{name}.mp4" for name in names]
        done = clnf_torch_cli("track", *videos, "--model", bundle, "--box", *box, "--csv", out, *more)
        assert done.exit_code == 0, done.output
        return [Path(row["input"]).stem for row in rows_of(out / "summary.csv")]

    assert run("c", "a") == ["c", "a"]
    assert run("b", "a", "c", more=["--skip-existing"]) == ["b", "a", "c"]
    assert run("d") == ["d", "c", "a", "b"]
    (out / "a.csv").unlink()
    assert run("b", "c", more=["--resume"]) == ["b", "c", "d"]


def test_another_summary_is_not_replaced(clnf_torch_cli, bundle, image, box, tmp_path):
    for name in "ab":
        write_video(tmp_path / f"{name}.mp4", [cv2.imread(str(image))] * 2)
    (out := tmp_path / "out").mkdir()
    (out / "summary.csv").write_text("patient,age\n")
    words = "track", tmp_path / "a.mp4", tmp_path / "b.mp4", "--model", bundle, "--box", *box, "--csv", out
    done = clnf_torch_cli(*words)
    assert done.exit_code == 2 and "expected a summary of clnf-torch, found another file" in done.stderr
    assert [path.name for path in out.iterdir()] == ["summary.csv"]
    assert (out / "summary.csv").read_text() == "patient,age\n"
