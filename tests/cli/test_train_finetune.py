"""``train finetune`` on copies of the free model's face: experts of both families learn, and their shapes do."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch

import clnf_torch
from clnf_torch.cli.runs import train_finetune as command
from clnf_torch.fitting.initialise import params_from_landmarks
from clnf_torch.models.bundle import build_model, default_bundle, load_bundle, save_bundle
from clnf_torch.models.landmark_model import LandmarkModel
from clnf_torch.models.patch_experts.heatmap import HeatmapExperts
from clnf_torch.models.patch_experts.unet import UNet
from tests.factories import make_pdm
from tests.training.untrained import untrained_model


@pytest.fixture
def heatmap(bundle, tmp_path) -> Path:
    """A bundle of the free model's shape and of heatmap experts that know nothing."""
    model = LandmarkModel(build_model(load_bundle(bundle)).pdm, [untrained_model().experts_at(0)])
    record = {"writer": "test", "numerics": "exact", "sources": [{"name": "nothing"}], "licence": "mine"}
    save_bundle(tmp_path / "heatmap.pt", model, **record)
    return tmp_path / "heatmap.pt"


@pytest.fixture
def tune(clnf_torch_cli, four_copies, tmp_path):
    """Runs the command on the four faces."""
    return lambda *words: clnf_torch_cli(
        "train", "finetune", four_copies, "-o", tmp_path / "tuned.pt", "--hold-out", 4, "--seed", 1, *words
    )


def fell(line: str) -> bool:
    """Whether a line tells of an error that is smaller now."""
    before, now = map(float, re.findall(r"\d+\.\d+", line.partition(":")[2] or line))
    return now < before


def test_cen_experts_learn_on(tune, bundle, few_are_enough, tmp_path):
    done = tune("--model", bundle, "--epochs", 1, "--end-to-end", 1, "--no-photometric", "--learning-rate", 1e-3)
    assert done.exit_code == 0, done.stderr
    *scales, landmarks, last = done.stdout.splitlines()
    assert [line.split(":")[0] for line in scales] == ["scale 0.25", "scale 0.35", "scale 0.5", "scale 1"]
    assert any(map(fell, scales)) and landmarks.startswith("error of the landmarks") and "tuned on 4 faces" in last
    content = load_bundle(tmp_path / "tuned.pt")
    assert content["sources"][-1] == {"name": "4 annotated faces of faces"}
    assert torch.equal(content["model"]["pdm"]["mean"], load_bundle(bundle)["model"]["pdm"]["mean"].float().double())
    assert clnf_torch.load(tmp_path / "tuned.pt").model.num_scales == 4


def test_heatmap_experts_learn_on_and_a_second_call_goes_on(tune, heatmap, few_are_enough, tmp_path):
    words = ("--model", heatmap, "--epochs", 6, "--learning-rate", 0.01, "--pen-marks", 0, "--work", tmp_path / "work")
    words = (*words, "--end-to-end", 1)
    done = tune(*words)
    assert done.exit_code == 0, done.stderr
    scale, landmarks, last = done.stdout.splitlines()
    assert scale.startswith("scale 0.15: ") and fell(scale) and "tuned on 4 faces" in last
    content, first = load_bundle(tmp_path / "tuned.pt"), (tmp_path / "tuned.pt").read_bytes()
    assert content["licence"] == "mine" and len(content["sources"]) == 2
    again = tune(*words)
    assert again.exit_code == 0 and again.stdout.splitlines()[1] == landmarks
    assert (tmp_path / "tuned.pt").read_bytes() == first
    refused = tune(*words, "--epochs", 3)
    assert refused.exit_code == 1 and "tuned_0.pt: is a checkpoint of another training" in refused.stderr


