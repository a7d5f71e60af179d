"""``clnf-torch detect``: found or given faces, as JSON, tables and drawings."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch

import clnf_torch
from clnf_torch.cli import manifest, outputs
from clnf_torch.cli.images import run as image_run
from clnf_torch.cli.images.summary import ImageSummary
from clnf_torch.cli.manifest import KEEP_OR_REPLACE
from clnf_torch.cli.runs import detect as command
from clnf_torch.converters import convert
from clnf_torch.files.names import one_line
from clnf_torch.files.writing import partial_of
from clnf_torch.media.batches import Batch, Job
from clnf_torch.media.images import read_image
from tests.export.tables import make_table
from tests.media.videos import FixedBox, shades, write_folder
from tests.programs import said

KEYS = {
    "image", "box", "success", "confidence", "likelihood", "view", "params_global", "params_local", "landmarks",
    "landmark_likelihoods", "landmarks_3d", "pose",
}  # fmt: skip


def parsed(done):
    """The JSON on stdout; refuses NaN and Infinity, which Python would read but JSON does not know."""
    return json.loads(done.stdout, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


def rows_of(path) -> list[dict[str, str]]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def found(monkeypatch, box):
    """Makes the program find the free model's face wherever an image is not dark."""
    monkeypatch.setattr(command, "load_face_detector_for", lambda *_: FixedBox(box))


def test_found_faces_are_fitted_and_measured(clnf_torch_cli, bundle, image, box, found):
    done = clnf_torch_cli("detect", image, "--model", bundle)
    result = clnf_torch.load(bundle).fit(read_image(image)[None], torch.tensor([box]))
    (face,) = json.loads(done.stdout)["faces"]
    assert done.exit_code == 0, done.stderr
    assert (face["image"], face["confidence"], face["success"]) == (str(image), 1, True)
    torch.testing.assert_close(torch.tensor(face["box"]), torch.tensor(box))
    torch.testing.assert_close(torch.tensor(face["landmarks"]), result.landmarks[0], atol=1e-3, rtol=0)


def test_another_face_detector_is_taken_by_name(clnf_torch_cli, tmp_path):
    photograph = Path(__file__).resolve().parents[2] / "docs" / "images" / "astronaut.jpg"
    done = clnf_torch_cli("detect", photograph, "--detector", "blazeface")
    (face,) = parsed(done)["faces"]
    (box,) = clnf_torch.load_face_detector("blazeface").detect(read_image(photograph)[None]).boxes
    assert done.exit_code == 0 and face["success"]
    torch.testing.assert_close(torch.tensor(face["box"]), box, atol=1e-2, rtol=0)
    done = clnf_torch_cli("detect", photograph, "--detector", "blazefase")
    assert done.exit_code == 1 and "blazeface" in done.stderr and len(done.stderr.splitlines()) == 1


def test_given_boxes_need_no_face_detector(clnf_torch_cli, bundle, image, box, tmp_path):
    (tmp_path / "boxes.json").write_text(json.dumps({"image.png": [box, box]}))
    one = clnf_torch_cli("detect", image, "--model", bundle, "--box", *box)
    two = clnf_torch_cli("detect", image, "--model", bundle, "--boxes", tmp_path / "boxes.json")
    assert [len(json.loads(done.stdout)["faces"]) for done in (one, two)] == [1, 2]


def test_a_bundle_without_face_detector_is_one_line(clnf_torch_cli, bundle, image):
    done = clnf_torch_cli("detect", image, "--model", bundle)
    (line,) = done.stderr.splitlines()
    assert done.exit_code == 1
    assert "holds no face detector" in line
    assert "give the boxes" in line


