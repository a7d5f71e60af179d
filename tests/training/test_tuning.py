"""The loop in which experts learn on: held-out faces decide, and seeds repeat."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from clnf_torch.training.augmentation.random import Sampler
from clnf_torch.training.trainer import Trainer
from clnf_torch.training.tuning import JUDGE_REPEATS, FineTuneConfig, FineTuneTask, Losses

CONFIG = FineTuneConfig(epochs=3, batch=2, learning_rate=0.1, held_out=4)
FACES = 8


class Guess(nn.Module):
    """One number, which is said of every face."""

    def __init__(self) -> None:
        super().__init__()
        self.number = nn.Parameter(torch.zeros(()))


def make_tuning(wanted: float = 1.0, seed: int = 0, shown: list[Tensor] | None = None) -> tuple[Guess, FineTuneTask]:
    """Faces of which 1 is learned; what the judges want is said."""
    guess = Guess()

    def learn(rows: Tensor, sampler: Sampler) -> Tensor:
        if shown is not None:
            shown.append(rows)
        return (guess.number - 1 + sampler.normal(0.1, len(rows))).square().mean()

    def judge(rows: Tensor, sampler: Sampler) -> Tensor:
        return (guess.number - wanted + sampler.normal(0.1, len(rows))).square().mean()

    turned = torch.zeros(FACES, 3)
    turned[:, 1] = torch.arange(FACES) / 10
    return guess, FineTuneTask(guess, Losses(learn, judge), turned, CONFIG, seed)


def test_every_face_is_shown_once_but_those_held_out():
    shown: list[Tensor] = []
    Trainer(make_tuning(shown=shown)[1]).run(until=1)
    assert torch.cat(shown).sort().values.tolist() == [0, 1, 3, 4, 5, 7]


def test_what_helps_stays():
    guess, tuning = make_tuning()
    Trainer(tuning).run()
    assert tuning.early_stopping.error < 0.7 * tuning.early_stopping.before
    assert guess.number > 0.3 and not guess.number.requires_grad


def test_what_does_harm_is_taken_back():
    guess, tuning = make_tuning(wanted=-1.0)
    Trainer(tuning).run(until=CONFIG.epochs - 1)
    assert guess.number > 0.3
    guess, tuning = make_tuning(wanted=-1.0)
    Trainer(tuning).run()
    assert guess.number == 0 and tuning.early_stopping.error == tuning.early_stopping.before


def test_seeds_differ():
    numbers = []
    for seed in (0, 0, 1):
        guess, tuning = make_tuning(seed=seed)
        Trainer(tuning).run()
        numbers.append(guess.number.item())
    assert numbers[0] == numbers[1] != numbers[2]


def test_too_few_faces_to_hold_any_out_are_judged_themselves():
    shown: list[Tensor] = []

    def judge(rows: Tensor, _: Sampler) -> Tensor:
        shown.append(rows)
        return rows.float().mean()

    tuning = FineTuneTask(Guess(), Losses(judge, judge), torch.zeros(3, 3), replace(CONFIG, held_out=9, epochs=0), 0)
    Trainer(tuning).run()
    assert (
        torch.cat(shown).sort().values.tolist() == sorted([0, 1, 2] * JUDGE_REPEATS)
        and tuning.early_stopping.before > 0
    )
