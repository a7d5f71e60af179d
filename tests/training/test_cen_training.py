"""Experts of a view learn; the same seed gives the same ones, and the best epoch is kept."""

from __future__ import annotations

import pytest
import torch

from clnf_torch.fitting.initialise import params_from_landmarks
from clnf_torch.training.augmentation.photometric import NO_AUGMENTATION
from clnf_torch.training.cen import CenConfig, CenTask
from clnf_torch.training.data.cen_samples import AlignedFaces, ViewRows
from clnf_torch.training.trainer import Trainer
from tests.training.patterned_faces import mirror, patterned_faces, pdm

AT = torch.tensor([0, 2])
FAST = CenConfig(epochs=4, areas=12, learning_rate=3e-3, augmentation=NO_AUGMENTATION)


def rows(first: int, last: int) -> ViewRows:
    return ViewRows(torch.arange(first, last), torch.zeros(last - first, dtype=torch.bool))


@pytest.fixture(scope="module")
def faces() -> AlignedFaces:
    crops = patterned_faces(20)
    return AlignedFaces.of(crops, pdm(), params_from_landmarks(pdm(), crops.landmarks), 0.4, mirror(), 1)


def make_task(faces: AlignedFaces, config: CenConfig = FAST, seed: int = 5) -> CenTask:
    return CenTask(config, faces, rows(0, 16), rows(16, 20), AT, (24, 12), seed)


def weights(some: CenTask) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in some.experts().stack.parameters()])


def test_experts_learn_their_landmarks(faces):
    told: list[float] = []
    task = make_task(faces, CenConfig(epochs=6, areas=12, learning_rate=3e-3, augmentation=NO_AUGMENTATION))
    Trainer(task).run(report=lambda *words: told.append(words[3]))
    experts = task.experts()
    assert len(told) == 6 and told[-1] > 0.5 > told[0]
    assert (experts.confidence > 0.3).all() and (experts.error < 0.02).all()
    assert (experts.stack.weights[-1] >= 0).all() and not any(p.requires_grad for p in experts.stack.parameters())


def test_a_seed_says_it_all(faces):
    first, again, other = (make_task(faces, FAST, seed) for seed in (5, 5, 6))
    for task in (first, again, other):
        Trainer(task).run(until=1)
    assert torch.equal(weights(first), weights(again)) and not torch.equal(weights(first), weights(other))


def test_the_best_epoch_is_kept(faces):
    task = make_task(faces)
    trainer = Trainer(task)
    trainer.run(until=2)
    good = task.experts()
    with torch.no_grad():
        for parameter in task.module.parameters():
            parameter.mul_(-1)  # an epoch of small steps does not make up for this
    trainer.run(until=3)
    kept = task.experts()
    assert torch.equal(kept.error, good.error) and torch.equal(kept.stack.weights[0], good.stack.weights[0])
