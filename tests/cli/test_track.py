"""``clnf-torch track``: rows for every frame, whatever a video holds and whatever ends it."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from itertools import islice

import pytest

from clnf_torch.cli.manifest import KEEP_OR_REPLACE
from clnf_torch.cli.videos import run as command
from clnf_torch.cli.videos.drawn_recording import DRAWN_TOGETHER
from clnf_torch.converters import convert
from clnf_torch.drawing import DrawnFaces
from clnf_torch.files.names import one_line
from clnf_torch.measures.measure import measure
from clnf_torch.media.video import VideoFile
from clnf_torch.pipeline import measuring
from tests.media.videos import FixedBox, damage_frame, moving, shades, write_folder, write_key_frames, write_video
from tests.programs import said


def rows_of(path) -> list[dict[str, str]]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def found(monkeypatch, box):
    """Makes the program find the free model's face wherever a frame is not dark."""
    monkeypatch.setattr(command, "load_face_detector_for", lambda *_: FixedBox(box))


def test_every_frame_has_a_row(clnf_torch_cli, bundle, image, found, tmp_path):
    video = write_video(tmp_path / "video.mp4", moving(image, 5))
    words = "--csv", tmp_path / "t.csv", "--json", tmp_path / "t.json", "--draw", tmp_path / "drawn.mp4"
    done = clnf_torch_cli("track", video, "--model", bundle, *words, "--no-multi-view")
    rows, text = rows_of(tmp_path / "t.csv"), json.loads((tmp_path / "t.json").read_text())
    assert done.exit_code == 0, done.stderr
    assert done.stderr == f"{video}: 5 frames, 100.0% with a face, 1 face\n"
    assert list(rows[0])[:6] == ["frame", "face_id", "timestamp", "confidence", "success", "pose_Tx"]
    assert [row["frame"] for row in rows] == ["1", "2", "3", "4", "5"]
    assert {(row["face_id"], row["success"]) for row in rows} == {("0", "1")}
    assert [float(row["timestamp"]) for row in rows] == pytest.approx([0, 0.04, 0.08, 0.12, 0.16])
    assert (text["video"], text["frames_per_second"]) == (str(video), 25)
    assert [float(row["y_30"]) for row in rows] == pytest.approx([face["landmarks"][30][1] for face in text["faces"]])
    assert len(list(VideoFile(tmp_path / "drawn.mp4"))) == 5


def test_faces_are_measured_once_and_drawn_as_their_rows_say(
    clnf_torch_cli, bundle, image, found, tmp_path, monkeypatch
):
    measured, drawn = [], []
    monkeypatch.setattr(
        measuring, "measure", lambda face, *rest: measured.append(len(face.landmarks)) or measure(face, *rest)
    )
    draw = DrawnFaces.of
    monkeypatch.setattr(DrawnFaces, "of", lambda fit, names, table: drawn.append(table) or draw(fit, names, table))
    count = DRAWN_TOGETHER + 2
    video = write_video(tmp_path / "video.mp4", moving(image, count))
    words = "--csv", tmp_path / "t.csv", "--draw", tmp_path / "drawn.mp4", "--no-multi-view"
    done = clnf_torch_cli("track", video, "--model", bundle, *words)
    assert done.exit_code == 0, done.stderr
    assert measured == [DRAWN_TOGETHER, 2] and [len(table) for table in drawn] == [1] * count
    pitch = [float(row["pose_Rx"]) for row in rows_of(tmp_path / "t.csv")]
    assert [float(table.pose[0, 3]) for table in drawn] == pytest.approx(pitch, abs=1e-3)


@pytest.mark.parametrize("words", [[], ["--single-face"]], ids=["many", "single"])
def test_a_video_without_faces_has_rows_of_nobody(clnf_torch_cli, bundle, found, tmp_path, words):
    folder = write_folder(tmp_path / "dark", shades(1) * 4)
    done = clnf_torch_cli("track", folder, "--model", bundle, "--csv", tmp_path / "t.csv", *words)
    rows = rows_of(tmp_path / "t.csv")
    assert done.exit_code == 0, done.stderr
    assert "0.0% with a face, 0 faces" in done.stderr
    assert len(rows) == 4
    assert {row.pop("face_id") for row in rows} == ({"0"} if words else {"-1"})
    for row in rows:
        assert {float(value) for name, value in row.items() if name not in {"frame", "timestamp"}} == {0}


