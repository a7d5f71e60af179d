"""Checkpoints: what was saved comes back, and nothing else does."""

from __future__ import annotations

import pytest
import torch

from clnf_torch.training.trainer import CheckpointError, load_checkpoint, save_checkpoint


def test_what_was_saved_comes_back(tmp_path):
    path = tmp_path / "new" / "scale.pt"
    save_checkpoint(path, "task", {"step": 3, "weights": torch.ones(2)})
    state = load_checkpoint(path, "task")
    assert state is not None and state["step"] == 3 and torch.equal(state["weights"], torch.ones(2))
    assert [file.name for file in path.parent.iterdir()] == ["scale.pt"]


def test_there_is_none_at_first(tmp_path):
    assert load_checkpoint(tmp_path / "scale.pt", "task") is None


def test_another_training_is_refused(tmp_path):
    save_checkpoint(tmp_path / "scale.pt", "seed 0", {})
    with pytest.raises(CheckpointError, match=r"scale\.pt: is a checkpoint of another training \(seed 0\)"):
        load_checkpoint(tmp_path / "scale.pt", "seed 1")


def test_a_damaged_one_is_refused(tmp_path):
    (tmp_path / "scale.pt").write_bytes(b"PK but not really")
    with pytest.raises(CheckpointError, match="damaged"):
        load_checkpoint(tmp_path / "scale.pt", "task")
