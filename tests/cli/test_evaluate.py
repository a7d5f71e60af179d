"""``clnf-torch evaluate`` on the free model, whose own landmarks are taken for true ones, moved where a test asks."""

from __future__ import annotations

import csv
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

import clnf_torch
from clnf_torch.cli.evaluation.tables import draw_curves
from clnf_torch.cli.runs import evaluate as command
from clnf_torch.converters import convert
from clnf_torch.geometry.boxes import box_around
from clnf_torch.media.images import read_image
from clnf_torch.training.evaluation.annotated import find_landmarks
from tests.media.videos import FixedBox

Numbers = dict[str, dict[str, dict[str, float | None]]]


@pytest.fixture(scope="session")
def found(bundle, image, box) -> torch.Tensor:
    """The landmarks that the free model finds in its image, (68, 2)."""
    return clnf_torch.load(bundle).fit(read_image(image)[None], torch.tensor([box])).landmarks[0]


@pytest.fixture
def faces(tmp_path, image, found) -> Callable[..., Path]:
    """Writes a folder with copies of the image, whose annotations are the found landmarks plus an offset each."""

    def write(*offsets: tuple[float, float], split: tuple[str, ...] = ()) -> Path:
        folder = tmp_path / "faces"
        folder.mkdir()
        names = [f"{number}.png" for number in range(len(offsets))]
        for name in names:
            shutil.copy(image, folder / name)
        landmarks = found + torch.tensor(offsets)[:, None]
        chosen = {"split": np.array(split)} if split else {}
        np.savez(folder / "landmarks.npz", names=np.array(names), landmarks=landmarks.numpy(), **chosen)
        return folder

    return write


@pytest.fixture
def boxes_file(tmp_path, box) -> Path:
    """The image's own box for every copy, as .npz."""
    names = np.array([f"{number}.png" for number in range(9)])
    np.savez(tmp_path / "boxes.npz", names=names, boxes=np.array([box] * 9))
    return tmp_path / "boxes.npz"


def numbers(done) -> Numbers:
    assert done.exit_code == 0, done.stderr
    return json.loads(done.stdout)["runs"]


def test_numbers_are_those_of_known_offsets(clnf_torch_cli, bundle, faces, found, boxes_file):
    folder = faces((0.0, 0.0), (3.0, 4.0))
    runs = numbers(
        clnf_torch_cli("evaluate", "--data", folder, "--model", bundle, "--boxes", boxes_file, "--json", "-")
    )
    eyes = float((found[36] - found[45]).norm())
    assert runs.keys() == {"unmarked"}
    for key in ("68", "51"):
        scores = runs["unmarked"][key]
        assert (scores["faces"], scores["not_found"]) == (2, 0)
        assert scores["mean"] == pytest.approx(2.5 / eyes, rel=1e-4)
        assert scores["auc_008"] == pytest.approx(0.5 + max(0, 1 - 5 / eyes / 0.08) / 2, abs=1e-4)
    of_size = [some for name, some in runs["unmarked"]["groups"].items() if name.startswith("eye distance")]
    assert of_size == [runs["unmarked"]["68"]]


def test_the_table_and_the_failures_are_printed(clnf_torch_cli, bundle, faces, boxes_file):
    folder = faces((0.0, 0.0), (15.0, 20.0))
    done = clnf_torch_cli("evaluate", "--data", folder, "--model", bundle, "--boxes", boxes_file)
    assert done.exit_code == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith(f"2 faces of {folder}")
    assert any("68 points" in line and "51 points" in line for line in lines)
    assert any(line.split() == ["failure", "rate", "0.10", "50.0%", "50.0%"] for line in lines)
    assert any(line.strip().startswith("eye distance") and line.split()[-3] == "2" for line in lines)
    assert "unmarked: 1 of 2 faces failed at 0.10" in done.stdout
    assert lines[-1].endswith(str(folder / "1.png"))


def test_every_face_is_listed_in_the_csv_file(clnf_torch_cli, bundle, faces, found, boxes_file, tmp_path):
    folder = faces((0.0, 0.0), (3.0, 4.0), split=("a", "b"))
    words = ("evaluate", "--data", folder, "--model", bundle, "--boxes", boxes_file, "--errors", tmp_path / "e.csv")
    assert clnf_torch_cli(*words).exit_code == 0
    with open(tmp_path / "e.csv", newline="") as file:
        first, second = csv.DictReader(file)
    assert (second["image"], second["split"], second["unmarked_success"]) == (str(folder / "1.png"), "b", "1")
    assert float(first["unmarked_error_68"]) == pytest.approx(0, abs=1e-5)
    eyes = float((found[36] - found[45]).norm())
    assert float(second["unmarked_error_51"]) == pytest.approx(5 / eyes, rel=1e-3)