def test_tables_hold_every_face_of_every_image(clnf_torch_cli, bundle, image, found, tmp_path):
    folder = write_folder(tmp_path / "images", shades(4))
    words = "--csv", tmp_path / "t.csv", "--parquet", tmp_path / "t.parquet", "--json", tmp_path / "t.json"
    done = clnf_torch_cli("detect", folder / "0.png", image, folder / "3.png", "--model", bundle, *words)
    assert done.exit_code == 0, done.stderr
    assert done.stdout.split()[:2] == ["3", "images"] and '"faces"' not in done.stdout
    assert done.stderr.splitlines() == [f"no face found: {folder / '0.png'}"]
    rows = rows_of(tmp_path / "t.csv")
    faces = json.loads((tmp_path / "t.json").read_text())["faces"]
    assert list(rows[0])[:3] == ["face", "confidence", "pose_Tx"] and list(rows[0])[-2:] == ["success", "image"]
    assert [row["success"] for row in rows] == [str(int(face["success"])) for face in faces] == ["1", "0"]
    assert [row["image"] for row in rows] == [face["image"] for face in faces] == [str(image), str(folder / "3.png")]
    assert [float(rows[0][f"x_{n}"]) for n in range(68)] == pytest.approx([x for x, _ in faces[0]["landmarks"]])
    assert [float(rows[0][f"Z_{n}"]) for n in range(68)] == pytest.approx([p[2] for p in faces[0]["landmarks_3d"]])
    parquet = pytest.importorskip("pyarrow.parquet").read_table(tmp_path / "t.parquet")
    assert parquet.column_names == list(rows[0])
    assert parquet.num_rows == 2


def test_images_without_faces_give_a_table_without_rows(clnf_torch_cli, bundle, found, tmp_path):
    folder = write_folder(tmp_path / "images", shades(1))
    done = clnf_torch_cli("detect", folder / "0.png", "--model", bundle, "--csv", tmp_path / "t.csv")
    assert done.exit_code == 0
    assert rows_of(tmp_path / "t.csv") == []
    assert (tmp_path / "t.csv").read_text().startswith("face,confidence,")


def test_options_reach_the_table(clnf_torch_cli, bundle, image, box, tmp_path):
    words = "detect", image, "--model", bundle, "--box", *box, "--csv", tmp_path / "t.csv"
    assert clnf_torch_cli(*words, "--likelihoods", "--openface-precision").exit_code == 0
    (row,) = rows_of(tmp_path / "t.csv")
    assert row["confidence"] == "1.000"
    assert row["x_0"] == f"{float(row['x_0']):.1f}"
    assert row["lm_likelihood_67"] == f"{float(row['lm_likelihood_67']):.3f}"
    near = float(row["pose_Tz"])
    assert clnf_torch_cli(*words, "--fx", 1000, "--cx", 120, "--cy", 120).exit_code == 0
    focal = (500 * 240 / 640 + 500 * 240 / 480) / 2
    assert float(rows_of(tmp_path / "t.csv")[0]["pose_Tz"]) == pytest.approx(near * 1000 / focal, rel=0.05)


def test_batches_change_nothing(clnf_torch_cli, bundle, image, found):
    words = "detect", image, image, image, "--model", bundle
    one, many = (json.loads(clnf_torch_cli(*words, "--batch", batch).stdout)["faces"] for batch in (1, 3))
    for alone, together in zip(one, many, strict=True):
        np.testing.assert_allclose(alone["landmarks"], together["landmarks"], atol=1e-3)


def test_ctrl_c_keeps_what_was_done(clnf_torch_cli, bundle, image, found, tmp_path, monkeypatch):
    fit, calls = clnf_torch.LandmarkDetector.fit, []

    def interrupted(*arguments, **options):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return fit(*arguments, **options)

    monkeypatch.setattr(clnf_torch.LandmarkDetector, "fit", interrupted)
    words = "--csv", tmp_path / "t.csv", "--json", tmp_path / "t.json", "--batch", 1
    done = clnf_torch_cli("detect", image, image, "--model", bundle, *words)
    assert done.exit_code == 130
    left = [tmp_path / "t.csv.partial", tmp_path / "t.json.partial"]
    assert done.stderr.splitlines() == ["clnf-torch: interrupted", f"clnf-torch: unfinished: {left[0]}, {left[1]}"]
    assert len(rows_of(left[0])) == 1 and len(left[1].read_bytes().splitlines()) == 2
    monkeypatch.setattr(clnf_torch.LandmarkDetector, "fit", fit)
    again = clnf_torch_cli("detect", image, "--model", bundle, *words)
    assert again.exit_code == 0
    kept = [
        f"{path}: what an earlier run left unfinished is now {unfinished}.1"
        for path, unfinished in zip((words[1], words[3]), left, strict=True)
    ]
    assert again.stderr.splitlines() == kept and not left[0].exists()
    assert len(rows_of(tmp_path / "t.csv.partial.1")) == 1 == len(rows_of(tmp_path / "t.csv"))


