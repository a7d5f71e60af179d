"""Training through the fit: the loss falls, experts of any family get gradients, and a seed repeats itself."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from clnf_torch.fitting.config import FitConfig
from clnf_torch.geometry.boxes import box_around
from clnf_torch.models.refinement import Refinement
from clnf_torch.pipeline import LandmarkDetector
from clnf_torch.training import end_to_end
from clnf_torch.training.augmentation.photometric import NO_AUGMENTATION
from clnf_torch.training.data.crops import FaceCrops
from clnf_torch.training.end_to_end import EndToEndConfig, fit_errors, learnable_experts, train_end_to_end
from tests.factories import CONFIG, make_model
from tests.training.patterned_faces import patterned_faces

FAST = EndToEndConfig(
    steps=4,
    batch=2,
    learning_rate=3e-2,
    held_out=4,
    judge_every=2,
    fit=replace(CONFIG, iterations=2),
    augmentation=NO_AUGMENTATION,
)


def train(seed: int = 0) -> tuple[LandmarkDetector, list[float], tuple[float, float]]:
    detector = LandmarkDetector(make_model(torch.float32), "exact")
    learnable_experts(detector.model)
    told: list[float] = []
    errors = train_end_to_end(
        detector, patterned_faces(8), replace(FAST, seed=seed), report=lambda *words: told.append(words[3])
    )
    return detector, told, errors


def numbers(detector: LandmarkDetector) -> torch.Tensor:
    return torch.cat([parameter.flatten() for parameter in detector.model.experts.parameters()])


def test_held_out_faces_are_found_better():
    detector, told, (before, after) = train()
    assert after < before and len(told) == 4
    assert not any(parameter.requires_grad for parameter in detector.model.parameters())
    changed = numbers(detector) != numbers(LandmarkDetector(make_model(torch.float32), "exact"))
    assert changed.float().mean() > 0.3


@pytest.mark.parametrize(("count", "held_out"), [(5, 10), (1, 4), (4, 1)])
def test_few_faces_are_trained_on_and_judged_by(count, held_out):
    detector = LandmarkDetector(make_model(torch.float32), "exact")
    learnable_experts(detector.model)
    before, after = train_end_to_end(detector, patterned_faces(count), replace(FAST, held_out=held_out))
    assert after < before
    assert not torch.equal(numbers(detector), numbers(LandmarkDetector(make_model(torch.float32), "exact")))


def test_other_faces_judge_where_there_are_some():
    def before(faces: FaceCrops, judges: FaceCrops | None) -> float:
        detector = LandmarkDetector(make_model(torch.float32), "exact")
        learnable_experts(detector.model)
        return train_end_to_end(detector, faces, replace(FAST, steps=1, held_out=0), judges=judges)[0]

    shown, others = patterned_faces(8)[:5], patterned_faces(8)[5:]
    assert before(shown, others) == before(others, None) != before(shown, None)


def test_no_faces_are_refused():
    detector = LandmarkDetector(make_model(torch.float32), "exact")
    learnable_experts(detector.model)
    with pytest.raises(ValueError, match="no faces"):
        train_end_to_end(detector, patterned_faces(2)[:0], FAST)


def test_a_face_without_extent_does_not_spoil_the_gradients_of_others():
    detector, faces = LandmarkDetector(make_model(torch.float32), "exact"), patterned_faces(3)
    parameters = learnable_experts(detector.model)
    boxes = box_around(faces.landmarks)
    alone = torch.autograd.grad(fit_errors(detector, faces[[0, 2]], boxes[[0, 2]], FAST).sum(), parameters)
    faces.landmarks[1] = faces.landmarks[1, :1]
    errors = fit_errors(detector, faces, boxes, FAST)
    together = torch.autograd.grad(errors.sum(), parameters)
    assert errors[1] == 0
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-6)


def test_a_seed_repeats_itself():
    (first, losses, _), (again, same, _), (_, others, _) = train(), train(), train(1)
    assert losses == same and losses != others
    assert torch.equal(numbers(first), numbers(again))


def test_a_step_learns_from_the_landmarks_of_one_scale(monkeypatch):
    detector, seen = LandmarkDetector(make_model(torch.float32), "exact"), []
    landmarks = detector.model.pdm.num_landmarks
    share = torch.full((2, landmarks), 0.4)
    whole = Refinement(share, torch.zeros(landmarks, 2), torch.zeros(2, landmarks, 2))
    detector.model.refinement = whole

    def seeing(*given):
        seen.append(detector.model.refinement)
        return fit_errors(*given)

    monkeypatch.setattr(end_to_end, "fit_errors", seeing)
    learnable_experts(detector.model)
    train_end_to_end(detector, patterned_faces(8), replace(FAST, steps=8, judge_every=8))
    drawn = [each.share[:, 0].tolist() for each in seen if each is not whole]
    assert len(drawn) == 8 and detector.model.refinement is whole
    assert {tuple(round(own, 3) for own in shares) for shares in drawn} == {(0.8, 0.0), (0.0, 0.8)}


def test_the_free_models_experts_learn(free_face):
    detector, gray, box = free_face
    config = EndToEndConfig(
        steps=3,
        batch=1,
        learning_rate=3e-3,
        size=0.0,
        center=0.0,
        held_out=0,
        fit=FitConfig(window_sizes=(7, 5, 0, 0), iterations=2, regularisation=1.0),
        augmentation=NO_AUGMENTATION,
    )
    found = detector.fit(gray, box, preset=replace(config.fit, tolerance=0.0))
    faces = FaceCrops(gray=gray, landmarks=found.landmarks + torch.tensor([3.0, 2.0]))
    learning = learnable_experts(detector.model)
    told: list[float] = []
    before, after = train_end_to_end(detector, faces, config, report=lambda *words: told.append(words[3]))
    assert after < before and told[-1] < told[0]
    assert sum(bool(parameter.grad is not None and parameter.grad.any()) for parameter in learning) > 4


def test_experts_learn_and_the_shape_does_not():
    model = make_model(torch.float32)
    parameters = learnable_experts(model)
    assert parameters and all(parameter.requires_grad for parameter in parameters)
    assert not any(parameter.requires_grad for parameter in model.pdm.parameters())


def test_halves_learn_in_full_precision_and_files_stay_as_they_are():
    model = make_model(torch.float32)
    (weight, *_) = model.experts.parameters()
    weight.data = stored = weight.detach().half()
    before = stored.clone()
    learnable_experts(model)
    with torch.no_grad():
        weight.add_(1)
    assert weight.dtype == torch.float32 and torch.equal(stored, before)


def test_what_cannot_learn_is_refused():
    detector = LandmarkDetector(make_model(torch.float32), "exact")
    with pytest.raises(ValueError, match="learnable_experts"):
        train_end_to_end(detector, patterned_faces(2))
    learnable_experts(detector.model)
    with pytest.raises(ValueError, match="'exact'"):
        train_end_to_end(LandmarkDetector(detector.model, "openface"), patterned_faces(2))


def test_copies_whose_sides_moved_are_trained_on_and_not_judged_by(monkeypatch):
    seen: list[tuple[int, int]] = []

    class Watched(end_to_end.EndToEndTask):
        def __init__(self, detector, learn, judges, config) -> None:
            seen.append((len(learn), len(judges)))
            super().__init__(detector, learn, judges, config)

    monkeypatch.setattr(end_to_end, "EndToEndTask", Watched)
    detector = LandmarkDetector(make_model(torch.float32), "exact")
    learnable_experts(detector.model)
    for one_sided in (False, True):
        train_end_to_end(detector, patterned_faces(8), replace(FAST, steps=1, one_sided=one_sided))
        learnable_experts(detector.model)
    assert seen == [(6, 2), (12, 2)]