class Interrupted:
    """Finds landmarks until Ctrl-C comes during a call."""

    def __init__(self, call: int) -> None:
        self.left = call

    def __call__(self, *args, **options):
        self.left -= 1
        if not self.left:
            raise KeyboardInterrupt
        return find_landmarks(*args, **options)


@pytest.mark.parametrize("marked", [(), ("--marked", 3)])
def test_what_is_done_stays_and_is_gone_on_with(
    clnf_torch_cli, bundle, faces, boxes_file, tmp_path, monkeypatch, marked
):
    folder = faces(*((float(number), 0.0) for number in range(5)))
    words = ("evaluate", "--data", folder, "--model", bundle, "--boxes", boxes_file, "--batch", 2, *marked)
    for name in ("whole", "out"):
        (tmp_path / name).mkdir()
    files = [("--errors", tmp_path / name / "e.csv", "--json", tmp_path / name / "s.json") for name in ("whole", "out")]
    assert clnf_torch_cli(*words, *files[0]).exit_code == 0
    (tmp_path / "out" / "e.csv").write_text("an older result")
    monkeypatch.setattr(command, "find_landmarks", Interrupted(5 if marked else 3))
    stopped = clnf_torch_cli(*words, *files[1])
    assert stopped.exit_code == 130 and "4 faces are done, --resume goes on" in stopped.stderr.splitlines()[-1]
    expected = (tmp_path / "whole" / "e.csv").read_bytes()
    assert (tmp_path / "out" / "e.csv.partial").read_bytes() == b"".join(expected.splitlines(keepends=True)[:5])
    assert (tmp_path / "out" / "e.csv").read_text() == "an older result"
    monkeypatch.setattr(command, "find_landmarks", find_landmarks)
    again = clnf_torch_cli(*words, *files[1], "--resume")
    assert again.exit_code == 0 and "goes on behind 4 faces" in again.stderr
    for name in ("e.csv", "s.json"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert len(list((tmp_path / "out").iterdir())) == 2


def test_an_evaluation_of_other_faces_or_settings_begins_anew(
    clnf_torch_cli, bundle, faces, boxes_file, tmp_path, monkeypatch
):
    folder = faces((0.0, 0.0), (1.0, 0.0), (2.0, 0.0))
    words = ("evaluate", "--data", folder, "--model", bundle, "--boxes", boxes_file, "--json", tmp_path / "s.json")
    for more, reason in (
        (("--batch", 2), "batch is 2, not 1 as before"),
        (("--errors", tmp_path / "e.csv"), "it has other outputs"),
    ):
        monkeypatch.setattr(command, "find_landmarks", Interrupted(2))
        assert clnf_torch_cli(*words, "--batch", 1).exit_code == 130
        monkeypatch.setattr(command, "find_landmarks", find_landmarks)
        again = clnf_torch_cli(*words, *(more if "--batch" in more else ("--batch", 1, *more)), "--resume")
        assert again.exit_code == 0 and f"begins anew: {reason}" in again.stderr
    torch.save({"format": "clnf_torch evaluation", "version": 1}, tmp_path / "s.json.state")
    again = clnf_torch_cli(*words, "--resume")
    assert again.exit_code == 0 and "begins anew: its state is of another version" in again.stderr
    (tmp_path / "s.json.state").write_bytes(b"no state")
    again = clnf_torch_cli(*words, "--resume")
    assert again.exit_code == 0 and "begins anew: its state cannot be read" in again.stderr


def test_a_split_is_a_part_of_the_faces(clnf_torch_cli, bundle, faces):
    folder = faces((0.0, 0.0), (3.0, 4.0), (0.0, 1.0), split=("a", "b", "a"))
    words = ("evaluate", "--data", folder, "--model", bundle, "--json", "-")
    assert numbers(clnf_torch_cli(*words, "--split", "a"))["unmarked"]["68"]["faces"] == 2
    assert numbers(clnf_torch_cli(*words, "--split", "a", "--split", "b"))["unmarked"]["68"]["faces"] == 3
    unknown = clnf_torch_cli(*words, "--split", "c")
    assert unknown.exit_code == 1 and "no split 'c'; the annotations have 'a', 'b'" in unknown.stderr


def test_marked_faces_are_compared_with_unmarked_ones(clnf_torch_cli, bundle, faces, boxes_file):
    folder = faces((0.0, 0.0), (0.0, 0.0))
    words = ("evaluate", "--data", folder, "--model", bundle, "--boxes", boxes_file, "--marked", 3)
    runs = numbers(clnf_torch_cli(*words, "--json", "-"))
    assert runs["unmarked"]["68"]["mean"] == pytest.approx(0, abs=1e-5)
    assert runs["marked"]["68"]["mean"] > 1e-3
    assert numbers(clnf_torch_cli(*words, "--json", "-")) == runs
    table = clnf_torch_cli(*words).stdout
    assert max(map(len, table.splitlines()[1:10])) <= 80
    assert any(
        line.split() == ["68", "points", "marked", "ratio", "51", "points", "marked", "ratio"]
        for line in table.splitlines()
    )


@pytest.mark.parametrize("boxes", ["detected", "given"])
def test_every_image_is_read_once(clnf_torch_cli, bundle, faces, box, monkeypatch, boxes):
    read = []
    monkeypatch.setattr(command, "read_image", lambda path: read.append(path.name) or read_image(path))
    monkeypatch.setattr(command, "load_face_detector_for", lambda *_: FixedBox(box))
    folder = faces((0.0, 0.0), (1.0, 0.0), (2.0, 0.0))
    words = ("evaluate", "--data", folder, "--model", bundle, "--boxes", boxes, "--batch", 2, "--marked", 3)
    assert clnf_torch_cli(*words, "--json", "-").exit_code == 0
    assert sorted(read) == ["0.png", "1.png", "2.png"]


def test_the_ratio_is_that_of_marked_to_unmarked(clnf_torch_cli, bundle, faces, boxes_file):
    folder = faces((1.0, 1.0), (2.0, 0.0))
    done = clnf_torch_cli("evaluate", "--data", folder, "--model", bundle, "--boxes", boxes_file, "--marked", 3)
    (row,) = (line.split() for line in done.stdout.splitlines() if line.startswith(" mean NME"))
    unmarked, marked, ratio = map(float, row[2:5])
    assert ratio == pytest.approx(marked / unmarked, abs=0.02) and unmarked != marked


def test_perturbed_boxes_follow_their_seed(clnf_torch_cli, bundle, faces):
    folder = faces((0.0, 0.0), (3.0, 4.0))
    words = ("evaluate", "--data", folder, "--model", bundle, "--json", "-")
    given = numbers(clnf_torch_cli(*words))
    one, again, other = (numbers(clnf_torch_cli(*words, "--boxes", "perturbed", "--seed", seed)) for seed in (1, 1, 2))
    assert one == again and one != other and one != given


def test_given_boxes_are_the_boxes_around_the_landmarks(clnf_torch_cli, bundle, faces, found, image):
    offset = torch.tensor([3.0, 4.0])
    folder = faces((3.0, 4.0))
    runs = numbers(clnf_torch_cli("evaluate", "--data", folder, "--model", bundle, "--json", "-"))
    boxes = box_around((found + offset)[None])
    landmarks = clnf_torch.load(bundle).fit(read_image(image)[None], boxes).landmarks[0]
    expected = (landmarks - found - offset).norm(dim=1).mean() / (found[36] - found[45]).norm()
    assert runs["unmarked"]["68"]["mean"] == pytest.approx(float(expected), rel=1e-3)


def test_detected_faces_that_are_missed_count_as_failures(clnf_torch_cli, bundle, faces, box, monkeypatch, tmp_path):
    monkeypatch.setattr(command, "load_face_detector_for", lambda *_: FixedBox(box))
    folder = faces((0.0, 0.0), (2000.0, 0.0))
    words = ("evaluate", "--data", folder, "--model", bundle, "--boxes", "detected")
    runs = numbers(clnf_torch_cli(*words, "--json", "-", "--errors", tmp_path / "e.csv"))
    scores = runs["unmarked"]["68"]
    assert scores["not_found"] == 1 and scores["failure_rate_008"] == 0.5 and scores["percentile_90"] is None
    assert scores["mean"] == pytest.approx(0, abs=1e-5)
    assert (tmp_path / "e.csv").read_text().splitlines()[2].endswith(",inf,inf,0")
    assert f"not found  {folder / '1.png'}" in clnf_torch_cli(*words).stdout


def test_boxes_of_a_json_file_may_be_several_per_image(clnf_torch_cli, bundle, faces, box, tmp_path):
    folder = faces((0.0, 0.0), (0.0, 0.0))
    far = [0.0, 0.0, 20.0, 20.0]
    (tmp_path / "boxes.json").write_text(json.dumps({"0.png": [far, box], "1.png": []}))
    words = ("evaluate", "--data", folder, "--model", bundle, "--boxes", tmp_path / "boxes.json", "--json", "-")
    scores = numbers(clnf_torch_cli(*words))["unmarked"]["68"]
    assert scores["not_found"] == 1 and scores["mean"] == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ({"0.png": [[1, 2, 3, 4]]}, "no entry '1.png'"),
        ({"0.png": [[1, 2, 3]], "1.png": []}, "expected a list of boxes"),
        ({"0.png": ["a"], "1.png": []}, "expected a list of boxes"),
        ([], "expected a JSON object"),
    ],
)
def test_a_bad_file_of_boxes_is_one_line(clnf_torch_cli, bundle, faces, tmp_path, content, complaint):
    (tmp_path / "boxes.json").write_text(json.dumps(content))
    words = ("--data", faces((0.0, 0.0), (0.0, 0.0)), "--model", bundle, "--boxes", tmp_path / "boxes.json")
    done = clnf_torch_cli("evaluate", *words)
    (line,) = done.stderr.splitlines()
    assert done.exit_code == 1 and complaint in line


