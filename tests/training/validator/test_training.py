"""The validator's training: what it sees, and that it learns."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from clnf_torch.detection.validator import DetectionValidator
from clnf_torch.fitting.images import ImageBatch
from clnf_torch.models.numerics import EXACT
from clnf_torch.training.augmentation.random import Sampler
from clnf_torch.training.checkpoint import CheckpointError
from clnf_torch.training.data.trial_fits import TrialFits, perturb_shapes
from clnf_torch.training.evaluation import annotated
from clnf_torch.training.evaluation.annotated import evaluate_validator, validator_scores
from clnf_torch.training.trainer import Trainer
from clnf_torch.training.validator.training import ValidatorConfig, ValidatorTask, train_validator
from tests.factories import seeded
from tests.training.heads import make_crops, make_heads
from tests.training.untrained import small_pdm, untrained_model

TINY = ValidatorConfig(side=24, widths=(4, 8), hidden=8, levels=1, steps=3, batch=8)
QUICK = replace(
    TINY, widths=(8, 16), hidden=32, steps=300, batch=32, learning_rate=5e-3, pen_marks=0.0, failure_limit=0.1
)
CPU = torch.device("cpu")


def heads(count: int, seed: int = 3):
    """Crops with made-up heads, and the parameters of each."""
    params = make_heads(small_pdm().double(), count, seed)
    single = type(params)(*(value.float() for value in vars(params).values()))
    return make_crops(small_pdm().landmarks(single)), single


def perturbed(faces, params, seed: int) -> TrialFits:
    return TrialFits.of(
        faces, torch.arange(len(faces)), perturb_shapes(small_pdm(), params, Sampler(seeded(seed), CPU))
    )


def test_training_sees_what_the_runtime_sees():
    faces, params = heads(4)
    trials = perturbed(faces, params, 1)
    task = ValidatorTask(TINY, faces, small_pdm(), trials)
    validator = DetectionValidator.from_record(task.record())
    view = validator.views[0]
    images = ImageBatch(faces.gray, trials.face)
    pixels = view.warp(images, trials.landmarks, torch.zeros(4, 2), EXACT)
    task.module.half().float()  # as a bundle keeps them
    with torch.no_grad():
        torch.testing.assert_close(task._view(pixels), view(pixels))
    confidence = validator(images, params.rotation, trials.landmarks, EXACT)
    assert confidence.shape == (4,) and ((confidence >= 0.025) & (confidence <= 0.975)).all()


def test_statistics_are_those_of_true_faces():
    faces, params = heads(30)
    task = ValidatorTask(TINY, faces, small_pdm(), perturbed(faces, params, 1))
    view = DetectionValidator.from_record(task.record()).views[0]
    true = small_pdm().landmarks(params)
    seen = view.normalise(view.warp(ImageBatch(faces.gray, torch.arange(30)), true, torch.zeros(30, 2), EXACT))
    assert float(seen.mean().abs()) < 0.2 and 0.7 < float(seen.std()) < 1.3


def test_training_separates_right_from_wrong_landmarks():
    faces, params = heads(60)
    task = ValidatorTask(QUICK, faces, small_pdm(), perturbed(faces, params, 1))
    losses = []
    Trainer(task).run(report=lambda *words: losses.append(words[3]))
    assert len(losses) == QUICK.steps
    assert sum(losses[-50:]) < 0.85 * sum(losses[:50])
    unseen, where = heads(80, seed=9)
    found = perturbed(unseen, where, 7)
    validator = DetectionValidator.from_record(task.record())
    confidence = validator(ImageBatch(unseen.gray, found.face), where.rotation, found.landmarks, EXACT)
    assert validator_scores(confidence, found.error, 0.1).roc_auc > 0.9


def test_the_whole_training_goes_on_and_refuses_another_one(tmp_path):
    model, (faces, _) = untrained_model(), heads(6)
    told = []
    record = train_validator(model, faces, TINY, tmp_path, lambda *numbers: told.append(numbers))
    assert [name for name, *_ in told] == ["validator_fits"] * 4 + ["validator"] * 3
    again = train_validator(model, faces, TINY, tmp_path, lambda *numbers: pytest.fail("began again"))
    for one, other in zip(record["views"][0]["layers"], again["views"][0]["layers"], strict=True):
        assert one.get("kind") == other["kind"]
        assert all(torch.equal(one[name], other[name]) for name in ("weight", "bias") if name in one)
    with pytest.raises(CheckpointError):
        train_validator(untrained_model(seed=8), faces, TINY, tmp_path)


def test_judging_tells_every_kind_of_start():
    model, (faces, params) = untrained_model(), heads(6)
    record = ValidatorTask(TINY, faces, small_pdm(), perturbed(faces, params, 1)).record()
    judged = evaluate_validator(model, record, faces)
    assert list(judged) == ["usual", "displaced", "anywhere", "upside down", "half faces", "all"]
    assert judged["all"].fits == 5 * 6
    assert judged["all"].failure_rate == pytest.approx(sum(judged[name].failure_rate for name in list(judged)[:5]) / 5)


def test_the_validator_judges_on_the_models_device(monkeypatch):
    """The meta device stands for a card; what is fitted there is read nowhere."""
    model, (faces, params) = untrained_model(), heads(6)
    record = ValidatorTask(TINY, faces, small_pdm(), perturbed(faces, params, 1)).record()
    found = []

    def fitted(detector, faces, begin, generator):
        found.append({values.device.type for values in (*detector.parameters(), *detector.buffers())})
        return faces.landmarks, torch.ones(len(faces))

    monkeypatch.setattr(annotated, "fit_from", fitted)
    evaluate_validator(model.to("meta"), record, faces)
    assert found == [{"meta"}] * 5
