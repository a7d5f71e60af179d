"""``train eyes``: a model gets eyes from rendered faces, and finds their landmarks."""

from __future__ import annotations

import shutil
from pathlib import Path

import torch

import clnf_torch
from clnf_torch.media.images import read_image
from clnf_torch.models.bundle import load_bundle
from clnf_torch.training.eyes.parts import EYES, eye_regions
from clnf_torch.training.free.photographed_eyes import EYE_SOURCE
from clnf_torch.training.synthetic.face_shards import shard_path, write_shard
from tests.training.rendered_eyes import looking

# In which the default face detector finds the face
ASTRONAUT = Path(__file__).parents[2] / "docs" / "images" / "astronaut.jpg"


def test_a_model_gets_eyes_and_finds_them(clnf_torch_cli, bundle, image, box, tmp_path):
    (tmp_path / "faces").mkdir()
    write_shard(shard_path(tmp_path / "faces", range(6)), looking(6))
    out = tmp_path / "with_eyes.pt"
    (tmp_path / "portraits").mkdir()
    shutil.copy(ASTRONAUT, tmp_path / "portraits")
    steps = "--steps", 2, "--gaze-steps", 2, "--portraits", tmp_path / "portraits"
    done = clnf_torch_cli("train", "eyes", tmp_path / "faces", "-o", out, "--model", bundle, *steps)
    assert done.exit_code == 0, done.stderr
    assert "trained on 12" in done.stdout
    # Nothing is left of the checkpoints
    assert sorted(path.name for path in tmp_path.iterdir()) == ["faces", "portraits", "with_eyes.pt"]
    content = load_bundle(out)
    assert [part["name"] for part in content["model"]["parts"]] == list(EYES)
    assert content["sources"][-2] == {"name": "12 rendered eyes of faces, gaze by 12 of them"}
    assert content["sources"][-1]["name"].endswith("portraits of people who look into the camera")
    found = clnf_torch.load(out).fit(read_image(image)[None], torch.tensor([box]))
    assert found.eye_landmarks is not None and found.eye_landmarks.shape == (1, 56, 2)
    assert found.gaze is not None and found.gaze.shape == (1, 2, 3)


def test_a_folder_without_faces_is_named(clnf_torch_cli, bundle, tmp_path):
    done = clnf_torch_cli("train", "eyes", tmp_path, "-o", tmp_path / "out.pt", "--model", bundle)
    assert done.exit_code == 1 and "holds no rendered faces" in done.stderr


def test_eyes_of_photographs_are_named_among_the_sources(clnf_torch_cli, bundle, tmp_path, monkeypatch):
    (tmp_path / "faces").mkdir()
    write_shard(shard_path(tmp_path / "faces", range(6)), looking(6))
    asked = []

    def photographed(templates, files, read, taught, seed):
        """Two rendered eyes."""
        assert read is read_image
        asked.append((templates, list(files), taught, seed))
        return eye_regions([looking(6)]).crops[:2]

    monkeypatch.setattr("clnf_torch.cli.runs.train_eyes.photographed_eyes", photographed)
    out, templates = tmp_path / "out.pt", tmp_path / "london"
    options = "--steps", 1, "--gaze-steps", 1, "--templates", templates
    done = clnf_torch_cli("train", "eyes", tmp_path / "faces", "-o", out, "--model", bundle, *options)
    assert done.exit_code == 0, done.stderr
    assert asked == [(templates, [], False, 0)]
    names = [source["name"] for source in load_bundle(out)["sources"]]
    assert "2 eyes of photographs, some moved: london" in names and EYE_SOURCE not in names


def test_a_teacher_wants_templates_and_portraits(clnf_torch_cli, bundle, tmp_path):
    done = clnf_torch_cli("train", "eyes", tmp_path, "-o", tmp_path / "out.pt", "--model", bundle, "--teacher")
    assert done.exit_code == 1 and "give both" in done.stderr