def test_a_damaged_frame_is_a_row_without_success(clnf_torch_cli, bundle, image, found, tmp_path):
    video = damage_frame(write_key_frames(tmp_path / "video.avi", moving(image, 5)), number=2)
    words = "--csv", tmp_path / "t.csv", "--draw", tmp_path / "t.mp4", "--no-multi-view"
    done = clnf_torch_cli("track", video, "--model", bundle, *words)
    assert done.exit_code == 1
    assert done.stderr.splitlines()[0] == f"clnf-torch: error: {video}: 1 of 5 frames is damaged: frame 3"
    assert [row["success"] for row in rows_of(tmp_path / "t.csv")] == ["1", "1", "0", "1", "1"]
    assert len(list(VideoFile(tmp_path / "t.mp4"))) == 5


def test_videos_side_by_side_are_those_alone(clnf_torch_cli, bundle, image, box, tmp_path):
    frames = moving(image, 3)
    first = write_folder(tmp_path / "first", frames)
    second = write_folder(tmp_path / "second", frames[::-1][:2])
    (tmp_path / "third").mkdir()
    third = write_folder(tmp_path / "third" / "first", frames[1:])
    other = write_folder(tmp_path / "other", shades(2))
    words = "--model", bundle, "--box", *box, "--csv"
    done = clnf_torch_cli("track", first, second, third, other, *words, tmp_path / "together", "--batch", 2)
    assert done.exit_code == 0, done.stderr
    names = {"first": first, "second": second, "first-2": third, "other": other}
    assert sorted(path.stem for path in (tmp_path / "together").iterdir()) == sorted([*names, "manifest", "summary"])
    for name, folder in names.items():
        clnf_torch_cli("track", folder, *words, tmp_path / "alone.csv")
        together, alone = rows_of(tmp_path / "together" / f"{name}.csv"), rows_of(tmp_path / "alone.csv")
        assert len(together) == len(alone)
        for one, same in zip(together, alone, strict=True):
            for column in ("frame", "success", "x_8", "y_45"):
                assert float(one[column]) == pytest.approx(float(same[column]), abs=1e-3)


@pytest.mark.parametrize(
    ("box", "why"),
    [
        ((500, 0, 10, 10), "outside the image of 240 x 240"),
        ((10, 10, 0, 50), "must be above 0"),
        ((10, 10, 50, -1), "must be above 0"),
        (("nan", 10, 50, 50), "not finite"),
    ],
)
def test_a_bad_box_is_one_line_about_the_video(clnf_torch_cli, bundle, image, tmp_path, box, why):
    video, table = write_video(tmp_path / "video.mp4", moving(image, 2)), tmp_path / "t.csv"
    done = clnf_torch_cli("track", video, "--model", bundle, "--box", *box, "--csv", table)
    (line,) = done.stderr.splitlines()
    assert done.exit_code == 1 and line.startswith(f"clnf-torch: error: {video}: box ") and why in line
    assert [*tmp_path.iterdir()] == [video]


def test_a_box_is_checked_in_each_video(clnf_torch_cli, bundle, image, box, tmp_path):
    small = write_folder(tmp_path / "small", [still[:8, :8] for still in moving(image, 2)])
    large = write_folder(tmp_path / "large", moving(image, 2))
    done = clnf_torch_cli("track", small, large, "--model", bundle, "--box", *box, "--csv", tmp_path / "out")
    assert done.exit_code == 1 and f"error: {small}: box " in done.stderr and str(large) in done.stderr
    assert (tmp_path / "out" / "large.csv").exists() and not (tmp_path / "out" / "small.csv").exists()


