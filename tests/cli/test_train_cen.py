"""``train cen`` and ``train finetune`` on copies of the free model's face: bundles come out that find faces."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import typer
from typer.testing import CliRunner, Result

import clnf_torch
from clnf_torch.cli import train_cen
from clnf_torch.cli.media import read_picture
from clnf_torch.models.bundle import load_bundle


@pytest.fixture
def run() -> Callable[..., Result]:
    app = typer.Typer()
    app.command()(train_cen.cen)
    app.command()(train_cen.finetune)
    return lambda *words: CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture
def data(tmp_path, bundle, picture, box) -> Path:
    """Four faces, which are one."""
    found = clnf_torch.load(bundle).fit(read_picture(picture)[None], torch.tensor([box])).landmarks[0]
    (folder := tmp_path / "faces").mkdir()
    names = [f"{number}.png" for number in range(4)]
    for name in names:
        shutil.copy(picture, folder / name)
    np.savez(folder / "landmarks.npz", names=np.array(names), landmarks=np.stack([found.numpy()] * 4))
    return folder


@pytest.fixture
def few_are_enough(monkeypatch) -> None:
    monkeypatch.setattr(train_cen, "LEAST_FACES", 4)


def test_new_experts_from_a_folder_of_faces(run, data, bundle, few_are_enough, picture, box, tmp_path):
    words = ("cen", data, "--out", tmp_path / "cen.pt", "--shape", bundle, "--scale", "0.3:6-4", "--epochs", 1)
    done = run(*words, "--hold-out", 2, "--no-light", "--work", tmp_path / "work", "--licence", "mine")
    assert done.exit_code == 0, done.stderr
    assert "too few faces are turned by 20, 45, 70 degrees" in done.stderr
    assert "scale 0.3, yaw 0: squared correlation" in done.stderr
    content = load_bundle(tmp_path / "cen.pt")
    assert content["licence"] == "mine" and content["sources"] == [{"name": "4 annotated faces of faces"}]
    found = clnf_torch.load(tmp_path / "cen.pt").fit(
        read_picture(picture)[None], torch.tensor([box]), preset=clnf_torch.FitConfig(window_sizes=(5,))
    )
    assert found.landmarks.isfinite().all() and found.landmarks.shape == (1, 68, 2)
    assert (tmp_path / "work" / "cen_0_0.pt").is_file()


def test_a_bundle_learns_on(run, data, bundle, few_are_enough, tmp_path):
    words = ("finetune", bundle, data, "-o", tmp_path / "tuned.pt", "--epochs", 0, "--end-to-end", 1, "--no-light")
    done = run(*words, "--hold-out", 4, "--rate", 1e-4)
    assert done.exit_code == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line.split(":")[0] for line in lines[:4]] == ["scale 0.25", "scale 0.35", "scale 0.5", "scale 1"]
    assert lines[4].startswith("error of the landmarks") and "tuned on 4 faces" in lines[5]
    assert clnf_torch.load(tmp_path / "tuned.pt").model.num_scales == 4


@pytest.mark.parametrize("text", ["0.3", "0.3:", "x:6-4", "9:coarse", "0.3:6-x"])
def test_scales_that_are_none_are_refused(run, tmp_path, text):
    done = run("cen", tmp_path, "--out", tmp_path / "cen.pt", "--scale", text)
    assert done.exit_code == 2 and "give" in done.stderr


def test_too_few_faces_are_one_line(run, data, bundle, tmp_path):
    for words in (("cen", data), ("finetune", bundle, data)):
        done = run(*words, "--out", tmp_path / "out.pt")
        (line,) = done.stderr.splitlines()
        assert done.exit_code == 1 and "4 faces are too few to learn from; give at least 20" in line