def test_a_line_says_where_terms_allow_research_alone(clnf_torch_cli, free_model, tmp_path, image, box):
    convert(free_model, tmp_path / "mine.pt")
    done = clnf_torch_cli("detect", image, "--model", tmp_path / "mine.pt", "--box", *box, "--json", "-")
    assert done.stderr == "note: mine.pt is for research use only; clnf-torch info shows its terms\n"
    assert len(parsed(done)["faces"]) == 1


def test_no_line_is_printed_where_terms_allow_any_use(clnf_torch_cli, bundle, tmp_path, image, box):
    terms = "MIT License. Terms and notices of what it was made of, which allow any use"
    clnf_torch.save(clnf_torch.load(bundle), tmp_path / "free.pt", licence=terms)
    done = clnf_torch_cli("detect", image, "--model", tmp_path / "free.pt", "--box", *box, "--json", "-")
    assert (done.exit_code, done.stderr) == (0, "")
    assert f"licence            {terms}" in clnf_torch_cli("info", tmp_path / "free.pt").stdout


def test_json_holds_what_the_api_returns(clnf_torch_cli, bundle, image, box):
    done = clnf_torch_cli("detect", image, "--model", bundle, "--box", *box, "--json", "-")
    result = clnf_torch.load(bundle).fit(read_image(image)[None], torch.tensor([box]))
    (face,) = parsed(done)["faces"]
    assert done.exit_code == 0
    assert done.stderr == ""
    assert face.keys() == KEYS
    assert (face["image"], face["box"], face["view"]) == (str(image), box, int(result.view))
    assert face["success"] is bool(result.success)
    torch.testing.assert_close(torch.tensor(face["landmarks"]), result.landmarks[0])
    torch.testing.assert_close(torch.tensor(face["params_local"]), result.params.local[0])
    torch.testing.assert_close(torch.tensor(face["landmark_likelihoods"]), result.landmark_likelihoods[0])
    pose = torch.cat((result.params.scale[0, None], result.params.rotation[0], result.params.translation[0]))
    torch.testing.assert_close(torch.tensor(face["params_global"]), pose)


def test_options_reach_the_fit(clnf_torch_cli, bundle, image, box):
    words = ["detect", image, "--model", bundle, "--box", *box]
    plain, exact, wild, turned = (
        parsed(clnf_torch_cli(*words, *more))["faces"][0]["landmarks"]
        for more in ([], ["--numerics", "exact"], ["--preset", "wild"], ["--preset", "wild", "--no-multi-view"])
    )
    assert plain != exact
    assert plain != wild
    assert plain != turned


def test_a_face_without_result_has_nulls(clnf_torch_cli, bundle, image):
    done = clnf_torch_cli("detect", image, "--model", bundle, "--box", 0, 0, 1e308, 10)
    (face,) = parsed(done)["faces"]
    assert done.exit_code == 0
    assert face["success"] is False
    assert face["landmarks"][0] == [None, None]


def test_json_goes_to_a_file_in_one_piece(clnf_torch_cli, bundle, image, box, tmp_path):
    target = tmp_path / "out" / "faces.json"
    target.parent.mkdir()
    done = clnf_torch_cli("detect", image, "--model", bundle, "--box", *box, "--json", target)
    assert done.exit_code == 0
    assert done.stdout == ""
    assert json.loads(target.read_text())["model"] == str(bundle)
    assert list(target.parent.iterdir()) == [target]


def test_drawings_get_names_of_their_own(clnf_torch_cli, bundle, image, box, tmp_path):
    done = clnf_torch_cli("detect", image, image, "--model", bundle, "--box", *box, "--draw", tmp_path / "drawn")
    assert done.exit_code == 0
    assert done.stdout.strip().startswith("2 images")  # no JSON
    drawn = sorted((tmp_path / "drawn").glob("*.png"))
    assert [path.name for path in drawn] == ["image-2_landmarks.png", "image_landmarks.png"]
    assert (cv2.imread(str(drawn[0])) != cv2.imread(str(image))).any(axis=-1).sum() > 68


