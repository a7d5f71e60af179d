"""Experts of a view learn; the same seed gives the same ones, in one go or in two."""

from __future__ import annotations

import pytest
import torch

from clnf_torch.fitting.initialise import params_from_landmarks
from clnf_torch.training.augmentation.photometric import CLEAN, ImageAugmentation
from clnf_torch.training.cen import CenConfig, CenTraining
from clnf_torch.training.data.cen_samples import UprightFaces, ViewRows
from tests.training.patterned_faces import mirror, patterned_faces, pdm

AT = torch.tensor([0, 2])
FAST = CenConfig(epochs=4, areas=12, rate=3e-3, spoiling=CLEAN)


def rows(first: int, last: int) -> ViewRows:
    return ViewRows(torch.arange(first, last), torch.zeros(last - first, dtype=torch.bool))


@pytest.fixture(scope="module")
def faces() -> UprightFaces:
    crops = patterned_faces(20)
    return UprightFaces.of(crops, pdm(), params_from_landmarks(pdm(), crops.landmarks), 0.4, mirror(), 1)


def training(faces: UprightFaces, config: CenConfig = FAST, seed: int = 5) -> CenTraining:
    return CenTraining(config, faces, rows(0, 16), rows(16, 20), AT, (24, 12), seed)


def weights(some: CenTraining) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in some.experts().stack.parameters()])


def test_experts_learn_their_landmarks(faces):
    told: list[float] = []
    some = training(faces, CenConfig(epochs=6, areas=12, rate=3e-3, spoiling=CLEAN))
    some.run(report=lambda epoch, confidence: told.append(float(confidence.mean())))
    experts = some.experts()
    assert len(told) == 6 and told[-1] > 0.5 > told[0]
    assert (experts.confidence > 0.3).all() and (experts.error < 0.02).all()
    assert (experts.stack.weights[-1] >= 0).all() and not any(p.requires_grad for p in experts.stack.parameters())


def test_a_seed_says_it_all(faces):
    first, again, other = (training(faces, FAST, seed) for seed in (5, 5, 6))
    for some in (first, again, other):
        some.run(until=1)
    assert torch.equal(weights(first), weights(again)) and not torch.equal(weights(first), weights(other))


def test_training_goes_on_from_its_state(faces, tmp_path):
    config = CenConfig(epochs=2, areas=24, rate=3e-3, spoiling=ImageAugmentation(light=True))
    whole, begun, rest = (training(faces, config) for _ in range(3))
    whole.run()
    begun.run(until=1)
    torch.save(begun.state(), tmp_path / "state.pt")
    rest.restore(torch.load(tmp_path / "state.pt", weights_only=True))
    rest.run()
    assert rest.epoch == 2 and torch.equal(weights(rest), weights(whole))
    assert torch.equal(rest.experts().confidence, whole.experts().confidence)


def test_the_best_epoch_is_kept(faces):
    some = training(faces)
    some.run(until=2)
    good = some.experts()
    with torch.no_grad():
        for parameter in some.stack.parameters():
            parameter.mul_(-1)  # an epoch of small steps does not make up for this
    some.run(until=3)
    kept = some.experts()
    assert torch.equal(kept.error, good.error) and torch.equal(kept.stack.weights[0], good.stack.weights[0])