def test_smoothed_faces_and_what_the_manifest_says(clnf_torch_cli, bundle, image, box, tmp_path):
    folder = write_folder(tmp_path / "frames", moving(image, 3))
    words = folder, "--model", bundle, "--box", *box
    for name, more in (("plain", ()), ("smooth", ("--smooth",))):
        (tmp_path / name).mkdir()
        assert clnf_torch_cli("track", *words, "--csv", tmp_path / name / "t.csv", *more).exit_code == 0
        (entry,) = json.loads((tmp_path / name / "manifest.json").read_text())["videos"]
        assert entry["settings"]["smooth"] is bool(more)
        assert ("one-euro" in entry["settings"].get("smoothing", {}).get("filter", "")) is bool(more)
    plain, smooth = (rows_of(tmp_path / name / "t.csv") for name in ("plain", "smooth"))
    assert plain[0] == smooth[0]
    assert all(plain[n][column] != smooth[n][column] for n in (1, 2) for column in ("x_8", "X_8", "p_0", "pose_Tx"))


def test_a_bad_video_is_named_and_the_others_are_done(clnf_torch_cli, bundle, image, found, tmp_path):
    (tmp_path / "bad.mp4").write_bytes(b"no video")
    good = write_folder(tmp_path / "good", moving(image, 2))
    words = "--model", bundle, "--csv", tmp_path / "out", "--no-multi-view"
    done = clnf_torch_cli("track", tmp_path / "bad.mp4", good, tmp_path / "missing.avi", *words)
    bad, missing, _ = done.stderr.splitlines()
    assert done.exit_code == 1
    assert bad.startswith(f"clnf-torch: error: {tmp_path / 'bad.mp4'}: expected a video")
    assert missing.startswith(f"clnf-torch: error: {tmp_path / 'missing.avi'}: cannot be read")
    assert len(rows_of(tmp_path / "out" / "good.csv")) == 2


@pytest.mark.skipif(os.name != "posix", reason="pipes and devices are files on POSIX systems alone")
def test_what_is_no_video_is_one_line_each_and_the_others_are_done(clnf_torch_cli, bundle, image, found, tmp_path):
    good = [write_key_frames(tmp_path / f"{name}.avi", moving(image, 2)) for name in ("first", "last")]
    bad = [tmp_path / name for name in ("pipe.mp4", "zero.mp4", "text.mp4", "videos")]
    os.mkfifo(bad[0])
    bad[1].symlink_to("/dev/zero")
    bad[2].write_text("nothing")
    bad[3].mkdir()
    (bad[3] / "a.mp4").touch()
    words = "--csv", tmp_path / "tables", "--no-multi-view"
    done = clnf_torch_cli("track", good[0], *bad, good[1], "--model", bundle, *words)
    lines = done.stderr.splitlines()
    assert done.exit_code == 1
    assert [str(path) in line for path, line in zip(bad, lines, strict=False)] == [True] * 4
    assert lines[4:] == [f"{path}: 2 frames, 100.0% with a face, 1 face" for path in good]
    assert [len(rows_of(tmp_path / "tables" / f"{path.stem}.csv")) for path in good] == [2, 2]


@pytest.mark.parametrize("where", ["opened", "read"])
def test_whatever_a_decoder_raises_ends_no_batch(clnf_torch_cli, bundle, image, found, tmp_path, monkeypatch, where):
    opened, paths = command.open_source, [write_folder(tmp_path / name, moving(image, 2)) for name in ("a", "bad", "b")]

    def frames(source):
        yield from islice(opened(source.path), 1)
        raise UnicodeDecodeError("utf-8", b"\xe9", 0, 1, "a title")

    def open_video(path, note, device):
        if path.name != "bad":
            return opened(path, note)
        if where == "opened":
            raise UnicodeDecodeError("utf-8", b"\xe9", 0, 1, "a title")
        source = opened(path, note)
        source.__class__ = type("Broken", (type(source),), {"__iter__": frames})
        return source

    monkeypatch.setattr(command, "open_source", open_video)
    done = clnf_torch_cli("track", *paths, "--model", bundle, "--csv", tmp_path / "out", "--no-multi-view")
    assert done.exit_code == 1
    assert f"clnf-torch: error: {paths[1]}: UnicodeDecodeError: " in done.stderr
    assert [len(rows_of(tmp_path / "out" / f"{name}.csv")) for name in ("a", "b")] == [2, 2]
    assert (tmp_path / "out" / "bad.csv").exists() == (where == "read")


