"""Fine-tuning: held-out faces decide, seeds repeat, CEN experts come nearer to the truth, the bundle loads."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

import clnf_torch
from clnf_torch.converters import convert, export
from clnf_torch.files.archive import save_archive
from clnf_torch.models.bundle import build_model, load_bundle
from clnf_torch.models.landmark_model import LandmarkModel
from clnf_torch.training.augmentation.photometric import NO_AUGMENTATION
from clnf_torch.training.augmentation.random import Sampler
from clnf_torch.training.finetune import JUDGE_REPEATS, FineTuneConfig, FineTuneTask, Losses, fine_tune, tuned_bundle
from clnf_torch.training.trainer import Trainer
from tests.factories import make_model, make_pdm
from tests.models.patch_experts.template_factories import make_ccnf
from tests.training.patterned_faces import mirror, patterned_faces

CONFIG = FineTuneConfig(epochs=3, batch=2, learning_rate=0.1, held_out=4)
FACES = 8


class Guess(nn.Module):
    """One number, which is said of every face."""

    def __init__(self) -> None:
        super().__init__()
        self.number = nn.Parameter(torch.zeros(()))


def make_task(wanted: float = 1.0, seed: int = 0, shown: list[Tensor] | None = None) -> tuple[Guess, FineTuneTask]:
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
    Trainer(make_task(shown=shown)[1]).run(until=1)
    assert torch.cat(shown).sort().values.tolist() == [0, 1, 3, 4, 5, 7]


def test_what_helps_stays():
    guess, task = make_task()
    Trainer(task).run()
    assert task.early_stopping.error < 0.7 * task.early_stopping.before
    assert guess.number > 0.3 and not guess.number.requires_grad


def test_what_does_harm_is_taken_back():
    guess, task = make_task(wanted=-1.0)
    Trainer(task).run(until=CONFIG.epochs - 1)
    assert guess.number > 0.3
    guess, task = make_task(wanted=-1.0)
    Trainer(task).run()
    assert guess.number == 0 and task.early_stopping.error == task.early_stopping.before


def test_seeds_differ():
    numbers = []
    for seed in (0, 0, 1):
        guess, task = make_task(seed=seed)
        Trainer(task).run()
        numbers.append(guess.number.item())
    assert numbers[0] == numbers[1] != numbers[2]


def test_too_few_faces_to_hold_any_out_are_judged_themselves():
    shown: list[Tensor] = []

    def judge(rows: Tensor, _: Sampler) -> Tensor:
        shown.append(rows)
        return rows.float().mean()

    task = FineTuneTask(Guess(), Losses(judge, judge), torch.zeros(3, 3), replace(CONFIG, held_out=9, epochs=0), 0)
    Trainer(task).run()
    assert (
        torch.cat(shown).sort().values.tolist() == sorted([0, 1, 2] * JUDGE_REPEATS) and task.early_stopping.before > 0
    )


FAST = FineTuneConfig(epochs=2, batch=4, learning_rate=1e-2, held_out=4, augmentation=NO_AUGMENTATION)


def numbers(model: clnf_torch.LandmarkModel) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in model.experts.parameters()])


def test_responses_come_nearer_to_the_truth():
    model, told = make_model(torch.float32), []
    result = fine_tune(model, patterned_faces(12), mirror(), FAST, report=lambda *words: told.append(words))
    assert all(after < 0.9 * before for before, after in zip(result.before, result.after, strict=True))
    assert [words[:3] for words in told] == [(f"scale {scale}", epoch, 2) for scale in (0.25, 0.5) for epoch in (1, 2)]
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_experts_of_views_without_faces_stay_as_they_are():
    before, model = make_model(torch.float32), make_model(torch.float32)
    fine_tune(model, patterned_faces(8), mirror(), replace(FAST, epochs=1))
    for index in range(2):
        old, new = before.experts_at(index).stacks[0].weights[0], model.experts_at(index).stacks[0].weights[0]
        assert not torch.equal(old[:2], new[:2])  # of the frontal view
        assert torch.equal(old[2:], new[2:])  # of turned heads


def test_a_seed_repeats_itself():
    models = [make_model(torch.float32) for _ in range(3)]
    for model, seed in zip(models, (0, 0, 1), strict=True):
        fine_tune(model, patterned_faces(8), mirror(), replace(FAST, epochs=1, seed=seed))
    assert torch.equal(numbers(models[0]), numbers(models[1])) and not torch.equal(
        numbers(models[0]), numbers(models[2])
    )


@pytest.mark.parametrize("half", [False, True])
def test_a_tuned_bundle_loads_and_is_exported(golden_dir, tmp_path, half):
    convert(golden_dir / "free_model", tmp_path / "free.pt", half=half)
    bundle = load_bundle(tmp_path / "free.pt")
    model = build_model(bundle)
    with torch.no_grad():
        for parameter in model.experts.parameters():
            parameter.data = parameter.float() * 1.01
    save_archive(tuned_bundle(bundle, model, "3 faces"), tmp_path / "tuned.pt")
    tuned = load_bundle(tmp_path / "tuned.pt")
    assert tuned["licence"] == bundle["licence"] and tuned["sources"][-1] == {"name": "3 faces"}
    torch.testing.assert_close(numbers(build_model(tuned)), numbers(model))
    files = export(tmp_path / "tuned.pt", tmp_path / "back")
    assert len(files) == 7 and load_bundle(tmp_path / "free.pt")["model"]["experts"][0]["openface"]


def test_other_families_are_refused():
    model = LandmarkModel(make_pdm(torch.float32), [make_ccnf()])
    with pytest.raises(ValueError, match="train_end_to_end any"):
        fine_tune(model, patterned_faces(2), mirror())
