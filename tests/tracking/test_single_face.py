"""OpenFace's rules for one face per video: when it is detected, what is kept, what is reported."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from clnf_torch.detection.face_detector import FaceBoxes
from clnf_torch.tracking import TrackState, VideoResult, VideoTracker
from clnf_torch.tracking.single_face import detection_due
from tests.tracking.world import SINGLE, Call, Fitter, Rectangles, frame

FACE, BLANK = frame((60, 60, 80)), frame()
FIRST, SMALL = SINGLE.preset.window_sizes, SINGLE.tracking_windows


def run(tracker: VideoTracker, frames, state: TrackState | None = None) -> tuple[list[TrackState], list[VideoResult]]:
    """Every state and result of one video."""
    states, results = [state or tracker.begin()], []
    for image in frames:
        state, result = tracker.step(states[-1], image[None])
        states.append(state)
        results.append(result)
    return states[1:], results


def make(doubted: frozenset[int] = frozenset(), **settings) -> tuple[VideoTracker, Fitter, Rectangles]:
    fitter, rectangles = Fitter(doubted), Rectangles()
    return VideoTracker(fitter, rectangles, replace(SINGLE, **settings)), fitter, rectangles


def film(letters: str) -> list[torch.Tensor]:
    """F: a frame with a face; B: a blank one."""
    return [FACE if letter == "F" else BLANK for letter in letters]


def missed_frames(states: list[TrackState]) -> list[int]:
    return [state.tracks.missed_frames.item() for state in states]


def test_openfaces_trace():
    states, results = run(make()[0], film("FFFBBBBFFF"))
    assert missed_frames(states) == [-1, -1, -1, 0, 1, 2, 3, -1, -1, -1]
    assert [result.success.item() for result in results] == [letter == "F" for letter in "FFFBBBBFFF"]


def test_a_face_is_detected_every_twelfth_frame():
    tracker, _, rectangles = make()
    states, results = run(tracker, film("B" * 14 + "F" * 13))
    assert [result.success.item() for result in results].index(True) == 24
    assert [state.tracks.initialised.item() for state in states].index(True) == 24
    assert rectangles.shown == 3 and missed_frames(states[:24]) == list(range(24))


def test_a_lost_face_is_detected_at_once_then_at_every_second_missed_frame():
    tracker, _, rectangles = make()
    shown = []
    states = [tracker.begin()]
    for image in film("F" + "B" * 6):
        states.append(tracker.step(states[-1], image[None])[0])
        shown.append(rectangles.shown)
    assert shown == [1, 2, 2, 3, 3, 4, 4]


@pytest.mark.parametrize(("period", "due"), [(2, [0, 2, 4, 6]), (3, [0, 3, 6]), (-2, [])])
def test_the_period_after_a_failure(period, due):
    tracks = make()[0].begin(7).tracks
    tracks = replace(tracks, initialised=torch.ones(7, dtype=torch.bool), missed_frames=torch.arange(7))
    config = replace(SINGLE, redetect_every=period)
    assert detection_due(config, tracks).nonzero().flatten().tolist() == due
    never_found = replace(
        tracks, initialised=torch.zeros(7, dtype=torch.bool), missed_frames=6 * abs(period) * torch.arange(7)
    )
    assert not detection_due(config, never_found).any()
    assert detection_due(config, replace(never_found, missed_frames=never_found.missed_frames - 1)).all()


def test_windows_are_small_after_a_success_and_large_after_a_failure():
    tracker, fitter, _ = make()
    run(tracker, film("FFFBF"))
    assert fitter.calls == [
        Call("fit", FIRST, [0]),
        Call("fit_from_params", SMALL, [0]),
        Call("fit_from_params", SMALL, [0]),
        Call("fit_from_params", SMALL, [0]),  # fails on the blank frame, where no face is found either
        Call("fit_from_params", FIRST, [0]),
    ]


def test_a_first_detection_is_accepted_whatever_the_validator_says():
    tracker, fitter, rectangles = make(doubted=frozenset({80}))
    states, results = run(tracker, film("FF"))
    assert results[0].success.item() and results[0].detected.item() and not results[0].faces.success.item()
    assert states[0].tracks.initialised.item() and not states[0].tracks.success.item()
    assert missed_frames(states) == [-1, 0] and fitter.calls[1] == Call("fit_from_params", FIRST, [0])
    assert not results[1].success.item() and rectangles.shown == 2


def test_a_rejected_detection_restores_the_failed_fit():
    tracker, fitter, _ = make(doubted=frozenset({80}))
    moved = frame((140, 60, 80))
    states, results = run(tracker, [FACE, moved])
    assert fitter.calls[-1].kind == "fit" and not results[1].success.item() and not results[1].detected.item()
    torch.testing.assert_close(states[1].tracks.params.translation, states[0].tracks.params.translation)
    torch.testing.assert_close(results[1].faces.landmarks, results[0].faces.landmarks)
    assert missed_frames(states) == [-1, 0]  # as the failed fit left it
    detected = fitter.fit(
        moved[None, None], torch.tensor([[120, 40, 40, 40]]), torch.tensor([0]), preset=SINGLE.preset, multi_view=True
    )
    assert results[1].faces.confidence.item() == detected.confidence.item()


def test_another_detection_is_kept_where_it_succeeds():
    states, results = run(make()[0], [FACE, frame((140, 60, 90))])
    assert results[1].success.item() and results[1].detected.item() and missed_frames(states) == [-1, -1]
    assert results[1].faces.landmarks[0, :, 0].mean() > 110


def test_a_track_is_given_up_after_a_hundred_failures_and_counting_goes_on():
    tracker, _, rectangles = make()
    states, _ = run(tracker, film("F" + "B" * 120))
    given_up = [state.tracks.initialised.item() for state in states].index(False)
    assert states[given_up].tracks.missed_frames.item() == 101
    before = rectangles.shown
    states, results = run(tracker, film("F" * 20), states[given_up])
    attempt = [result.success.item() for result in results].index(True)
    assert states[attempt - 1].tracks.missed_frames.item() == 107 and rectangles.shown - before == 1


def test_the_widest_face_is_taken_or_the_nearest_to_a_preferred_place():
    class Two(Rectangles):
        def detect(self, frames):
            boxes = torch.tensor([[30.0, 40, 40, 40], [130, 40, 41, 40]])
            return FaceBoxes(boxes=boxes, score=torch.tensor([0.9, 0.8]), image_index=torch.zeros(2, dtype=torch.int64))

    tracker = VideoTracker(Fitter(), Two(), SINGLE)
    image = frame((50, 60, 80), (150, 60, 90))[None]
    state, result = tracker.step(tracker.begin(), image)
    assert result.faces.landmarks[0, :, 0].mean() > 100
    preferred = tracker.prefer(tracker.begin(), torch.tensor([[0.25, 0.5]]))
    state, result = tracker.step(preferred, image)
    assert result.faces.landmarks[0, :, 0].mean() < 100 and state.preferred.isnan().all()


@pytest.mark.parametrize("convert", [list, np.array])
def test_preferred_places_are_arrays_or_lists_too_one_for_each_video(convert):
    tracker = make()[0]
    state = tracker.prefer(tracker.begin(), convert([[0.25, 0.5]]))
    expected = tracker.prefer(tracker.begin(), torch.tensor([[0.25, 0.5]]))
    torch.testing.assert_close(state.preferred, expected.preferred, rtol=0, atol=0)
    with pytest.raises(ValueError, match=r"there are 2 places for 1 videos; give one for each, \(V, 2\)"):
        tracker.prefer(tracker.begin(), convert([[0.25, 0.5]] * 2))


def test_a_preferred_place_is_forgotten_even_where_no_face_is_found():
    tracker = make()[0]
    state, _ = tracker.step(tracker.prefer(tracker.begin(), torch.tensor([[0.25, 0.5]])), BLANK[None])
    assert state.preferred.isnan().all()


def test_a_placed_box_is_tracked_without_hypotheses():
    tracker, fitter, rectangles = make()
    state = tracker.place(tracker.begin(), torch.tensor([[40.0, 40, 40, 40]]))
    states, results = run(tracker, film("F"), state)
    assert fitter.calls == [Call("fit_from_params", FIRST, [0])] and rectangles.shown == 0
    assert results[0].success.item() and not results[0].detected.item()
    fitter.calls.clear()
    run(tracker, film("F"), tracker.place(states[-1], torch.tensor([[40.0, 40, 40, 40]])))
    assert fitter.calls == [Call("fit_from_params", SMALL, [0])]  # OpenFace: small after a success, even from a box


def test_a_placed_box_without_a_face_is_replaced_in_the_same_frame():
    tracker, fitter, _ = make()
    state = tracker.place(tracker.begin(), torch.tensor([[140.0, 40, 40, 40]]))
    _, results = run(tracker, film("F"), state)
    assert [call.kind for call in fitter.calls] == ["fit_from_params", "fit"] and results[0].success.item()


def test_unusable_boxes_change_nothing():
    tracker = make()[0]
    boxes = torch.tensor([[1.0, 2, 0, 5], [1, 2, torch.nan, 5]])
    state = tracker.place(tracker.begin(2), boxes)
    assert not state.tracks.initialised.any()


def test_a_damaged_frame_is_a_failure_that_moves_nothing():
    tracker, _, rectangles = make()
    state, _ = tracker.step(tracker.begin(), FACE[None])
    after, result = tracker.step(state, FACE[None], torch.tensor([True]))
    assert not result.success.item() and after.tracks.missed_frames.item() == 0 and rectangles.shown == 1
    torch.testing.assert_close(after.tracks.params.globals, state.tracks.params.globals)
    assert tracker.step(after, FACE[None])[1].success.item()


def test_a_damaged_frame_puts_a_detection_and_the_preferred_place_off_to_the_next():
    """Otherwise a video that begins with a damaged frame has no face in the first twelve, and then another one."""
    tracker, image = make()[0], frame((40, 60, 80), (150, 60, 90))
    for place, expected in ((0.25, 40), (0.75, 150)):
        state = tracker.prefer(tracker.begin(), torch.tensor([[place, 0.5]]))
        state, _ = tracker.step(state, FACE[None] * 0, [True])
        state, result = tracker.step(state, image[None])
        assert result.detected.item() and not state.unsearched.item()
        assert abs(result.faces.landmarks[0, :, 0].mean() - expected) < 10


def test_no_face_detector():
    tracker = VideoTracker(Fitter(), None, SINGLE)
    _, results = run(tracker, film("FF"))
    assert not any(result.success.item() for result in results)
    _, results = run(tracker, film("FF"), tracker.place(tracker.begin(), torch.tensor([[40.0, 40, 40, 40]])))
    assert all(result.success.item() for result in results)


def test_ages_and_frames():
    _, results = run(make()[0], film("BFFF"))
    assert [result.frame.item() for result in results] == [0, 1, 2, 3]
    assert not any(result.success.item() for result in results)  # the next attempt is in the thirteenth frame
    _, results = run(make()[0], film("FFF"))
    assert [result.age.item() for result in results] == [0, 1, 2]
    assert [result.identity.item() for result in results] == [0, 0, 0]
