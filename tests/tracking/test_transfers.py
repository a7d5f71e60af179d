"""How often a step waits for a card: once, where faces are detected up to three times; the results are the same."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
import torch
from torch import Tensor

from clnf_torch import LandmarkDetector
from clnf_torch.detection.face_detector import FaceBoxes
from clnf_torch.geometry.host import unread
from clnf_torch.tracking import VideoConfig, VideoTracker
from clnf_torch.tracking.association import associate, suppress_duplicates
from tests.factories import CONFIG, make_boxes, make_images, make_model
from tests.tracking.world import MANY, SINGLE, Fitter, Rectangles, frame
from tests.transfers import CountTransfers, count_transfers

FITS = replace(CONFIG, iterations=1)


@dataclass
class Same:
    """Finds the same faces in every call, without looking."""

    faces: FaceBoxes

    def detect(self, frames: Tensor) -> FaceBoxes:
        return self.faces


def make_faces(videos: int) -> FaceBoxes:
    """One in each frame, far from those of `make_boxes`."""
    boxes = make_boxes(1).repeat(videos, 1)
    return FaceBoxes(boxes=boxes, score=torch.ones(videos), image_index=torch.arange(videos))


def count(videos: int, config: VideoConfig, steps: int) -> CountTransfers:
    """The transfers of a step after some others, as on a card."""
    detector = LandmarkDetector(make_model(), "exact")
    tracker = VideoTracker(detector, Same(make_faces(videos)), replace(config, preset=FITS, multi_view=False))
    frames = make_images(2)[:1].to(torch.uint8).expand(videos, -1, -1)[:, None].contiguous()
    state = tracker.begin(videos)
    with unread():
        for _ in range(steps):
            state, _ = tracker.step(state, frames)
        counted = count_transfers(lambda: tracker.step(state, frames))
        assert len(tracker.step(state, frames)[1].video) == videos
    return counted


@pytest.mark.parametrize("videos", [1, 3])
@pytest.mark.parametrize("single_face", [False, True])
def test_a_step_reads_once(single_face, videos):
    counted = count(videos, VideoConfig(single_face=single_face), steps=2)
    assert counted.to_host == {"tolist": 1} and not counted.to_device
    assert counted.operations.total() > 200


@pytest.mark.parametrize("videos", [1, 3])
def test_a_step_that_detects_reads_how_many_boxes_are_new(videos):
    """Besides what the face detector reads itself."""
    counted = count(videos, VideoConfig(detect_every=1), steps=2)
    assert counted.to_host.total() == 2 and not counted.to_device


@pytest.mark.parametrize("videos", [1, 3])
@pytest.mark.parametrize("single_face", [False, True])
def test_a_step_with_new_faces(single_face, videos):
    """With many faces a video it also reads how many of the fits there succeeded; with one the next step does."""
    counted = count(videos, VideoConfig(single_face=single_face), steps=0)
    assert counted.to_host.total() == (2 if single_face else 3) and not counted.to_device


def scene(number: int) -> Tensor:
    """Two faces that come close, one that is covered and comes back, one that appears late elsewhere."""
    faces = [(40.0 + 2 * number, 60, 50), (150.0 - number, 60, 100)]
    if not 4 <= number < 8:
        faces.append((100.0, 20.0, 200))
    return frame(*(faces if number % 7 else faces[1:]))


@pytest.mark.parametrize("config", [MANY, replace(MANY, template=True), replace(MANY, delete_after=3), SINGLE])
def test_results_are_those_of_steps_that_read(config):
    detector = Fitter()
    tracker = VideoTracker(detector, Rectangles(), config)
    state = other = tracker.begin(2)
    shown = 0
    for number in range(16):
        frames = torch.stack((scene(number), scene(number + 5)))
        damaged = torch.tensor([number == 3, False])
        state, expected = tracker.step(state, frames, damaged)
        with unread():
            other, found = tracker.step(other, frames, damaged)
        for name in ("video", "frame", "identity", "age", "success", "detected", "confirmed"):
            assert getattr(found, name).tolist() == getattr(expected, name).tolist(), (number, name)
        torch.testing.assert_close(found.faces.landmarks, expected.faces.landmarks, rtol=0, atol=1e-9)
        assert other.tracks.identity.tolist() == state.tracks.identity.tolist()
        torch.testing.assert_close(other.tracks.appearance, state.tracks.appearance)
        assert other.fits_due == replace(other).fits_due == state.fits_due
        shown += len(found.video)
    assert shown > 16


@pytest.mark.parametrize("shape", [(1, 1), (4, 7), (30, 25)])
def test_pairs_and_duplicates_are_those_of_a_loop_that_reads(rng, shape):
    score = torch.randint(0, 5, shape, generator=rng).double()
    boxes = torch.rand(shape[0], 4, generator=rng) * 20 + 20
    rank, group = torch.randperm(shape[0], generator=rng), torch.randint(0, 2, shape[:1], generator=rng)
    expected = associate(score), suppress_duplicates(boxes, rank, group, 0.3)
    with unread():
        found = associate(score), suppress_duplicates(boxes, rank, group, 0.3)
        counted = count_transfers(lambda: (associate(score), suppress_duplicates(boxes, rank, group, 0.3)))
    assert [each.tolist() for each in found] == [each.tolist() for each in expected]
    # In pairs alone, and only of more than eight
    assert counted.to_host.total() <= (min(shape) - 1) // 8