def test_a_damaged_image_shifts_no_name(clnf_torch_cli, bundle, image, box, tmp_path):
    paths = [tmp_path / folder / "x.png" for folder in ("a", "b", "c")]
    for path in paths:
        path.parent.mkdir()
        shutil.copy(image, path)
    paths[0].write_bytes(b"no image")
    done = clnf_torch_cli("detect", *paths, "--model", bundle, "--box", *box, "--draw", tmp_path / "drawn")
    assert done.exit_code == 1
    drawn = sorted(path.name for path in (tmp_path / "drawn").glob("*.png"))
    assert drawn == ["x-2_landmarks.png", "x-3_landmarks.png"]


def test_a_manifest_says_what_became_of_each_of_several_images(clnf_torch_cli, bundle, image, found, tmp_path):
    paths = [tmp_path / name for name in ("a.png", "bad.png", "dark.png", "b.png")]
    for path in (paths[0], paths[3]):
        shutil.copy(image, path)
    paths[1].write_bytes(b"no image")
    cv2.imwrite(str(paths[2]), np.zeros((300, 300, 3), np.uint8))
    (out := tmp_path / "out").mkdir()
    words = ["detect", *paths, "--model", bundle, "--csv", out / "t.csv", "--draw", tmp_path / "drawn"]
    done = clnf_torch_cli(*words)
    assert done.exit_code == 1
    # Two of three that were read have a face
    row = next(line.split() for line in done.stdout.splitlines() if str(tmp_path) in line)
    assert row[1:6] == ["4", "66.7%", "2", "1.00", "1"] and row[-2:] == ["t.csv,", "drawn"]
    content = json.loads((out / "manifest.json").read_text())
    (entry,) = content["images"]
    assert (content["format"], content.get("videos")) == ("clnf_torch manifest", None)
    assert (entry["frames"], entry["frames_with_face"], entry["faces"]) == (3, 2, 2)
    assert entry["outputs"] == {"--csv": str(out / "t.csv")} and entry["seconds"] >= 0
    assert entry["settings"]["preset"] == "default" and len(entry["model"]) == 64
    columns = [[one[key] for one in entry["inputs"]] for key in ("input", "bytes", "faces", "first_row")]
    assert columns[0] == [str(path) for path in paths] and columns[1] == [path.stat().st_size for path in paths]
    assert columns[2:] == [[1, None, 0, 1], [0, None, None, 1]]
    drawings = [one["drawing"] and os.path.exists(one["drawing"]) for one in entry["inputs"]]
    assert drawings == [True, None, True, True]
    assert ["problem" in one and one["problem"] is not None for one in entry["inputs"]] == [False, True, False, False]
    assert [row["image"] for row in rows_of(out / "t.csv")] == [str(paths[0]), str(paths[3])]


def test_a_failed_fit_is_no_image_with_a_face(capsys):
    jobs = [Job(Path(f"photos/{number}.png"), torch.zeros(3, 4, 4), [(0, 0, 4, 4)], number) for number in range(2)]
    summary = ImageSummary([job.path for job in jobs])
    table = SimpleNamespace(success=torch.tensor([True, False]), confidence=torch.tensor([0.9, 0.1]))
    summary.add(Batch(jobs), table)
    assert summary.with_face() == 1 and sum(summary.faces.values()) == 2
    summary.show([Path("t.csv")])
    row = next(line.split() for line in capsys.readouterr().out.splitlines() if "photos" in line)
    assert row[1:5] == ["2", "50.0%", "2", "0.90"]


