"""Networks side by side: what they answer, what dropout does, and how their agreement with the truth is counted."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from clnf_torch.training.cen import ErrorStatistics, answers, init_stack, parse_widths
from tests.factories import seeded


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
        torch.testing.assert_close(answers(stack, pixels, 0.0, seeded(1)), expected)
    assert expected.amax() < 0.5 and all(parameter.requires_grad for parameter in stack.parameters())
    assert (stack.weights[-1] >= 0).all()


def test_dropout_silences_hidden_neurons_and_keeps_their_mean(rng):
    stack = init_stack(2, 10, (40, 30), seeded(2))
    pixels = torch.randn(2, 1, 10, generator=rng).expand(2, 4000, 10)
    with torch.no_grad():
        sure = answers(stack, pixels, 0.0, seeded(1))
        unsure = answers(stack, pixels, 0.3, seeded(1))
        assert torch.equal(unsure, answers(stack, pixels, 0.3, seeded(1)))
    assert unsure.std(1).min() > 0.01
    torch.testing.assert_close(unsure.mean(1), sure.mean(1), rtol=0, atol=0.02)


def test_every_network_learns_from_its_own_patches_alone(rng):
    stack = init_stack(2, 10, (8, 8), seeded(2))
    answers(stack, torch.randn(2, 5, 10, generator=rng), 0.3, seeded(1))[0].sum().backward()
    for weight in stack.weights:
        assert weight.grad is not None and weight.grad[0].any() and not weight.grad[1].any()


def test_agreement_adds_up_over_batches(rng):
    answer, target = torch.rand(2, 3, 50, generator=rng)
    target = 0.5 * target + 0.5 * answer
    agreement = ErrorStatistics.none(3)
    for part, truth in zip(answer.split(20, 1), target.split(20, 1), strict=True):
        agreement.add(part, truth)
    for expert in range(3):
        expected = np.corrcoef(answer[expert].numpy(), target[expert].numpy())[0, 1] ** 2
        assert float(agreement.correlation[expert]) == pytest.approx(expected, rel=1e-4)
    torch.testing.assert_close(agreement.error, (answer - target).double().square().mean(1), rtol=1e-5, atol=1e-9)


def test_answers_that_do_not_vary_do_not_correlate():
    agreement = ErrorStatistics.none(1)
    agreement.add(torch.full((1, 9), 0.25), torch.arange(9.0)[None])
    assert float(agreement.correlation) == 0
