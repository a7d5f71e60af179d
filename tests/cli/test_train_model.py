"""``clnf-torch train model`` from images to a bundle: in a few steps, stopped and resumed, and with bad input."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from clnf_torch.cli.main import app
from clnf_torch.models.bundle import load_bundle
from clnf_torch.pipeline import load
from tests.mtcnns import make_mtcnn_record
from tests.training.heads import make_crops, make_gaussian, make_heads

FEW = ("--effort", "0.0002", "--hold-out", "3", "--threads", "1")


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    """Twelve images of dots with their annotations, shapes to begin with, and a bundle with a face detector."""
    from clnf_torch.models.archive import save_archive
    from clnf_torch.models.bundle import FORMAT, VERSION

    folder = tmp_path_factory.mktemp("faces")
    pdm = make_gaussian().pdm()
    crops = make_crops(pdm.landmarks(make_heads(pdm, 12)))
    for row, (gray, landmarks) in enumerate(zip(crops.gray, crops.landmarks, strict=True)):
        cv2.imwrite(str(folder / f"{row}.png"), gray.numpy())
        points = "\n".join(f"{x + 1:.3f} {y + 1:.3f}" for x, y in landmarks.tolist())
        (folder / f"{row}.pts").write_text(f"version: 1\nn_points: 68\n{{\n{points}\n}}\n")
    own = folder.parent
    mean, moves = pdm.mean.detach().numpy() / 10 * np.array([1, -1, -1]), pdm.modes.detach().numpy() / 10
    np.savez(own / "shapes.npz", mean=mean, identity=moves * [1, -1, -1], expression=np.zeros((1, 68, 3)))
    save_archive({"format": FORMAT, "version": VERSION, "face_detector": make_mtcnn_record()}, own / "detector.pt")
    return folder


def run(faces, out, *more: str):
    given = ("--prior", str(faces.parent / "shapes.npz"), "--detector", str(faces.parent / "detector.pt"))
    command = ("train", "model", str(faces), "-o", str(out), "--work", str(out.parent / "work"), *given, *FEW, *more)
    return CliRunner().invoke(app, command)


def test_a_bundle_is_made_and_made_again(faces, tmp_path):
    ended = run(faces, tmp_path / "model.pt")
    assert ended.exit_code == 0, ended.output
    assert "8 faces, 4 held out" in ended.output
    bundle = load_bundle(tmp_path / "model.pt")
    assert bundle["face_detector"]["kind"] == "mtcnn" and bundle["validator"]["kind"] == "cnn"
    assert "research use only" in bundle["licence"] and bundle["sources"] == [{"name": "faces: 12 faces"}]
    assert load(tmp_path / "model.pt").validator is not None
    first = (tmp_path / "model.pt").read_bytes()
    assert run(faces, tmp_path / "model.pt").exit_code == 0
    assert (tmp_path / "model.pt").read_bytes() == first
    described = CliRunner().invoke(app, ("info", str(tmp_path / "model.pt"))).output
    assert "HEATMAP" in described and "experts again" in described and "trained on" in described


def test_a_bundle_without_a_face_detector_is_refused_at_once(faces, bundle, tmp_path):
    ended = run(faces, tmp_path / "model.pt", "--detector", str(bundle))
    assert ended.exit_code == 1 and "holds no face detector" in ended.output and not (tmp_path / "work").exists()


def test_checkpoints_of_another_training_are_refused(faces, tmp_path):
    assert run(faces, tmp_path / "model.pt").exit_code == 0
    ended = run(faces, tmp_path / "other.pt", "--seed", "4")
    assert ended.exit_code == 1 and "is a checkpoint of another training" in ended.output


@pytest.mark.parametrize(
    ("option", "value", "complaint"),
    [("--effort", "0", "give a number above 0"), ("--hold-out", "9", "faces are too few"), ("--split", "x", "x")],
)
def test_bad_words_are_refused(faces, tmp_path, option, value, complaint):
    ended = run(faces, tmp_path / "model.pt", option, value)
    assert ended.exit_code != 0 and complaint in ended.output and not (tmp_path / "model.pt").exists()
