"""``train cen`` on copies of the free model's face: a bundle comes out that finds faces."""

from __future__ import annotations

import pytest
import torch

import clnf_torch
from clnf_torch.media.images import read_image
from clnf_torch.models.bundle import load_bundle


def test_new_experts_from_a_folder_of_faces(clnf_torch_cli, four_copies, bundle, few_are_enough, image, box, tmp_path):
    words = (
        "train",
        "cen",
        four_copies,
        "--out",
        tmp_path / "cen.pt",
        "--shape",
        bundle,
        "--scale",
        "0.3:6-4",
        "--epochs",
        1,
    )
    done = clnf_torch_cli(*words, "--hold-out", 2, "--no-photometric", "--work", tmp_path / "work", "--licence", "mine")
    assert done.exit_code == 0, done.stderr
    assert "too few faces are turned by 20, 45, 70 degrees" in done.stderr
    assert "scale 0.3, yaw 0: squared correlation" in done.stderr
    content = load_bundle(tmp_path / "cen.pt")
    assert content["licence"] == "mine" and content["sources"] == [{"name": "4 annotated faces of faces"}]
    found = clnf_torch.load(tmp_path / "cen.pt").fit(
        read_image(image)[None], torch.tensor([box]), preset=clnf_torch.FitConfig(window_sizes=(5,))
    )
    assert found.landmarks.isfinite().all() and found.landmarks.shape == (1, 68, 2)
    assert (tmp_path / "work" / "cen_0_0.pt").is_file()
    assert not (tmp_path / "cen.pt.partial").exists()


@pytest.mark.parametrize("text", ["0.3", "0.3:", "x:6-4", "9:coarse", "0.3:6-x"])
def test_scales_that_are_none_are_refused(clnf_torch_cli, tmp_path, text):
    done = clnf_torch_cli("train", "cen", tmp_path, "--out", tmp_path / "cen.pt", "--scale", text)
    assert done.exit_code == 2 and "give" in done.stderr


def test_learning_rates_that_are_none_are_refused(clnf_torch_cli, tmp_path):
    done = clnf_torch_cli("train", "cen", tmp_path, "--out", tmp_path / "cen.pt", "--learning-rate", "nan")
    assert done.exit_code == 2 and "give a number above 0" in done.stderr


def test_too_few_faces_are_one_line(clnf_torch_cli, four_copies, tmp_path):
    done = clnf_torch_cli("train", "cen", four_copies, "--out", tmp_path / "out.pt")
    (line,) = done.stderr.splitlines()
    assert done.exit_code == 1 and "4 faces are too few to train on; give at least 20" in line