def test_outputs_that_are_there_are_skipped(clnf_torch_cli, bundle, image, found, tmp_path):
    paths = [tmp_path / folder / "x.png" for folder in "ab"]
    for path in paths:
        path.parent.mkdir()
        shutil.copy(image, path)
    drawn = tmp_path / "drawn"
    words = ["detect", *paths, "--model", bundle, "--skip-existing", "--draw", drawn]
    assert clnf_torch_cli(*words).exit_code == 0
    (drawn / "x-2_landmarks.png").unlink()
    kept = (drawn / "x_landmarks.png").stat().st_mtime_ns
    done = clnf_torch_cli(*words)
    assert done.stderr.splitlines() == [
        "1 of 2 images have their outputs; skipped",
        f"drawn: {drawn}/x-2_landmarks.png",
    ]
    assert (drawn / "x_landmarks.png").stat().st_mtime_ns == kept
    assert "2 of 2 images have their outputs; skipped" in clnf_torch_cli(*words).stderr
    # A table has the rows of all images
    table = tmp_path / "t.csv"
    assert "skipped" not in clnf_torch_cli(*words, "--csv", table).stderr
    assert len(rows_of(table)) == 2
    assert "2 of 2 images have their outputs; skipped" in clnf_torch_cli(*words, "--csv", table).stderr
    assert "skipped" not in clnf_torch_cli(*words[:-2], "--csv", "-").stderr


def test_what_was_drawn_without_a_face_is_known(clnf_torch_cli, bundle, image, found, tmp_path):
    shutil.copy(image, tmp_path / "a.png")
    dark = tmp_path / "dark.png"
    cv2.imwrite(str(dark), np.zeros((300, 300, 3), np.uint8))
    drawn = tmp_path / "drawn"
    words = ["detect", tmp_path / "a.png", dark, "--model", bundle, "--draw", drawn, "--skip-existing"]
    assert clnf_torch_cli(*words).exit_code == 0
    # What is drawn again leaves what is known of the others
    (drawn / "a_landmarks.png").unlink()
    assert clnf_torch_cli(*words).exit_code == 0
    entries = json.loads((drawn / "manifest.json").read_text())["images"]
    assert [[Path(one["drawing"]).name for one in entry["inputs"]] for entry in entries] == [
        ["dark_landmarks.png"],
        ["a_landmarks.png"],
    ]
    change_byte(dark)
    done = clnf_torch_cli(*words)
    assert done.exit_code == 1 and "dark.png: skipped, though its outputs were made of other images" in done.stderr


def change_byte(image: Path) -> None:
    """Changes the last byte of an image, and its time; its size stays."""
    content = image.read_bytes()
    image.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    os.utime(image, (7, 7))


@pytest.mark.parametrize("option", ["--csv", "--draw"])
def test_outputs_of_other_images_are_said_to_be_so(clnf_torch_cli, bundle, image, found, tmp_path, monkeypatch, option):
    for name in ("a/x.png", "a/y.png", "b/x.png", "b/y.png", "copied/x.png", "copied/y.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(image, tmp_path / name)
        # Copies have another time, which makes them no other images
        os.utime(tmp_path / name, (len(name), len(name) + ord(name[0])))
    change_byte(tmp_path / "b" / "y.png")
    words = "--model", bundle, option, tmp_path / ("t.csv" if option == "--csv" else "drawn"), "--skip-existing"
    assert clnf_torch_cli("detect", tmp_path / "a", *words).exit_code == 0
    for folder in ("a", "copied"):
        done = clnf_torch_cli("detect", tmp_path / folder, *words)
        assert done.stderr.splitlines() == ["2 of 2 images have their outputs; skipped"]
    with monkeypatch.context() as patched:
        for module in (image_run, manifest):
            patched.setattr(module, "content_of", lambda path: pytest.fail(f"{path} is read, though its time agrees"))
        assert clnf_torch_cli("detect", tmp_path / "a", *words).exit_code == 0
    done = clnf_torch_cli("detect", tmp_path / "b", *words)
    first, *others = done.stderr.splitlines()
    assert done.exit_code == 1 and first == "2 of 2 images have their outputs; skipped"
    assert others == [
        one_line(
            f"clnf-torch: error: {tmp_path}/b/y.png: skipped, though its outputs were made of other images, or of it "
            f"before it changed (1 of 2 are so); {KEEP_OR_REPLACE}"
        )
    ]


@pytest.mark.parametrize("option", ["--csv", "--draw"])
def test_outputs_of_another_image_are_told_from_those_of_one_alone(
    clnf_torch_cli, bundle, image, found, tmp_path, option
):
    for name in ("a/x.png", "b/x.png"):
        (tmp_path / name).parent.mkdir()
        shutil.copy(image, tmp_path / name)
    change_byte(tmp_path / "b" / "x.png")
    target = tmp_path / "out" / ("t.csv" if option == "--csv" else "")
    words = "--model", bundle, option, target, "--skip-existing"
    assert clnf_torch_cli("detect", tmp_path / "a" / "x.png", *words).exit_code == 0
    again = clnf_torch_cli("detect", tmp_path / "a" / "x.png", *words)
    assert (again.exit_code, again.stderr) == (0, "1 of 1 images have their outputs; skipped\n")
    other = clnf_torch_cli("detect", tmp_path / "b" / "x.png", *words)
    assert other.exit_code == 1 and "x.png: skipped, though" in other.stderr


@pytest.mark.parametrize("count", [1, 2])
def test_a_manifest_that_no_other_writes_is_read_once(clnf_torch_cli, bundle, image, box, tmp_path, monkeypatch, count):
    words = "detect", *[image] * count, "--model", bundle, "--csv", tmp_path / "t.csv", "--box", *box
    assert clnf_torch_cli(*words, "--skip-existing").exit_code == 0
    (tmp_path / "t.csv").unlink()
    read, read_bytes = [], Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda path: read.append(path.name) or read_bytes(path))
    assert clnf_torch_cli(*words).exit_code == 0
    assert read.count("manifest.json") == 1