def test_names_follow_the_arguments(clnf_torch_cli, bundle, image, found, tmp_path):
    still = moving(image, 1)
    for folder in "ABC":
        (tmp_path / folder).mkdir()
    (tmp_path / "A" / "x.mp4").write_bytes(b"no video")
    paths = [
        write_folder(tmp_path / folder, images) for folder, images in (("p", still), ("B/X", shades(1)), ("C/x", still))
    ]
    paths.insert(1, tmp_path / "A" / "x.mp4")
    out = tmp_path / "out"
    done = clnf_torch_cli("track", *paths, "--model", bundle, "--json", out, "--no-multi-view")
    assert done.exit_code == 1
    read = {path.name: json.loads(path.read_text())["video"] for path in out.glob("[px]*.json")}
    read |= {path.name: json.loads(path.read_text())["video"] for path in out.glob("X*.json")}
    assert read == {"p.json": str(paths[0]), "X-2.json": str(paths[2]), "x-3.json": str(paths[3])}


def test_a_bundle_without_face_detector_is_one_line(clnf_torch_cli, bundle, image, tmp_path):
    folder = write_folder(tmp_path / "frames", moving(image, 1))
    done = clnf_torch_cli("track", folder, "--model", bundle, "--csv", tmp_path / "t.csv")
    (line,) = done.stderr.splitlines()
    assert done.exit_code == 1
    assert "holds no face detector" in line


@pytest.mark.parametrize(
    "words",
    [
        ["a.mp4"],
        ["a.mp4", "--draw", "drawn.gif"],
        ["a.mp4", "b.mp4", "--csv", "t.csv"],
        ["a.mp4", "b.mp4", "--json", "-"],
        ["a.mp4", "--csv", "t.csv", "--fx", "0"],
    ],
)
def test_wrong_words_are_usage_errors(clnf_torch_cli, bundle, words):
    done = clnf_torch_cli("track", *words, "--model", bundle)
    assert done.exit_code == 2
    assert "Error: " in done.stderr


def test_ctrl_c_keeps_what_was_done(bundle, image, box, tmp_path):
    folder, out = tmp_path / "frames", tmp_path / "out"
    write_folder(folder, moving(image, 1))
    for number in range(1, 3000):
        os.link(folder / "0.png", folder / f"{number}.png")
    out.mkdir()
    words = ["--csv", out / "t.csv", "--json", out / "t.json", "--draw", out / "t.mp4", "--model", bundle]
    words = [sys.executable, "-m", "clnf_torch", "track", folder, *words, "--box", *box]
    with subprocess.Popen(list(map(str, words)), stderr=subprocess.PIPE, text=True) as program:
        deadline = time.monotonic() + 60
        while not any(path.stat().st_size for path in out.glob("t.csv.partial")) and time.monotonic() < deadline:
            time.sleep(0.05)
        program.send_signal(signal.SIGINT)
        _, complaints = program.communicate(timeout=60)
    assert program.returncode == 130
    names = [f"t.{suffix}.partial" for suffix in ("csv", "json", "mp4")]
    left = ", ".join(str(out / name) for name in names)
    assert said(complaints) == f"clnf-torch: interrupted\nclnf-torch: unfinished: {left}\n"
    assert sorted(path.name for path in out.iterdir()) == [names[0], "t.csv.state", *names[1:]]
    rows = rows_of(out / names[0])
    assert 1 <= len(rows) < 3000
    assert [json.loads(line).get("frame") for line in (out / names[1]).read_text().splitlines()] == [
        None,
        *range(1, len(rows) + 1),
    ]
    assert len(list(VideoFile(out / names[2]))) == len(rows)


