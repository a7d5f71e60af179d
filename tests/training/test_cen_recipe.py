"""The whole recipe on small faces: a model that finds them, views that are left out, and going on after a stop."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import clnf_torch
from clnf_torch.converters import convert, export
from clnf_torch.fitting.config import FitConfig
from clnf_torch.geometry.boxes import box_around
from clnf_torch.models.bundle import build_model, load_bundle, save_bundle
from clnf_torch.models.numerics import EXACT
from clnf_torch.training.augmentation.photometric import NO_AUGMENTATION
from clnf_torch.training.cen import CenConfig
from clnf_torch.training.cen_recipe import CenRecipe, CenScale, train_cen
from clnf_torch.training.checkpoint import CheckpointError
from clnf_torch.training.data.crops import FaceCrops
from tests.training.patterned_faces import mirror, patterned_faces, pdm, together

SCALES = (CenScale(scale=0.3, widths=(16, 8), levels=2), CenScale(scale=0.5, widths=(16, 8)))
RECIPE = CenRecipe(
    scales=SCALES,
    training=CenConfig(epochs=3, areas=24, learning_rate=1e-2, dropout=0.0, augmentation=NO_AUGMENTATION),
    least_faces=8,
    held_out=5,
)


@pytest.fixture(scope="module")
def faces() -> FaceCrops:
    return together(patterned_faces(12), patterned_faces(8, yaw=0.4, seed=21))


@pytest.fixture(scope="module")
def notices() -> list[str]:
    return []


@pytest.fixture(scope="module")
def model(faces, notices) -> dict[str, Any]:
    return train_cen(faces, pdm(), mirror(), RECIPE, notice=notices.append)


@pytest.fixture(scope="module")
def path(model, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("trained") / "cen.pt"
    save_bundle(path, model, writer="test", licence="", numerics="exact", sources=[{"name": "patterned faces"}])
    return path


def test_views_without_faces_are_left_out_and_named(model, notices):
    views = model["experts"][0]["view_centers"].rad2deg()[:, 1]
    torch.testing.assert_close(views, torch.tensor([0.0, -20.0, 20.0]).double())
    (line,) = notices
    assert "turned by 45, 70 degrees (under 8)" in line


def test_mirrored_landmarks_share_their_experts(model):
    for record in model["experts"]:
        assert record["expert"].tolist() == [[0, 0, 2, 1, 1], [3, 4, 5, 6, 7], [4, 3, 5, 7, 6]]
        assert record["flipped"].tolist() == [[False, True, False, False, True], [False] * 5, [True] * 5]
        assert record["visible"].all() and len(record["stacks"][0]["weights"][0]) == 8
        confidence = record["confidence"]
        assert float(confidence[0].mean()) > 0.3
        torch.testing.assert_close(confidence[1, list(mirror())], confidence[2])


def test_the_trained_model_finds_faces(path, faces):
    detector = clnf_torch.load(path)
    assert detector.numerics == EXACT
    unseen = patterned_faces(6, seed=41)
    boxes = box_around(unseen.landmarks) + torch.tensor([4.0, -3.0, 2.0, 2.0])
    config = FitConfig(window_sizes=(11, 9), sigma=2.0)
    start = detector.fit(unseen.gray, boxes, preset=FitConfig(window_sizes=(1, 0)))
    found = detector.fit(unseen.gray, boxes, preset=config)
    before = (start.landmarks - unseen.landmarks).norm(dim=-1).mean()
    after = (found.landmarks - unseen.landmarks).norm(dim=-1).mean()
    assert after < 0.6 * before and after < 1.5


def test_it_is_exported_as_a_complete_openface_model(path, model, tmp_path):
    files = export(path, tmp_path / "back")
    assert {file.name for file in files} >= {"pdm.txt", "cen_patches_0.30_of.dat", "main_ceclm_general.txt"}
    convert(tmp_path / "back", tmp_path / "again.pt")
    again, here = build_model(load_bundle(tmp_path / "again.pt")), build_model({"model": model})
    areas = 255 * torch.rand(3, 5, 17, 17, generator=torch.Generator().manual_seed(1))
    for index in range(2):
        for view in range(3):
            there = torch.full((3,), view)
            expected = here.experts_at(index)(areas, there, EXACT)
            torch.testing.assert_close(again.experts_at(index)(areas, there, EXACT), expected, rtol=1e-5, atol=1e-6)
    for name in ("mean", "modes", "variances"):
        torch.testing.assert_close(getattr(again.pdm, name), getattr(here.pdm, name), rtol=1e-6, atol=1e-6)


def test_training_goes_on_from_its_checkpoints(faces, tmp_path):
    recipe = CenRecipe(
        scales=SCALES[1:],
        training=CenConfig(epochs=2, areas=24, augmentation=NO_AUGMENTATION),
        least_faces=99,
        held_out=5,
    )

    class Stop(Exception):
        pass

    def stop_after_one(what: str, done: int, total: int, good: float) -> None:
        assert (what, total) == ("scale 0.5, yaw 0", 2) and 0 <= good <= 1
        if done == 1:
            raise Stop

    whole = train_cen(faces, pdm(), mirror(), recipe)
    with pytest.raises(Stop):
        train_cen(faces, pdm(), mirror(), recipe, tmp_path, report=stop_after_one)
    told: list[int] = []
    rest = train_cen(faces, pdm(), mirror(), recipe, tmp_path, report=lambda what, done, *_: told.append(done))
    assert told == [2]
    for a, b in zip(*(model["experts"][0]["stacks"][0]["weights"] for model in (whole, rest)), strict=True):
        assert torch.equal(a, b)
    with pytest.raises(CheckpointError, match="another training"):
        train_cen(faces[:10], pdm(), mirror(), recipe, tmp_path)