def test_without_a_folder_checkpoints_lie_beside_the_bundle_until_it_is_complete(
    tune, heatmap, few_are_enough, tmp_path, monkeypatch
):
    def interrupted(*_):
        raise KeyboardInterrupt

    words = ("--model", heatmap, "--epochs", 2, "--learning-rate", 0.01, "--pen-marks", 0, "--end-to-end", 1)
    out, folder = tmp_path / "tuned.pt", tmp_path / "tuned.pt.partial"
    assert tune(*words).exit_code == 0 and not folder.exists()
    expected = out.read_bytes()
    out.write_bytes(b"an older one")
    folder.write_bytes(b"half a bundle, of a killed run")
    with monkeypatch.context() as patch:
        patch.setattr(command, "_train_end_to_end", interrupted)
        stopped = tune(*words)
    assert stopped.exit_code == 130 and stopped.stderr.splitlines()[-1].startswith(f"clnf-torch: unfinished: {folder}")
    assert [path.name for path in folder.iterdir()] == ["tuned_0.pt"] and out.read_bytes() == b"an older one"
    (folder / "notes.txt").write_text("mine")
    assert tune(*words).exit_code == 0 and out.read_bytes() == expected
    assert [path.name for path in folder.iterdir()] == ["notes.txt"]
    assert (tmp_path / "tuned.pt.partial.1").read_bytes().startswith(b"half")


@pytest.mark.parametrize("family", ["bundle", "heatmap"])
def test_the_shape_learns_what_the_old_one_cannot_do(tune, few_are_enough, four_copies, family, request, tmp_path):
    source, table = request.getfixturevalue(family), dict(np.load(four_copies / "landmarks.npz"))
    table["landmarks"][:, 48:60, 0] += 4 * (-1) ** np.arange(12)  # zigzag lips
    np.savez(four_copies / "landmarks.npz", **table)
    done = tune("--model", source, "--shape", "--epochs", 0)
    assert done.exit_code == 0, done.stderr
    landmarks = torch.from_numpy(table["landmarks"])
    old, new = (build_model(load_bundle(path)).pdm for path in (source, tmp_path / "tuned.pt"))
    off = [float((pdm.landmarks(params_from_landmarks(pdm, landmarks)) - landmarks).norm()) for pdm in (old, new)]
    assert off[1] < 0.9 * off[0]


def test_the_default_model_is_tuned_where_no_other_is_named(tune, few_are_enough, tmp_path):
    done = tune("--epochs", 0)
    assert done.exit_code == 0, done.stderr
    before, after = load_bundle(default_bundle()), load_bundle(tmp_path / "tuned.pt")
    assert done.stdout.count("error of the response maps") == 3 and before["licence"] == after["licence"]
    assert after["face_detector"] is not None and after["validator"] is not None
    kept, written = (content["model"]["experts"][0]["network"] for content in (before, after))
    assert all(torch.equal(kept[name], written[name]) for name in kept)


def test_models_of_other_landmarks_are_refused(tune, tmp_path):
    seen = torch.ones(1, 5, dtype=torch.bool)
    network = UNet(5, (4, 8)).fuse_batchnorm()
    experts = HeatmapExperts(0.15, torch.zeros(1, 3), seen, torch.ones(1, 5), 48, network)
    five = LandmarkModel(make_pdm(torch.float32), [experts])
    save_bundle(tmp_path / "five.pt", five, writer="test", licence="", numerics="exact", sources=[])
    done = tune("--model", tmp_path / "five.pt")
    assert done.exit_code == 1 and "it has 5 landmarks and 'heatmap' experts; models of 68" in done.stderr


@pytest.mark.parametrize("rate", ["nan", "inf", "-1", "0", "1e30"])
def test_learning_rates_that_are_none_are_refused(tune, heatmap, rate):
    done = tune("--model", heatmap, "--learning-rate", rate)
    assert done.exit_code == 2 and "give a number above 0" in done.stderr


def test_too_few_faces_are_one_line(tune, heatmap):
    done = tune("--model", heatmap)
    (line,) = done.stderr.splitlines()
    assert done.exit_code == 1 and "4 faces are too few to train on; give at least 20" in line