def test_finished_outputs_of_another_video_stay(clnf_torch_cli, bundle, image, box, tmp_path):
    out = tmp_path / "sess"
    out.mkdir()
    videos = []
    for number in (1, 2):
        (folder := tmp_path / f"S{number}").mkdir()
        videos.append(write_folder(folder / "cam", moving(image, number)))
    words = ["--csv", out, "--model", bundle, "--no-multi-view", "--box", *box]
    assert clnf_torch_cli("track", videos[0], *words, "--resume").exit_code == 0
    before = (out / "cam.csv").read_bytes()
    second = clnf_torch_cli("track", videos[1], *words, "--resume")
    assert second.exit_code == 1 and (out / "cam.csv").read_bytes() == before
    line = f"{videos[1]}: {out / 'cam.csv'} was made of {videos[0]}; give another folder or name"
    # As every complaint is, where the path is long
    assert one_line(f"clnf-torch: error: {line}") in second.stderr
    skipped = clnf_torch_cli("track", videos[1], *words, "--skip-existing")
    line = f"{videos[1]}: skipped, though its outputs were made of {videos[0]}; {KEEP_OR_REPLACE}"
    assert skipped.exit_code == 1 and one_line(f"clnf-torch: error: {line}") in skipped.stderr
    assert (out / "cam.csv").read_bytes() == before
    same = clnf_torch_cli("track", videos[0], *words, "--skip-existing")
    assert (same.exit_code, same.stderr) == (0, f"{videos[0]}: its outputs exist; skipped\n")
    again = clnf_torch_cli("track", videos[0], *words, "--resume")
    assert again.exit_code == 0 and "finished by an earlier run; skipped" in again.stderr
    assert "replaces" not in clnf_torch_cli("track", videos[0], *words).stderr
    replaced = clnf_torch_cli("track", videos[1], *words)
    assert f"{videos[1]}: replaces outputs that were made of {videos[0]}" in replaced.stderr


def test_a_video_that_changed_is_not_skipped_as_if_it_had_not(clnf_torch_cli, bundle, image, box, tmp_path):
    video = write_folder(tmp_path / "cam", moving(image, 1))
    words = "track", video, "--csv", tmp_path / "out", "--model", bundle, "--no-multi-view", "--box", *box
    assert clnf_torch_cli(*words).exit_code == 0
    next(iter(sorted(video.iterdir()))).touch()
    skipped = clnf_torch_cli(*words, "--skip-existing")
    line = f"{video}: skipped, though its outputs were made of it before it changed; {KEEP_OR_REPLACE}"
    assert skipped.exit_code == 1 and one_line(f"clnf-torch: error: {line}") in skipped.stderr


def test_a_real_clip(clnf_torch_cli, shared, openface_models, tmp_path):
    clip = shared / "videos" / "0686_02_003_gloria_estefan.avi"
    if not clip.is_file():
        pytest.skip(f"no {clip}: put OpenFace's sample clips there")
    convert(openface_models / "main_ceclm_general.txt", tmp_path / "model.pt")
    images = [
        frame.image.permute(1, 2, 0).numpy()[..., ::-1] for _, frame in zip(range(20), VideoFile(clip), strict=False)
    ]
    folder = write_folder(tmp_path / "frames", images)
    done = clnf_torch_cli("track", folder, "--model", tmp_path / "model.pt", "--csv", tmp_path / "t.csv")
    rows = rows_of(tmp_path / "t.csv")
    assert done.exit_code == 0, done.stderr
    assert len(rows) == 20
    assert len(rows[0]) == 679
    assert {row["face_id"] for row in rows} == {"0"}
    assert sum(row["success"] == "1" for row in rows) >= 19
    for row in rows:
        assert -1 < float(row["gaze_0_z"]) <= 0
        assert 100 < float(row["pose_Tz"]) < 1000


def test_a_folder_of_folders_is_called_one(clnf_torch_cli, bundle, tmp_path):
    for name in ("P1", "P2"):
        (tmp_path / "all" / name).mkdir(parents=True)
    done = clnf_torch_cli("track", tmp_path / "all", "--csv", tmp_path / "o.csv", "--model", bundle)
    assert done.exit_code == 1
    assert "found a folder of folders (2), which are not looked into; give these" in " ".join(done.stderr.split())
