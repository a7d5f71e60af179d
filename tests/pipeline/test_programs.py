"""A fit as one program: ``torch.compile`` traces it whole, and ``torch.export`` gives it away."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from clnf_torch.fitting import initialise
from clnf_torch.fitting.config import FitConfig, preset_named
from clnf_torch.geometry.host import unread
from clnf_torch.models.patch_experts.heatmap import HeatmapExperts
from clnf_torch.pipeline import FitResult, LandmarkDetector
from tests.factories import CONFIG, make_boxes, make_images, make_rules
from tests.pipeline.test_unread import FAMILIES, calls, make_detector

pytestmark = pytest.mark.skipif(torch.__version__ < (2, 5), reason="torch 2.4 cannot trace functions in contexts")


@pytest.fixture(autouse=True)
def short_loops(monkeypatch):
    """Every step is traced; a few are as good as many."""
    monkeypatch.setattr(initialise, "UNSEEN_STEPS", 2)
    torch.compiler.reset()


def assert_same(found: FitResult, expected: FitResult) -> None:
    torch.testing.assert_close(found.landmarks, expected.landmarks, rtol=0, atol=1e-9, equal_nan=True)
    assert found.success.tolist() == expected.success.tolist()
    assert list(found.parts) == list(expected.parts)


@pytest.mark.filterwarnings("ignore:.*lru_cache.*:UserWarning")
@pytest.mark.parametrize(
    ("family", "call"), [*((family, "fit") for family in FAMILIES), ("cen", "landmarks"), ("svr", "params")]
)
def test_a_fit_is_traced_without_a_break(family, call):
    # Parts are CEN's in any case
    detector = make_detector(family, with_parts=(family, call) == ("cen", "fit"))
    fit = calls(detector, "cpu", iterations=1)[call]
    with unread():
        expected = fit()
    assert_same(torch.compile(fit, fullgraph=True, backend="eager")(), expected)


@pytest.mark.filterwarnings("ignore:.*lru_cache.*:UserWarning")
def test_so_are_hypotheses_with_early_termination():
    fit = calls(make_detector("cen", make_rules(cutoff=-0.3)), "cpu", iterations=1)["multi-view"]
    with unread():
        expected = fit()
    assert_same(torch.compile(fit, fullgraph=True, backend="eager")(), expected)


class Fit(torch.nn.Module):
    """A detector and its settings, which become a part of the program."""

    def __init__(self, detector: LandmarkDetector, preset: FitConfig) -> None:
        super().__init__()
        self.detector, self.preset = detector, preset

    def forward(self, frames: torch.Tensor, boxes: torch.Tensor) -> FitResult:
        return self.detector(frames, boxes, preset=self.preset)


@pytest.mark.filterwarnings("ignore:No complete tensor found:UserWarning")
@pytest.mark.parametrize("family", ["cen", "heatmap"])
def test_an_exported_fit_is_read_again_and_agrees(family, tmp_path):
    detector, frames, boxes = make_detector(family), make_images(2).to(torch.uint8), make_boxes(2)
    preset = replace(preset_named("default", HeatmapExperts) if family == "heatmap" else CONFIG, iterations=1)
    fit = Fit(detector, preset)
    with unread():
        expected = fit(frames, boxes)
    program = torch.export.export(fit, (frames, boxes))
    torch.export.save(program, tmp_path / "fit.pt2")
    found = torch.export.load(tmp_path / "fit.pt2").module()(frames, boxes)
    assert isinstance(found, FitResult)
    assert_same(found, expected)