def test_an_npz_file_without_boxes_is_one_line(clnf_torch_cli, bundle, faces, tmp_path):
    np.savez(tmp_path / "boxes.npz", names=np.array(["0.png"]))
    done = clnf_torch_cli("evaluate", "--data", faces((0.0, 0.0)), "--model", bundle, "--boxes", tmp_path / "boxes.npz")
    (line,) = done.stderr.splitlines()
    assert done.exit_code == 1 and "expected names (K,) and boxes (K, 4), found names" in line


def test_what_is_missing_is_one_line(clnf_torch_cli, bundle, faces, tmp_path):
    folder = faces((0.0, 0.0))
    empty = clnf_torch_cli("evaluate", "--data", tmp_path / "nowhere", "--model", bundle)
    word = clnf_torch_cli("evaluate", "--data", folder, "--model", bundle, "--boxes", "givn")
    (folder / "0.png").unlink()
    gone = clnf_torch_cli("evaluate", "--data", folder, "--model", bundle)
    for done, complaint in ((empty, "found neither"), (word, "givn"), (gone, "0.png: cannot be read")):
        (line,) = done.stderr.splitlines()
        assert done.exit_code == 1 and complaint in line


def test_images_with_pts_files_are_faces_too(clnf_torch_cli, bundle, faces, found, boxes_file):
    folder = faces((0.0, 0.0))
    (folder / "landmarks.npz").unlink()
    points = "\n".join(f"{x + 1:.5f} {y + 1:.5f}" for x, y in found.tolist())
    (folder / "0.pts").write_text(f"version: 1\nn_points: 68\n{{\n{points}\n}}\n")
    words = ("evaluate", "--data", folder, "--model", bundle, "--boxes", boxes_file, "--json", "-")
    assert numbers(clnf_torch_cli(*words))["unmarked"]["68"]["mean"] == pytest.approx(0, abs=1e-5)