def test_the_last_of_several_images_is_known_to_the_manifest(clnf_torch_cli, bundle, image, found, tmp_path):
    for name in "xy":
        shutil.copy(image, tmp_path / f"{name}.png")
    words = "detect", tmp_path / "x.png", tmp_path / "y.png", "--model", bundle, "--draw", tmp_path / "drawn"
    clnf_torch_cli(*words)
    (tmp_path / "drawn" / "y_landmarks.png").unlink()
    (tmp_path / "y.png").touch()
    assert clnf_torch_cli(*words, "--skip-existing").exit_code == 0
    assert clnf_torch_cli(*words, "--skip-existing").exit_code == 0


def test_a_single_image_replaces_what_a_manifest_says_of_its_outputs(clnf_torch_cli, bundle, image, box, tmp_path):
    shutil.copy(image, tmp_path / "b.png")
    words = "--model", bundle, "--csv", tmp_path / "t.csv", "--box", *box
    clnf_torch_cli("detect", image, tmp_path / "b.png", *words)
    assert clnf_torch_cli("detect", tmp_path / "b.png", *words).exit_code == 0
    (entry,) = json.loads((tmp_path / "manifest.json").read_text())["images"]
    assert [Path(one["input"]).name for one in entry["inputs"]] == ["b.png"]
    # Another program's is none of its business
    (tmp_path / "manifest.json").write_text("{}")
    assert clnf_torch_cli("detect", tmp_path / "b.png", *words).exit_code == 0
    assert (tmp_path / "manifest.json").read_text() == "{}"


def test_entries_of_other_outputs_stay_in_the_manifest(clnf_torch_cli, bundle, image, box, tmp_path):
    shutil.copy(image, tmp_path / "b.png")
    words = ["detect", image, tmp_path / "b.png", "--model", bundle, "--box", *box]
    for name in ("one.csv", "two.csv", "one.csv"):
        assert clnf_torch_cli(*words, "--csv", tmp_path / name).exit_code == 0
    entries = json.loads((tmp_path / "manifest.json").read_text())["images"]
    assert [Path(entry["outputs"]["--csv"]).name for entry in entries] == ["two.csv", "one.csv"]
    (tmp_path / "alone").mkdir()
    assert clnf_torch_cli(*words[:2], *words[3:], "--csv", tmp_path / "alone" / "t.csv").exit_code == 0
    assert [path.name for path in (tmp_path / "alone").iterdir()] == ["t.csv"]


