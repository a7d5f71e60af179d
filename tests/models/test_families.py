"""A family of experts is its class and one entry in a table: it is saved, loaded, fitted, judged and described."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import clnf_torch
from clnf_torch.cli.runs.info import describe
from clnf_torch.fitting.config import PRESETS, preset_named
from clnf_torch.models.bundle import FAMILIES, build_model, load_bundle, save_bundle
from clnf_torch.models.landmark_model import LandmarkModel
from clnf_torch.models.numerics import EXACT
from clnf_torch.models.patch_experts.base import PatchExperts, common_fields
from clnf_torch.models.patch_experts.cen import CENExperts
from clnf_torch.models.patch_experts.heatmap import HeatmapExperts
from clnf_torch.models.patch_experts.mesh import MeshExperts, MeshNetwork
from clnf_torch.models.patch_experts.unet import UNet
from clnf_torch.quality.config import QualityConfig
from tests.factories import N, make_boxes, make_images, make_model, make_pdm
from tests.models.patch_experts.template_factories import make_ccnf, make_svr

RECORD = {"writer": "test", "licence": "mine", "numerics": "exact", "sources": [{"name": "nothing"}]}


class DarkExperts(PatchExperts):
    """Experts that take the darkest places for their landmarks, more or less so."""

    name = "dark"
    sigma_factor = 2.0
    min_expert_agreement = 0.25

    def __init__(self, *common, darkness: float, **named):
        super().__init__(*common, **named)
        self.darkness = darkness

    def respond(self, areas: Tensor, view: int, numerics) -> Tensor:
        reach = self.support // 2
        middle = areas[..., reach : areas.shape[-1] - reach, reach : areas.shape[-1] - reach]
        return (1 - middle / 255) ** self.darkness * self.visible[view, :, None, None]

    def to_record(self):
        return {**super().to_record(), "darkness": self.darkness}

    @classmethod
    def from_record(cls, record, dtype):
        return cls(**common_fields(record, dtype), darkness=record["darkness"])


def dark_model() -> LandmarkModel:
    seen = torch.ones(1, N, dtype=torch.bool)
    scales = [
        DarkExperts(scale, 3, torch.zeros(1, 3), seen, torch.ones(1, N), darkness=scale + 1) for scale in (0.25, 0.5)
    ]
    return LandmarkModel(make_pdm(torch.float32), scales)


def unet_model() -> LandmarkModel:
    """Small networks that have learned nothing, the coarse one asked twice."""
    seen, places = torch.ones(1, N, dtype=torch.bool), (torch.zeros(1, 3), torch.ones(1, N))
    coarse, fine = (
        HeatmapExperts(scale, places[0], seen, places[1], 32, UNet(N, (4, 6), normalised=False).half().float())
        for scale in (0.25, 0.5)
    )
    return LandmarkModel(make_pdm(torch.float32), [coarse, coarse, fine])


def mesh_model() -> LandmarkModel:
    """A small network that has learned nothing, asked twice."""
    seen, places = torch.ones(1, N, dtype=torch.bool), (torch.zeros(1, 3), torch.ones(1, N))
    experts = MeshExperts(0.25, places[0], seen, places[1], 64, MeshNetwork(N).half().float())
    return LandmarkModel(make_pdm(torch.float32), [experts, experts])


def test_a_family_of_ones_own_is_saved_loaded_and_fitted(tmp_path, monkeypatch):
    monkeypatch.setitem(FAMILIES, DarkExperts.name, DarkExperts)
    model, path = dark_model(), tmp_path / "dark.pt"
    save_bundle(path, model, **RECORD)
    loaded = clnf_torch.load(path)
    assert loaded.model.family is DarkExperts and loaded.numerics == EXACT
    assert [experts.darkness for experts in loaded.model.experts] == [1.25, 1.5]
    images, boxes = make_images().float(), make_boxes(2).float()
    found, expected = (d.fit(images, boxes) for d in (loaded, clnf_torch.LandmarkDetector(model, EXACT).eval()))
    assert torch.equal(found.landmarks, expected.landmarks) and found.landmarks.isfinite().all()
    assert any(line.strip() == "experts at 0.25    DARK, 3 x 3 px, 1 view at yaw 0" for line in lines(path))


def test_settings_are_asked_of_the_family():
    model = dark_model()
    assert preset_named("default", model.family).sigma == 2 * PRESETS["default"].sigma
    assert QualityConfig().min_agreement_of(model.family) == 0.25
    assert QualityConfig(min_expert_agreement=0.3).min_agreement_of(model.family) == 0.3
    assert preset_named("default", CENExperts).sigma == 2.25
    assert preset_named("wild", HeatmapExperts).multi_view


def test_an_unregistered_family_is_refused(tmp_path, monkeypatch):
    # The guide's example registers one, in whichever process runs it
    monkeypatch.delitem(FAMILIES, DarkExperts.name, raising=False)
    save_bundle(tmp_path / "dark.pt", dark_model(), **RECORD)
    with pytest.raises(clnf_torch.BundleError, match="'dark' patch experts, this program knows 'cen'"):
        clnf_torch.load(tmp_path / "dark.pt")


@pytest.mark.parametrize(
    "make",
    [
        lambda: make_model(torch.float32),
        lambda: LandmarkModel(make_pdm(torch.float32), [make_ccnf(dtype=torch.float32)] * 2),
        lambda: LandmarkModel(make_pdm(torch.float32), [make_svr(dtype=torch.float32)]),
        unet_model,
        mesh_model,
    ],
    ids=["cen", "ccnf", "svr", "heatmap", "mesh"],
)
def test_records_are_read_as_they_were_written(make, tmp_path):
    model = make()
    save_bundle(tmp_path / "model.pt", model, **RECORD)
    loaded = build_model(load_bundle(tmp_path / "model.pt"))
    assert loaded.family is model.family and loaded.patch_scales == model.patch_scales
    assert [list(loaded.experts).index(experts) for experts in loaded.experts] == [
        list(model.experts).index(experts) for experts in model.experts
    ]
    for name, value in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value), name
    save_bundle(tmp_path / "again.pt", loaded, **RECORD)
    assert (tmp_path / "again.pt").read_bytes() == (tmp_path / "model.pt").read_bytes()
    assert any(f" {model.family.name.upper()}, " in line for line in lines(tmp_path / "model.pt"))


def test_bundles_of_version_0_1_say_joint(tmp_path):
    part = {"name": "brow", "in_parent": torch.tensor([0]), "in_part": torch.tensor([0])}
    record = unet_model().to_record()
    record["parts"] = [{**part, "model": unet_model().to_record()}]
    for experts in (*record["experts"], *record["parts"][0]["model"]["experts"]):
        experts["family"] = experts["family"].replace("heatmap", "joint")
    save_bundle(tmp_path / "old.pt", record, **RECORD)
    model = build_model(load_bundle(tmp_path / "old.pt"))
    assert model.family is HeatmapExperts and model.parts[0].model.family is HeatmapExperts
    assert model.experts_at(0) is model.experts_at(1)


def lines(path) -> list[str]:
    """What `clnf-torch info` says."""
    return list(describe(load_bundle(path), path))
