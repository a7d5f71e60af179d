"""CEN experts: what networks answer, dropout, and that they learn; seeds repeat, and the best epoch is kept."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from clnf_torch.fitting.initialise import params_from_landmarks
from clnf_torch.training.augmentation.photometric import NO_AUGMENTATION
from clnf_torch.training.cen import CenConfig, CenTask, ErrorStatistics, init_stack, parse_widths, predict
from clnf_torch.training.data.cen_samples import AlignedFaces, ViewRows
from clnf_torch.training.trainer import Trainer
from tests.factories import seeded
from tests.training.patterned_faces import mirror, patterned_faces, pdm


def test_widths_have_names():
    assert parse_widths("coarse") == (300, 100, 50) and parse_widths("fine") == (500, 200, 100)
    assert parse_widths("64-32") == (64, 32)


@pytest.mark.parametrize("text", ["", "64-", "64-x", "0-5", "huge"])
def test_other_widths_are_refused(text):
    with pytest.raises(ValueError, match="give coarse, fine, or numbers"):
        parse_widths(text)


def test_answers_are_those_of_the_runtime(rng):
    stack = init_stack(3, 121, (12, 9, 8), seeded(2))
    assert stack.activations == ("relu", "relu", "sigmoid", "sigmoid")
    pixels = torch.randn(3, 20, 121, generator=rng)
    with torch.no_grad():
        expected = stack(pixels, 0)
        torch.testing.assert_close(predict(stack, pixels, 0.0, seeded(1)), expected)
    assert expected.amax() < 0.5 and all(parameter.requires_grad for parameter in stack.parameters())
    assert (stack.weights[-1] >= 0).all()


def test_dropout_silences_hidden_neurons_and_keeps_their_mean(rng):
    stack = init_stack(2, 10, (40, 30), seeded(2))
    pixels = torch.randn(2, 1, 10, generator=rng).expand(2, 4000, 10)
    with torch.no_grad():
        sure = predict(stack, pixels, 0.0, seeded(1))
        unsure = predict(stack, pixels, 0.3, seeded(1))
        assert torch.equal(unsure, predict(stack, pixels, 0.3, seeded(1)))
    assert unsure.std(1).min() > 0.01
    torch.testing.assert_close(unsure.mean(1), sure.mean(1), rtol=0, atol=0.02)


def test_every_network_learns_from_its_own_patches_alone(rng):
    stack = init_stack(2, 10, (8, 8), seeded(2))
    predict(stack, torch.randn(2, 5, 10, generator=rng), 0.3, seeded(1))[0].sum().backward()
    for weight in stack.weights:
        assert weight.grad is not None and weight.grad[0].any() and not weight.grad[1].any()


def test_statistics_adds_up_over_batches(rng):
    answer, target = torch.rand(2, 3, 50, generator=rng)
    target = 0.5 * target + 0.5 * answer
    statistics = ErrorStatistics.none(3)
    for part, truth in zip(answer.split(20, 1), target.split(20, 1), strict=True):
        statistics.add(part, truth)
    for expert in range(3):
        expected = np.corrcoef(answer[expert].numpy(), target[expert].numpy())[0, 1] ** 2
        assert float(statistics.correlation[expert]) == pytest.approx(expected, rel=1e-4)
    torch.testing.assert_close(statistics.error, (answer - target).double().square().mean(1), rtol=1e-5, atol=1e-9)


def test_answers_that_do_not_vary_do_not_correlate():
    statistics = ErrorStatistics.none(1)
    statistics.add(torch.full((1, 9), 0.25), torch.arange(9.0)[None])
    assert float(statistics.correlation) == 0


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
