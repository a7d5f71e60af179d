"""The training loop: schedule, averages, early stopping; and a resumed training ends as an uninterrupted one."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from clnf_torch.fitting.initialise import params_from_landmarks
from clnf_torch.pipeline import LandmarkDetector
from clnf_torch.training.checkpoint import Checkpoint
from clnf_torch.training.data.cen_samples import AlignedFaces
from clnf_torch.training.end_to_end import EndToEndConfig, EndToEndTask, learnable_experts
from clnf_torch.training.trainer import (
    DivergedError,
    EarlyStopping,
    MovingAverage,
    Schedule,
    Task,
    Trainer,
    cosine_schedule,
    keep_freed_memory,
)
from clnf_torch.training.validator.training import ValidatorTask
from tests.factories import CONFIG, make_model
from tests.training import test_cen, test_finetune, test_heatmap
from tests.training.patterned_faces import mirror, patterned_faces, pdm
from tests.training.untrained import small_pdm
from tests.training.validator import test_training as test_validator


class Descent(Task):
    """One number that shall be 3."""

    def __init__(self, schedule: Schedule) -> None:
        self.schedule, self.module = schedule, nn.Linear(1, 1, bias=False)
        nn.init.zeros_(self.module.weight)
        self.optimiser = torch.optim.SGD(self.module.parameters(), lr=1.0)
        self.generators, self.rates, self.steps = (), [], []

    def losses(self) -> Iterator[Tensor]:
        self.rates.append(self.optimiser.param_groups[0]["lr"])
        for _ in range(2):
            yield (self.module.weight - 3).square().sum()
            self.steps.append(self.module.weight.item())


def test_weights_move_after_each_batch_at_the_rate_of_the_round():
    task = Descent(Schedule(rounds=3, learning_rate=0.2, warm_up=2, lowest=0.01))
    Trainer(task).run()
    assert task.rates == [cosine_schedule(step, 3, 0.2, 2) + 0.01 for step in range(3)]
    assert len(task.steps) == 6 and 0 < task.steps[0] < task.steps[5] < 3


def test_a_loss_that_is_no_number_ends_the_training_before_its_checkpoint(tmp_path):
    checkpoint = Checkpoint(tmp_path / "scale_0.pt", "descent")
    task = Descent(Schedule(rounds=9, learning_rate=1e19, save_every=1))
    with pytest.raises(DivergedError, match=r"^slope: expected a finite loss, found (inf|nan) in round 1 of 9; "):
        Trainer(task).run("slope", checkpoint)
    assert not checkpoint.path.exists()


def test_a_constant_rate_and_clipped_gradients():
    task = Descent(Schedule(rounds=2, learning_rate=0.5, max_grad_norm=0.1))
    Trainer(task).run()
    assert task.rates == [0.5, 0.5]
    assert task.steps == pytest.approx([0.05, 0.1, 0.15, 0.2], rel=1e-4)


def test_errors_are_measured_and_reports_are_made_when_due():
    task, judged, told = Descent(Schedule(rounds=5, learning_rate=0.1, judge_every=2)), [], []

    def judge() -> Tensor:
        judged.append(len(task.steps) // 2)
        return torch.tensor(0.0).double()

    task.early_stopping = EarlyStopping([task.module.weight], judge)
    Trainer(task).run("descent", report=lambda *words: told.append(words[:3]))
    assert judged == [0, 2, 4, 5] and told == [("descent", done, 5) for done in range(1, 6)]
    assert task.module.weight == 0 and not task.module.weight.requires_grad


def stopping_at(parameter: Tensor, *states: tuple[float, float], start: float = 5.0) -> EarlyStopping:
    """Early stopping after a parameter had some values, with some errors."""
    errors = iter([start, *(error for _, error in states)])
    stopping = EarlyStopping([parameter], lambda: torch.tensor(next(errors)).double())
    stopping.begin()
    for value, _ in states:
        parameter.data.fill_(value)
        stopping.judge()
    return stopping


def test_the_best_state_comes_back():
    parameter = nn.Parameter(torch.zeros(3))
    best = stopping_at(parameter, (1.0, 6.0), (2.0, 3.0), (4.0, float("nan")), (8.0, 4.0))
    best.restore_best()
    assert parameter.tolist() == [2.0] * 3 and best.error == 3.0 and not parameter.requires_grad


def test_steps_that_only_do_harm_are_taken_back():
    parameter = nn.Parameter(torch.zeros(3))
    best = stopping_at(parameter, (7.0, 6.0))
    best.restore_best()
    assert parameter.tolist() == [0.0] * 3 and best.error == best.before == 5.0


def test_every_expert_has_a_best_state_of_its_own():
    weights, matrix = torch.zeros(2), torch.zeros(2, 3)
    errors = iter([torch.tensor([2.0, 2.0]), torch.tensor([1.0, 3.0])])
    best = EarlyStopping([weights, matrix], lambda: next(errors), torch.full((2,), torch.inf))
    best.begin()
    for value in (1.0, 2.0):
        weights.fill_(value), matrix.fill_(value)
        best.judge()
    assert best.error.tolist() == [1.0, 2.0]
    assert best.best[0].tolist() == [2.0, 1.0] and best.best[1].tolist() == [[2.0] * 3, [1.0] * 3]


def test_the_moving_average_forgets_its_beginning_first_and_counts_as_it_is():
    module = nn.BatchNorm1d(1)
    average = MovingAverage(module, decay=0.5)
    with torch.no_grad():
        module.weight.fill_(3.0), module.num_batches_tracked.fill_(7)
    average.update(1)
    assert average.values["weight"].item() == pytest.approx(1 + 2 * (1 - 1 / 21))
    average.update(1000)
    assert average.values["weight"].item() == pytest.approx(3 - 0.5 * (3 - (1 + 2 * (1 - 1 / 21))))
    assert average.values["num_batches_tracked"] == 7


def test_the_learning_rate_rises_and_falls():
    rates = [cosine_schedule(step, 100, 3e-3, 10) for step in range(100)]
    assert rates.index(max(rates)) == 9 and 0.97 * 3e-3 < max(rates) < 3e-3
    assert rates[0] == pytest.approx(3e-4) and rates[50] == pytest.approx(1.5e-3) and rates[-1] < 1e-6


def cen_task() -> Task:
    faces = patterned_faces(20)
    upright = AlignedFaces.of(faces, pdm(), params_from_landmarks(pdm(), faces.landmarks), 0.4, mirror(), 1)
    return test_cen.make_task(upright, replace(test_cen.FAST, epochs=3, areas=24))


def end_to_end_task() -> Task:
    detector, faces = LandmarkDetector(make_model(torch.float32), "exact"), patterned_faces(6)
    learnable_experts(detector.model)
    config = EndToEndConfig(steps=4, batch=2, learning_rate=3e-2, judge_every=2, fit=replace(CONFIG, iterations=2))
    return EndToEndTask(detector, faces[:4], faces[4:], config)


def validator_task() -> Task:
    faces, params = test_validator.heads(6)
    trials = test_validator.perturbed(faces, params, 1)
    return ValidatorTask(replace(test_validator.TINY, steps=4), faces, small_pdm(), trials)


TASKS: dict[str, Callable[[], Task]] = {
    "heatmap": test_heatmap.make_task,
    "cen": cen_task,
    "finetune": lambda: test_finetune.make_task()[1],
    "end_to_end": end_to_end_task,
    "validator": validator_task,
}


def results(task: Task) -> list[Tensor]:
    """All that a training leaves behind."""
    tensors = [*task.module.state_dict().values()]
    tensors += [*task.average.values.values()] if task.average else []
    tensors += [*task.early_stopping.best, task.early_stopping.error] if task.early_stopping else []
    return [*tensors, *(generator.get_state() for generator in task.generators)]


@pytest.mark.parametrize("name", TASKS)
def test_a_resumed_training_ends_as_an_uninterrupted_one(name: str, tmp_path: Path):
    whole, begun, resumed = (TASKS[name]() for _ in range(3))
    rounds = min(4, whole.schedule.rounds)
    Trainer(whole).run(until=rounds)
    checkpoint = Checkpoint(tmp_path / "state.pt", name)
    trainer = Trainer(begun)
    trainer.run(until=2)
    checkpoint.save(trainer.state())
    told: list[int] = []
    Trainer(resumed).run(name, checkpoint, lambda _, done, *__: told.append(done), until=rounds)
    assert told == [*range(3, rounds + 1)]
    for one, other in zip(results(whole), results(resumed), strict=True):
        assert torch.equal(one, other)
    assert not all(torch.equal(one, other) for one, other in zip(results(whole), results(begun), strict=True))


def test_it_says_whether_it_works(monkeypatch):
    assert keep_freed_memory() in (True, False)
    monkeypatch.setattr(sys, "platform", "win32")
    assert keep_freed_memory() is False
