"""The loop in which experts learn on: held-out faces decide, seeds repeat, and a stopped tuning goes on."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from clnf_torch.training.augmentation.random import Sampler
from clnf_torch.training.tuning import LOOKS, Losses, Tuning, TuningConfig

CONFIG = TuningConfig(epochs=3, batch=2, rate=0.1, held_out=4)
FACES = 8


class Guess(nn.Module):
    """One number, which is said of every face."""

    def __init__(self) -> None:
        super().__init__()
        self.number = nn.Parameter(torch.zeros(()))


def make_tuning(wanted: float = 1.0, seed: int = 0, shown: list[Tensor] | None = None) -> tuple[Guess, Tuning]:
    """Faces of which 1 is learned; what the judges want is said."""
    guess = Guess()

    def learn(rows: Tensor, dice: Sampler) -> Tensor:
        if shown is not None:
            shown.append(rows)
        return (guess.number - 1 + dice.normal(0.1, len(rows))).square().mean()

    def judge(rows: Tensor, dice: Sampler) -> Tensor:
        return (guess.number - wanted + dice.normal(0.1, len(rows))).square().mean()

    turned = torch.zeros(FACES, 3)
    turned[:, 1] = torch.arange(FACES) / 10
    return guess, Tuning(guess, Losses(learn, judge), turned, CONFIG, seed)


def run(tuning: Tuning, epochs: int = CONFIG.epochs) -> None:
    for _ in range(epochs):
        tuning.one_epoch()


def test_every_face_is_shown_once_but_those_held_out():
    shown: list[Tensor] = []
    _, tuning = make_tuning(shown=shown)
    run(tuning, 1)
    assert torch.cat(shown).sort().values.tolist() == [0, 1, 3, 4, 5, 7]


def test_what_helps_stays():
    guess, tuning = make_tuning()
    run(tuning)
    tuning.finish()
    assert tuning.error < 0.7 * tuning.before and guess.number > 0.3 and not guess.number.requires_grad


def test_what_does_harm_is_taken_back():
    guess, tuning = make_tuning(wanted=-1.0)
    run(tuning)
    assert guess.number > 0.3
    tuning.finish()
    assert guess.number == 0 and tuning.error == tuning.before


def test_a_stopped_tuning_goes_on(tmp_path):
    (whole, at_once), (_, begun), (resumed, later) = (make_tuning() for _ in range(3))
    run(at_once)
    run(begun, 2)
    torch.save(begun.state(), tmp_path / "state.pt")
    later.restore(torch.load(tmp_path / "state.pt", weights_only=True))
    assert later.epoch == 2 and later.error == begun.error
    run(later, 1)
    assert torch.equal(whole.number, resumed.number) and later.error == at_once.error
    another, other = make_tuning(seed=1)
    run(other)
    assert not torch.equal(another.number, whole.number)


def test_too_few_faces_to_hold_any_out_are_judged_themselves():
    shown: list[Tensor] = []

    def judge(rows: Tensor, _: Sampler) -> Tensor:
        shown.append(rows)
        return rows.float().mean()

    tuning = Tuning(Guess(), Losses(judge, judge), torch.zeros(3, 3), replace(CONFIG, held_out=9), 0)
    assert torch.cat(shown).sort().values.tolist() == sorted([0, 1, 2] * LOOKS) and tuning.before > 0
