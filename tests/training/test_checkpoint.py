"""Checkpoints: what was saved comes back, and nothing else does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from clnf_torch.models.schema import Fields
from clnf_torch.training.checkpoint import Checkpoint, CheckpointError, fingerprint
from clnf_torch.training.trainer import Trainer
from tests.files.archives import with_byte
from tests.fuzz.checkpoints import ROUNDS, SmallTask

ANYTHING = Fields({})


def test_what_was_saved_comes_back(tmp_path):
    checkpoint = Checkpoint(tmp_path / "new" / "scale.pt", "task")
    checkpoint.save({"round": 3, "weights": torch.ones(2)})
    state = checkpoint.load(ANYTHING)
    assert state is not None and state["round"] == 3 and torch.equal(state["weights"], torch.ones(2))
    assert [file.name for file in checkpoint.path.parent.iterdir()] == ["scale.pt"]


def test_there_is_none_at_first(tmp_path):
    assert Checkpoint(tmp_path / "scale.pt", "task").load(ANYTHING) is None
    assert Checkpoint.within(None, "scale", "task") is None
    assert Checkpoint.within(tmp_path, "scale", "task") == Checkpoint(tmp_path / "scale.pt", "task")


def test_another_training_is_refused(tmp_path):
    Checkpoint(tmp_path / "scale.pt", "seed 0").save({})
    with pytest.raises(CheckpointError, match=r"scale\.pt: is a checkpoint of another training \(seed 0\)"):
        Checkpoint(tmp_path / "scale.pt", "seed 1").load(ANYTHING)


def test_another_layout_is_refused(tmp_path):
    torch.save({"task": "task", "state": {"step": 3}}, tmp_path / "scale.pt")  # as version 0.1 wrote it
    with pytest.raises(CheckpointError, match=r"scale\.pt: is a checkpoint of another version .* remove it to begin"):
        Checkpoint(tmp_path / "scale.pt", "task").load(ANYTHING)


@pytest.mark.parametrize("content", [b"PK but not really", None])
def test_a_damaged_one_is_refused(tmp_path, content):
    path = tmp_path / "scale.pt"
    path.write_bytes(content) if content else torch.save([1], path)
    with pytest.raises(CheckpointError, match="damaged"):
        Checkpoint(path, "task").load(ANYTHING)


def test_fingerprints_differ_where_numbers_do():
    half, flag = torch.ones(2, 3).half().mT, torch.tensor(True)
    assert fingerprint(half, flag) == fingerprint(half.clone(), flag)
    assert len({fingerprint(half, flag), fingerprint(half + 1, flag), fingerprint(half, ~flag)}) == 3


@pytest.fixture
def half_done(tmp_path):
    """The checkpoint of a training that stopped in the middle."""
    checkpoint = Checkpoint(tmp_path / "small.pt", "the task")
    Trainer(SmallTask()).run("small", checkpoint, until=ROUNDS // 2)
    return checkpoint


def edit(checkpoint: Checkpoint, change: Callable[[dict[str, Any]], Any]) -> None:
    """Changes a state under right checksums."""
    content = torch.load(checkpoint.path, weights_only=True)
    change(content["state"])
    torch.save(content, checkpoint.path)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda s: s.pop("round"), "expected a field 'round'"),
        (lambda s: s.update(round=99), r"state\.round: expected a whole number from 0 to 4, found 99"),
        (lambda s: s["weights"]["0.weight"].fill_(torch.nan), r"state\.weights\.0\.weight: .*found nan"),
        (
            lambda s: s["weights"].update({"0.bias": torch.zeros(3)}),
            r"weights\.0\.bias: expected a tensor \(4\)",
        ),
        (
            lambda s: s["weights"].update({7: torch.zeros(3)}),
            r"state\.weights: .*, found another one, 7",
        ),
        (lambda s: s["optimiser"]["state"][0].pop("exp_avg_sq"), r"optimiser\.state\.0: expected a field 'exp_avg_sq'"),
        (lambda s: s["optimiser"]["state"][0]["exp_avg_sq"].fill_(-1), r"optimiser\.state\.0\.exp_avg_sq"),
        (lambda s: s["optimiser"]["state"][0]["step"].fill_(0), r"optimiser\.state\.0\.step: expected numbers from 1"),
        (lambda s: s["weights"].pop("0.bias"), r"state\.weights: expected a field '0\.bias'"),
        (
            lambda s: s["optimiser"]["state"][0].update(exp_avg=torch.zeros(1)),
            r"optimiser\.state\.0\.exp_avg",
        ),
        (
            lambda s: s["optimiser"]["param_groups"][0].update(lr="x"),
            r"param_groups\[0\]\.lr: expected a number",
        ),
        (
            lambda s: s["optimiser"]["param_groups"][0].update(weight_decay=9.0),
            r"param_groups\[0\]\.weight_decay",
        ),
        (lambda s: s["optimiser"].update(param_groups=[]), r"optimiser\.param_groups: expected a list of 1"),
        (lambda s: s.update(generators=[]), r"state\.generators: expected a list of 1, found a list of 0"),
        (lambda s: s["generators"][0].fill_(255), "remove it"),
        (lambda s: s.update(average=None), r"state\.average: expected a dictionary"),
        (lambda s: s["early_stopping"].update(best=[]), r"early_stopping\.best: expected a list of"),
        (
            lambda s: s["early_stopping"].update(error=torch.ones(7)),
            r"early_stopping\.error: expected a tensor",
        ),
    ],
)
def test_a_state_that_does_not_fit_is_refused(half_done, change, complaint):
    edit(half_done, change)
    with pytest.raises(CheckpointError, match=complaint) as caught:
        Trainer(SmallTask()).run("small", half_done)
    assert len(str(caught.value)) <= 300 and str(caught.value).isprintable()


def test_a_changed_bit_is_refused(half_done):
    with_byte(half_done.path, "data/2")
    with pytest.raises(CheckpointError, match="does not agree with its checksum"):
        Trainer(SmallTask()).run("small", half_done)


def test_long_tasks_are_told_apart_in_a_short_message(tmp_path):
    settings = ", ".join(f"setting_{number}={number}" for number in range(500))
    Checkpoint(tmp_path / "scale.pt", f"{settings} seed=1").save({})
    with pytest.raises(CheckpointError, match=r"seed=1\); remove it to begin this one \(.*seed=2\)") as caught:
        Checkpoint(tmp_path / "scale.pt", f"{settings} seed=2").load(ANYTHING)
    assert len(str(caught.value)) <= 300


def test_a_folder_in_its_place_is_refused(tmp_path):
    (tmp_path / "scale.pt").mkdir()
    with pytest.raises(CheckpointError, match="found a damaged or another file"):
        Checkpoint(tmp_path / "scale.pt", "task").load(ANYTHING)