def test_curves_are_drawn(clnf_torch_cli, bundle, faces, tmp_path):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed: pip install -e '.[training]'")
    path = tmp_path / "curve.png"
    done = clnf_torch_cli("evaluate", "--data", faces((0.0, 0.0)), "--model", bundle, "--curve", path)
    assert done.exit_code == 0, done.stderr
    drawn = read_image(path)
    assert min(drawn.shape[1:]) > 400 and (drawn.amax(0) - drawn.amin(0)).amax() > 50  # coloured curves


def test_curves_of_folders_with_any_name_are_drawn(tmp_path):
    """Matplotlib takes text between dollars for a formula, and no text with a byte that is not UTF-8."""
    pytest.importorskip("matplotlib", reason="matplotlib is not installed: pip install -e '.[training]'")
    for number, name in enumerate(("caf\udce9", r"$\nothing$")):
        draw_curves(tmp_path / f"{number}.png", {"68 points": torch.rand(9) / 10}, f"9 faces of {name}")
        assert read_image(tmp_path / f"{number}.png").shape[0] == 3


def test_curves_without_matplotlib_are_refused_at_once(clnf_torch_cli, bundle, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    done = clnf_torch_cli("evaluate", "--data", tmp_path, "--model", bundle, "--curve", tmp_path / "curve.png")
    assert done.exit_code == 2 and "needs matplotlib: pip install 'clnf-torch[training]'" in " ".join(
        done.stderr.split()
    )


def test_a_curve_of_another_kind_is_refused(clnf_torch_cli, bundle, tmp_path):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed: pip install -e '.[training]'")
    done = clnf_torch_cli("evaluate", "--data", tmp_path, "--model", bundle, "--curve", tmp_path / "curve.txt")
    assert done.exit_code == 2 and ".png, .svg, .pdf" in done.stderr


@pytest.mark.slow
@pytest.mark.weights
def test_openfaces_clnf_lands_where_the_original_does(clnf_torch_cli, shared, openface_models, tmp_path):
    convert(openface_models / "main_clnf_general.txt", tmp_path / "clnf.pt")
    words = ("--model", tmp_path / "clnf.pt", "--boxes", shared / "golden" / "afw_reference.npz", "--json", "-")
    scores = numbers(clnf_torch_cli("evaluate", "--data", shared / "faces", "--split", "afw", *words))["unmarked"]["68"]
    assert scores["mean"] == pytest.approx(
        0.1107, abs=2e-4
    )  # what C++ found, see tests/training/evaluation/test_annotated.py
    assert scores["median"] == pytest.approx(0.0561, abs=2e-4)
