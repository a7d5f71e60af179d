"""``clnf-torch convert``: a model becomes a bundle, or one line says why not."""

from __future__ import annotations

import shutil

import pytest
import torch

import clnf_torch
from clnf_torch import converters


@pytest.fixture
def writable_model(free_model, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(free_model, folder)
    return folder


@pytest.mark.parametrize("source", ["", "main_ceclm_free.txt"])
def test_a_model_becomes_a_bundle(clnf_torch_cli, free_model, tmp_path, source):
    out = tmp_path / "out.pt"
    done = clnf_torch_cli("convert", free_model / source, "-o", out)
    assert done.exit_code == 0, done.stderr
    assert clnf_torch.load_bundle(out)["model"]["pdm"]["mean"].shape == (68, 3)
    assert "68 landmarks, 10 modes" in done.stdout
    assert "licence" in done.stdout


def test_without_a_source_the_named_cache_is_converted(clnf_torch_cli, free_model, tmp_path, monkeypatch):
    cache = tmp_path / "cache" / "originals" / "lib" / "local" / "LandmarkDetector" / "model"
    shutil.copytree(free_model, cache)
    monkeypatch.setenv("OPENFACE_MODELS_DIR", str(tmp_path / "cache"))
    done = clnf_torch_cli("convert", "-o", tmp_path / "out.pt")
    assert done.exit_code == 0, done.stderr
    assert (tmp_path / "out.pt").is_file()


def test_half_stores_weights_as_float16(clnf_torch_cli, free_model, tmp_path):
    assert clnf_torch_cli("convert", free_model, "-o", tmp_path / "half.pt", "--half").exit_code == 0
    stacks = clnf_torch.load_bundle(tmp_path / "half.pt")["model"]["experts"][0]["stacks"]
    assert {weights.dtype for stack in stacks for weights in stack["weights"]} == {torch.float16}


def test_every_skipped_module_gets_a_line(clnf_torch_cli, writable_model, tmp_path):
    with open(writable_model / "main_ceclm_free.txt", "a") as main:
        main.write("DetectionValidator validator.txt\nLandmarkDetector_part main_eye.txt left_eye 36 8\n")
    done = clnf_torch_cli("convert", writable_model, "-o", tmp_path / "out.pt")
    skipped = [line for line in done.stderr.splitlines() if line.startswith("skipped: ")]
    assert done.exit_code == 0, done.stderr
    assert len(skipped) == 2
    assert "DetectionValidator validator.txt: there is no such file" in skipped[0]
    assert "left_eye: there is no such file" in skipped[1]


def test_a_damaged_file_is_one_line_exit_code_2_and_no_bundle(clnf_torch_cli, writable_model, tmp_path):
    damaged = writable_model / "cen_patches_0.50_of.dat"
    damaged.write_bytes(damaged.read_bytes()[:5000])
    (tmp_path / "out").mkdir()
    done = clnf_torch_cli("convert", writable_model, "-o", tmp_path / "out" / "model.pt")
    (line,) = done.stderr.splitlines()
    assert done.exit_code == 2
    assert line.startswith("clnf-torch: error: ")
    assert damaged.name in line
    assert list((tmp_path / "out").iterdir()) == []


def test_ctrl_c_ends_with_130(clnf_torch_cli, free_model, tmp_path, monkeypatch):
    def interrupted(*_args, progress, **_options):
        progress(1, 2)
        raise KeyboardInterrupt

    monkeypatch.setattr(converters, "convert", interrupted)
    done = clnf_torch_cli("convert", free_model, "-o", tmp_path / "out.pt")
    assert done.exit_code == 130
    assert done.stderr.splitlines() == ["clnf-torch: interrupted"]


def test_a_missing_output_is_a_usage_error(clnf_torch_cli, free_model):
    done = clnf_torch_cli("convert", free_model)
    assert done.exit_code == 2
    assert "--output" in done.stderr
