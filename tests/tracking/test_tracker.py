"""The tracker as a pure function: videos beside one another, states that are saved, bad arguments."""

from __future__ import annotations

import pytest
import torch

import clnf_torch
from clnf_torch.models.landmark_model import LandmarkModel
from clnf_torch.models.patch_experts.cen import CENExperts
from clnf_torch.pipeline import LandmarkDetector
from clnf_torch.tracking import TrackState, VideoConfig, VideoTracker
from clnf_torch.tracking.frame_fitter import FrameFitter
from tests.tracking.world import HEIGHT, MANY, SINGLE, WIDTH, Fitter, Rectangles, frame

WALK = [frame((40 + 3 * t, 60, 80), (170 - 2 * t, 60, 90)) for t in range(8)]
WALK = WALK + [frame()] * 3 + [frame((60 + 3 * t, 60, 80)) for t in range(8)]
OTHER = [frame()] * 2 + [frame((100, 40 + 2 * t, 70)) for t in range(15)] + [frame()] * 2
MODES = pytest.mark.parametrize("config", [SINGLE, MANY], ids=["single", "many"])


def make(config: VideoConfig) -> VideoTracker:
    return VideoTracker(Fitter(), Rectangles(), config)


def rows_of(result, video: int):
    rows = (result.video == video).nonzero().squeeze(1)
    values = (result.identity, result.success, result.detected, result.age, result.frame)
    return [value[rows].tolist() for value in values], result.faces.landmarks[rows]


def assert_same_rows(found, expected):
    assert found[0] == expected[0]
    torch.testing.assert_close(found[1], expected[1], equal_nan=True)


@MODES
def test_videos_side_by_side_do_not_see_each_other(config):
    both, alone = make(config), [make(config), make(config)]
    state, states = both.begin(2), [tracker.begin() for tracker in alone]
    for images in zip(WALK, OTHER, strict=True):
        state, result = both.step(state, torch.stack(images))
        for video, tracker in enumerate(alone):
            states[video], lone = tracker.step(states[video], images[video][None])
            assert_same_rows(rows_of(result, video), rows_of(lone, 0))


@MODES
def test_videos_share_their_calls(config):
    tracker = make(config)
    state = tracker.begin(2)
    for images in zip(WALK[:3], WALK[:3], strict=True):
        state, _ = tracker.step(state, torch.stack(images))
    assert [call.kind for call in tracker.detector.calls] == ["fit", "fit_from_params", "fit_from_params"]


@MODES
@pytest.mark.parametrize("split", [4, 9, 13])
def test_a_saved_state_goes_on_the_same(config, split, tmp_path):
    tracker = make(config)
    state = tracker.begin()
    for t, image in enumerate(WALK):
        if t == split:
            torch.save(state.to_dict(), tmp_path / "state.pt")
        state, result = tracker.step(state, image[None])
    again = TrackState.from_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    restarted = make(config)
    for image in WALK[split:]:
        again, repeated = restarted.step(again, image[None])
    assert_same_rows(rows_of(repeated, 0), rows_of(result, 0))
    assert again.to_dict().keys() == state.to_dict().keys()
    for name, value in state.to_dict().items():
        if isinstance(value, torch.Tensor):
            torch.testing.assert_close(again.to_dict()[name], value, equal_nan=True)


@MODES
def test_a_step_leaves_its_state_as_it_was(config):
    tracker = make(config)
    state, _ = tracker.step(tracker.begin(), WALK[0][None])
    before = {k: v.clone() for k, v in state.to_dict().items() if isinstance(v, torch.Tensor)}
    first, second = (tracker.step(state, WALK[1][None])[1] for _ in range(2))
    assert_same_rows(rows_of(first, 0), rows_of(second, 0))
    for name, value in before.items():
        torch.testing.assert_close(state.to_dict()[name], value, equal_nan=True)


@MODES
def test_colour_and_floating_point_frames(config):
    tracker = make(config)
    tracker.detector.fit = lambda frames, *args, **kwargs: Fitter().fit(frames[:, :1], *args, **kwargs)
    tracker._fitter.face_detector.detect = lambda frames: Rectangles().detect(frames[:, :1])
    colour = WALK[0][None, None].expand(1, 3, -1, -1).double()
    assert tracker.step(tracker.begin(), colour)[1].success.any()


