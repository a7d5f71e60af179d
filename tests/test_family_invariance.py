"""Faces and frames do not see each other, whatever the patch experts: CEN, CCNF and SVR in random batches.

As `test_batch_invariance` asks of the default model, with small experts that are made here, and what is not finite,
far away or without texture among the rows. Numbers may differ by their rounding, which other processors do otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

import clnf_torch
from clnf_torch import FitConfig, LandmarkDetector, VideoConfig, VideoTracker
from clnf_torch.detection import FaceBoxes
from clnf_torch.models.landmark_model import LandmarkModel
from clnf_torch.models.patch_experts.base import PatchExperts
from clnf_torch.models.patch_experts.ccnf import CCNFExperts
from clnf_torch.models.patch_experts.cen import CENExperts
from clnf_torch.models.patch_experts.svr import SVRExperts
from tests.factories import make_images, make_stack, seeded
from tests.models.patch_experts.template_factories import NEURONS, WINDOW, relations
from tests.test_batch_invariance import Columns, leaves

N, V, SUPPORT = 68, 2, 5
PRESET = FitConfig(window_sizes=(WINDOW,), iterations=1)
# Pixels, radians, logarithms: what the roundings of other routines may add up to
CLOSE = {"atol": 1e-3, "rtol": 1e-3}
FEW = settings(
    max_examples=2, deadline=None, derandomize=True, database=None, suppress_health_check=[HealthCheck.too_slow]
)
# Rows of `Scene.boxes`, of which the last four are poisoned, with repetition and in any order
ROWS = st.lists(st.integers(0, 7), min_size=3, max_size=4)


def make_cen(common: tuple) -> CENExperts:
    """An expert for each landmark, which the second view has mirrored."""
    expert, flipped = torch.arange(N).expand(V, N), torch.tensor([[False], [True]]).expand(V, N)
    stack = make_stack(N, (SUPPORT**2, 4, 1), ["relu", "sigmoid"], 3, torch.float32)
    return CENExperts(*common, expert.contiguous(), flipped.contiguous(), [stack])


def make_ccnf(common: tuple) -> CCNFExperts:
    """A few neurons for each landmark in each view."""
    rng = seeded(4)
    weights = torch.randn(V * N, SUPPORT**2, NEURONS, generator=rng)
    biases, alphas = torch.randn(V * N, NEURONS, generator=rng), 0.2 + torch.rand(V * N, NEURONS, generator=rng)
    betas = 0.1 + torch.rand(V * N, 2, generator=rng)
    return CCNFExperts(*common, weights, biases, alphas, betas, {WINDOW: relations(torch.float32)})


def make_svr(common: tuple) -> SVRExperts:
    """A raw and a gradient template for each landmark in each view."""
    rng = seeded(5)
    weights = torch.randn(V * N, SUPPORT**2, 2, generator=rng)
    weights = weights - weights.mean(1, keepdim=True)
    scalings, biases = 2 + 3 * torch.rand(V * N, 2, generator=rng), -torch.rand(V * N, 2, generator=rng)
    return SVRExperts(*common, weights / weights.norm(dim=1, keepdim=True), scalings, biases, ["raw", "gradient"])


FAMILIES: dict[str, Callable[[tuple], PatchExperts]] = {"CEN": make_cen, "CCNF": make_ccnf, "SVR": make_svr}


class ReadableFrames:
    """A face detector that finds one face, in every frame that is finite and not of one gray level."""

    def __init__(self, box: Tensor) -> None:
        self.box = box

    def detect(self, frames: Tensor) -> FaceBoxes:
        flat = frames.float().flatten(1)
        found = (flat.isfinite().all(1) & (flat.amax(1) > flat.amin(1))).nonzero().flatten()
        return FaceBoxes(boxes=self.box.expand(len(found), 4), score=torch.ones(len(found)), image_index=found)


class Scene:
    """A detector of one family with the default validator; frames and boxes, some of them poisoned."""

    def __init__(self, family: str) -> None:
        default = clnf_torch.load()
        centers = torch.tensor([[0.0, 0.0, 0.0], [0.0, -0.5, 0.0]])
        confidence = 0.2 + torch.rand(V, N, generator=seeded(6))
        experts = FAMILIES[family]((0.25, SUPPORT, centers, torch.ones(V, N, dtype=torch.bool), confidence))
        self.detector = LandmarkDetector(LandmarkModel(default.model.pdm, [experts]), "openface", default.validator)
        frames = make_images(2, 120, 130).float()
        self.frames = torch.stack((*frames, torch.full_like(frames[0], torch.nan), torch.full_like(frames[0], 128.0)))
        self.boxes = torch.tensor((30.0, 25.0, 60.0, 64.0)) + 4 * torch.randn(8, 4, generator=seeded(7))
        self.boxes[5, 2], self.boxes[6, 0] = torch.inf, 1e7
        self.image_index = torch.tensor([0, 1, 0, 1, 2, 0, 1, 3])
        self.alone: dict[str, dict[int, Any]] = {}
        with torch.inference_mode():
            self.fitted = self.fit(torch.arange(8))

    def fit(self, some: Tensor) -> Any:
        """Fits some of the boxes."""
        frames, index = self.frames[:, None], self.image_index[some]
        return self.detector.fit(frames, self.boxes[some], index, preset=PRESET, multi_view=True)

    @torch.inference_mode()
    def check(self, name: str, call: Callable[[Tensor], Any], rows: Sequence[int]) -> None:
        """A call about rows says what it says of each of them alone."""
        alone, together = self.alone.setdefault(name, {}), call(torch.tensor(rows))
        for place, row in enumerate(rows):
            if row not in alone:
                alone[row] = call(torch.tensor([row]))
            check_close(together[torch.tensor([place])], alone[row])


def check_close(found: Any, expected: Any) -> None:
    """Two records are equal up to rounding, what is not finite included."""
    assert leaves(expected)
    for one, other in zip(leaves(found), leaves(expected), strict=True):
        torch.testing.assert_close(one, other, **CLOSE, equal_nan=True)


@pytest.fixture(scope="module", params=FAMILIES)
def scene(request: pytest.FixtureRequest) -> Scene:
    return Scene(request.param)


@FEW
@given(rows=ROWS)
def test_fit(scene: Scene, rows: list[int]) -> None:
    scene.check("fit", scene.fit, rows)


def test_the_poisoned_rows_are_unsuccessful_and_the_others_finite(scene: Scene) -> None:
    assert not scene.fitted.success[4:].any()
    assert scene.fitted.landmarks[:4].isfinite().all() and scene.fitted.confidence[:4].isfinite().all()


@FEW
@given(rows=ROWS)
def test_refit(scene: Scene, rows: list[int]) -> None:
    start = scene.fitted.landmarks + 2
    start[7, 5:] = torch.nan

    def refit(some: Tensor) -> Any:
        index = scene.image_index[some]
        return scene.detector.fit_from_landmarks(scene.frames[:, None], start[some], index, preset=PRESET)

    scene.check("refit", refit, rows)


@FEW
@given(rows=ROWS)
def test_track(scene: Scene, rows: list[int]) -> None:
    def track(some: Tensor) -> Any:
        params, index = scene.fitted.params[some], scene.image_index[some]
        return scene.detector.fit_from_params(scene.frames[:, None], params, index, preset=PRESET)

    scene.check("track", track, rows)


def test_repair(scene: Scene) -> None:
    landmarks = scene.fitted.landmarks.clone()
    landmarks[::3, 40:60] += 12
    landmarks[6, 3] = torch.inf

    def repair(some: Tensor) -> Columns:
        index = scene.image_index[some]
        done = clnf_torch.repair_landmarks(
            landmarks[some], scene.detector, scene.frames[:, None], index, preset=PRESET, multi_view=False
        )
        return Columns(leaves(done))

    # Once, of rows that are poor, good and poisoned: it takes as long as all others
    scene.check("repair", repair, [3, 6, 1, 3])


@FEW
@given(videos=st.lists(st.lists(st.integers(0, 3), min_size=2, max_size=2), min_size=2, max_size=2))
def test_track_videos(scene: Scene, videos: list[list[int]]) -> None:
    """Side by side, and each by itself, faces found by a detector."""
    config = VideoConfig(preset=PRESET, confirm_after=1, multi_view=False)
    tracker, frames = VideoTracker(scene.detector, ReadableFrames(scene.boxes[0]), config), scene.frames[:, None]
    state, together = tracker.begin(len(videos)), []
    for moment in range(2):
        state, result = tracker.step(state, frames[[video[moment] for video in videos]])
        together.append(result)
    for number, video in enumerate(videos):
        state = tracker.begin(1)
        for moment, frame in enumerate(video):
            state, alone = tracker.step(state, frames[frame : frame + 1])
            here = together[moment].video == number
            check_close(alone.faces, together[moment].faces[here])
