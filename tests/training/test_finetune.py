"""Fine-tuning of CEN experts: responses come nearer to the truth, what is unseen stays, the bundle loads."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

import clnf_torch
from clnf_torch.converters import convert, export
from clnf_torch.models.archive import save_archive
from clnf_torch.models.bundle import build_model, load_bundle
from clnf_torch.training.augmentation.photometric import NO_AUGMENTATION
from clnf_torch.training.finetune import fine_tune, tuned_bundle
from clnf_torch.training.tuning import FineTuneConfig
from tests.factories import make_model
from tests.training.patterned_faces import mirror, patterned_faces

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
    model = make_model(torch.float32)
    model.family = "ccnf"
    with pytest.raises(ValueError, match="train_end_to_end any"):
        fine_tune(model, patterned_faces(2), mirror())