@MODES
@pytest.mark.parametrize(
    ("frames", "damaged", "message"),
    [
        (torch.zeros(3, HEIGHT, WIDTH), None, "one frame for each of the 2 videos"),
        (torch.zeros(2, WIDTH), None, "expected gray"),
        (torch.zeros(2, HEIGHT, WIDTH), torch.zeros(3), "damaged has shape"),
    ],
)
def test_wrong_frames_are_refused(config, frames, damaged, message):
    tracker = make(config)
    with pytest.raises(ValueError, match=message):
        tracker.step(tracker.begin(2), frames, damaged)


@MODES
@pytest.mark.parametrize(
    ("boxes", "video", "message"),
    [
        (torch.ones(3, 4), None, "say with video"),
        (torch.ones(3, 5), None, r"expected real numbers of shape \(B, 4\)"),
        (torch.ones(2, 4), torch.tensor([0, 2]), "a number below 2"),
        (torch.ones(2, 4), torch.tensor([0.0, 1.0]), "a number below 2"),
    ],
)
def test_wrong_boxes_are_refused(config, boxes, video, message):
    tracker = make(config)
    with pytest.raises(ValueError, match=message):
        tracker.place(tracker.begin(2), boxes, video)


def test_no_videos():
    for config in (SINGLE, MANY):
        tracker = make(config)
        state, result = tracker.step(tracker.begin(0), torch.zeros(0, HEIGHT, WIDTH, dtype=torch.uint8))
        assert len(result.identity) == 0 and state.videos == 0


@pytest.mark.parametrize(
    "settings",
    [
        {"redetect_every": 0},
        {"detect_every": 0},
        {"delete_after": 0},
        {"match_iou": 0.0},
        {"duplicate_iou": 1.0},
        {"reidentify_distance": 0.0},
        {"confirm_after": 0},
        {"max_missed_frames": 0},
        {"reidentify_similarity": 1.1},
        {"resume_similarity": -1.1},
    ],
)
def test_settings_without_sense_are_refused(settings):
    with pytest.raises(ValueError):
        VideoConfig(**settings)


def test_presets_by_name():
    first, small = VideoConfig(preset="wild").fit_configs(CENExperts)
    assert first.window_sizes == (15, 13, 11, 11) and small.window_sizes == (0, 9, 7, 0)
    assert small.iterations == first.iterations == 10 and small.sigma == first.sigma == 1.5 * 1.25
    with pytest.raises(ValueError, match="not known"):
        VideoConfig(preset="fast").fit_configs(CENExperts)


def test_tracked_faces_are_asked_of_both_networks_where_landmarks_are_means_between_two():
    small, default = (clnf_torch.load(name).model for name in ("small", "default"))
    first, tracked = VideoConfig().fit_configs(small.family, 2)
    assert tracked.window_sizes == first.window_sizes and 0 not in tracked.window_sizes[: small.num_scales]
    assert VideoConfig().fit_configs(default.family, 3)[1].window_sizes == (0, 21, 11)
    assert VideoConfig(tracking_windows=(0, 9)).fit_configs(small.family, 2)[1].window_sizes == (0, 9)
    fitters = (FrameFitter(clnf_torch.load(name), None, VideoConfig()) for name in ("small", "free", "default"))
    windows = [fitter._tracked_fit.window_sizes[0] for fitter in fitters]
    assert [window > 0 for window in windows] == [True, False, False]


def test_tracked_faces_are_not_asked_twice_of_a_network_that_a_fit_asks_twice():
    detector = clnf_torch.load("default")
    coarse, fine = detector.model.experts[0], detector.model.experts[-1]
    model = LandmarkModel(detector.model.pdm, [coarse, coarse, fine], refinement=detector.model.refinement)
    fitter = FrameFitter(LandmarkDetector(model, "exact"), None, VideoConfig())
    assert fitter._tracked_fit.window_sizes == (0, 21, 11)