def test_rows_wait_no_longer_than_a_few_seconds(tmp_path, monkeypatch):
    pytest.importorskip("pyarrow", reason="Parquet needs pyarrow: pip install --editable '.[tables]'")
    monkeypatch.setattr(outputs, "SAVE_EVERY", 0.0)
    target = tmp_path / "t.parquet"
    with outputs.image_outputs(outputs.Targets(parquet=target), Path("m.pt"), [], []) as files:
        batch = Batch([Job(Path("a.png"), torch.zeros(3, 6, 6, dtype=torch.uint8), [(1, 1, 2, 2)])])
        files.append(batch, None, make_table(1, image=("a.png",)))
        assert len(list(partial_of(target).glob("*.parquet"))) == 1


def test_a_name_that_is_not_utf8_reaches_every_table(clnf_torch_cli, bundle, image, box, tmp_path):
    names = [os.fsdecode(name) for name in (b"a.png", b"\xff.png", b"=\n.png", b"\xfe.png")]
    for name in names[:3]:
        shutil.copy(image, tmp_path / name)
    words = "--csv", tmp_path / "t.csv", "--json", tmp_path / "t.json"
    with contextlib.chdir(tmp_path):
        done = clnf_torch_cli("detect", *names, "--model", bundle, "--box", *box, *words)
    expected = ["a.png", r"\xff.png", r"=\x0a.png"]
    (line,) = done.stderr.splitlines()
    assert (done.exit_code, r"\xfe.png" in line) == (1, True)
    assert [face["image"] for face in json.loads((tmp_path / "t.json").read_text())["faces"]] == expected
    assert [row["image"] for row in rows_of(tmp_path / "t.csv")] == [*expected[:2], f"'{expected[2]}"]


@pytest.mark.parametrize("contents", [None, b"", b"no image", "folder"], ids=["missing", "empty", "text", "folder"])
def test_a_bad_image_is_named_and_the_others_are_done(clnf_torch_cli, bundle, image, box, tmp_path, contents):
    bad = tmp_path / "bad.png"
    if contents == "folder":
        bad.mkdir()
    elif contents is not None:
        bad.write_bytes(contents)
    done = clnf_torch_cli("detect", bad, image, "--model", bundle, "--box", *box)
    (line,) = done.stderr.splitlines()
    assert done.exit_code == 1
    assert line.startswith(f"clnf-torch: error: {bad}: ")
    assert [face["image"] for face in parsed(done)["faces"]] == [str(image)]


def test_a_bad_image_does_not_reach_the_files(clnf_torch_cli, bundle, image, found, tmp_path):
    (tmp_path / "bad.png").write_bytes(b"no image")
    words = "--model", bundle, "--draw", tmp_path / "drawn", "--json", tmp_path / "t.json"
    done = clnf_torch_cli("detect", tmp_path / "bad.png", image, *words)
    assert done.exit_code == 1
    assert done.stderr.splitlines()[0].startswith(f"clnf-torch: error: {tmp_path / 'bad.png'}: ")
    assert len(json.loads((tmp_path / "t.json").read_text())["faces"]) == 1
    assert [path.name for path in (tmp_path / "drawn").iterdir()] == ["image_landmarks.png"]


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA device")
def test_a_device_that_is_not_there_is_one_line(clnf_torch_cli, bundle, image, box):
    done = clnf_torch_cli("detect", image, "--model", bundle, "--box", *box, "--device", "cuda")
    (line,) = done.stderr.splitlines()
    assert done.exit_code == 1
    assert line.startswith("clnf-torch: error: --device cuda: ")


@pytest.mark.parametrize(
    "words",
    [
        ["--box", 1, 2, 3],
        ["--box", 1, 2, 3, "x"],
        ["--box", 1, 2, 3, 4, "--boxes", "b.json"],
        ["--preset", "x"],
        ["--device", "x"],
        ["--batch", 0],
        ["--fx", -1],
        ["--cx", "nan"],
    ],
)
def test_wrong_words_are_usage_errors(clnf_torch_cli, bundle, image, words):
    done = clnf_torch_cli("detect", image, "--model", bundle, *words)
    assert done.exit_code == 2
    assert "Error: " in done.stderr


def test_the_module_is_the_program(bundle, image, box):
    words = [sys.executable, "-W", "error", "-m", "clnf_torch", "detect", image, "--model", bundle, "--box", *box]
    done = subprocess.run(list(map(str, words)), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert said(done.stderr) == ""
    assert len(parsed(done)["faces"][0]["landmarks"]) == 68
