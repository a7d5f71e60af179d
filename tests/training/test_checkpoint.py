"""Checkpoints: what was saved comes back, and nothing else does."""

from __future__ import annotations

import pytest
import torch

from clnf_torch.training.checkpoint import Checkpoint, CheckpointError, fingerprint


def test_what_was_saved_comes_back(tmp_path):
    checkpoint = Checkpoint(tmp_path / "new" / "scale.pt", "task")
    checkpoint.save({"round": 3, "weights": torch.ones(2)})
    state = checkpoint.load()
    assert state is not None and state["round"] == 3 and torch.equal(state["weights"], torch.ones(2))
    assert [file.name for file in checkpoint.path.parent.iterdir()] == ["scale.pt"]


def test_there_is_none_at_first(tmp_path):
    assert Checkpoint(tmp_path / "scale.pt", "task").load() is None
    assert Checkpoint.within(None, "scale", "task") is None
    assert Checkpoint.within(tmp_path, "scale", "task") == Checkpoint(tmp_path / "scale.pt", "task")


def test_another_training_is_refused(tmp_path):
    Checkpoint(tmp_path / "scale.pt", "seed 0").save({})
    with pytest.raises(CheckpointError, match=r"scale\.pt: is a checkpoint of another training \(seed 0\)"):
        Checkpoint(tmp_path / "scale.pt", "seed 1").load()


def test_another_layout_is_refused(tmp_path):
    torch.save({"task": "task", "state": {"step": 3}}, tmp_path / "scale.pt")  # as version 0.1 wrote it
    with pytest.raises(CheckpointError, match=r"scale\.pt: is a checkpoint of another version .* remove it to begin"):
        Checkpoint(tmp_path / "scale.pt", "task").load()


@pytest.mark.parametrize("content", [b"PK but not really", None])
def test_a_damaged_one_is_refused(tmp_path, content):
    path = tmp_path / "scale.pt"
    path.write_bytes(content) if content else torch.save([1], path)
    with pytest.raises(CheckpointError, match="damaged"):
        Checkpoint(path, "task").load()


def test_fingerprints_differ_where_numbers_do():
    half, flag = torch.ones(2, 3).half().mT, torch.tensor(True)
    assert fingerprint(half, flag) == fingerprint(half.clone(), flag)
    assert len({fingerprint(half, flag), fingerprint(half + 1, flag), fingerprint(half, ~flag)}) == 3
