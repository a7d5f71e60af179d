"""A tracker with an eraser: pen marks are taken away where faces are fitted, and nowhere else."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import Tensor

from clnf_torch.tracking import VideoTracker
from tests.tracking.world import MANY, SINGLE, Fitter, Rectangles, frame

MODES = pytest.mark.parametrize("config", [SINGLE, MANY], ids=["single", "many"])
PEN = 7  # gray levels that a mark adds
WALK = [frame((40 + 3 * t, 60, 80)) for t in range(5)] + [frame()] * 2 + [frame((60 + 3 * t, 60, 80)) for t in range(4)]


@dataclass
class Wipe:
    """Takes `PEN` away from whole frames, and remembers where it was asked to."""

    asked: list[list[int]] = field(default_factory=list)

    def erase(self, frames: Tensor, boxes: Tensor, image_index: Tensor) -> Tensor:
        usable = boxes.isfinite().all(1) & (image_index >= 0)
        self.asked.append(image_index[usable].tolist())
        return torch.where(frames > 0, frames - PEN, frames)


def results(frames: list[Tensor], config: Any, eraser: Any = None, fitter: Fitter | None = None) -> list[Any]:
    tracker = VideoTracker(fitter or Fitter(), Rectangles(), config, eraser)
    state, found = tracker.begin(), []
    for image in frames:
        state, result = tracker.step(state, image[None])
        found.append(result)
    return found


@MODES
def test_faces_are_fitted_to_what_the_eraser_leaves(config):
    seen: list[Tensor] = []

    class Watching(Fitter):
        def _look(self, frames, *given, **named):
            seen.append(frames)
            return super()._look(frames, *given, **named)

    marked = [image + PEN * (image > 0).to(image.dtype) for image in WALK]
    eraser = Wipe()
    results(marked, config, eraser, Watching())
    assert seen and len(eraser.asked) >= len(seen)
    shown = {image.numpy().tobytes() for image in WALK}
    assert all(frames[0, 0].to(torch.uint8).numpy().tobytes() in shown for frames in seen)


@MODES
def test_faces_are_erased_where_they_are_fitted(config):
    eraser = Wipe()
    found = results(WALK, config, eraser)
    assert all(video == 0 for asked in eraser.asked for video in asked)
    faces = sum(len(asked) for asked in eraser.asked)
    assert faces >= sum(int(result.success.sum()) for result in found)


@MODES
def test_an_eraser_that_finds_nothing_changes_nothing(config):
    class Nothing(Wipe):
        def erase(self, frames: Tensor, boxes: Tensor, image_index: Tensor) -> Tensor:
            return frames

    for one, other in zip(results(WALK, config), results(WALK, config, Nothing()), strict=True):
        assert one.identity.tolist() == other.identity.tolist()
        assert torch.equal(one.faces.landmarks, other.faces.landmarks)


def test_frames_that_could_not_be_read_are_not_erased():
    eraser = Wipe()
    tracker = VideoTracker(Fitter(), Rectangles(), SINGLE, eraser)
    state, _ = tracker.step(tracker.begin(), WALK[0][None])
    eraser.asked.clear()
    tracker.step(state, WALK[1][None], [True])
    assert not any(eraser.asked)
