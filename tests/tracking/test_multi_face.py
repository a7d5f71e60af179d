"""Many faces per video: identities that stay when faces cross, leave, return, are hidden or found twice."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pytest
import torch

from clnf_torch.detection.face_detector import FaceBoxes
from clnf_torch.tracking import VideoConfig, VideoResult, VideoTracker
from tests.tracking.world import FIRST, HEIGHT, MANY, WIDTH, Fitter, Rectangles, frame, room

LASTING = replace(MANY, delete_after=1000)


def make(config: VideoConfig = MANY, **kwargs) -> VideoTracker:
    return VideoTracker(Fitter(**kwargs), Rectangles(), config)


def run(tracker: VideoTracker, frames: Iterable[torch.Tensor]) -> list[VideoResult]:
    state, results = tracker.begin(), []
    for image in frames:
        state, result = tracker.step(state, image[None])
        results.append(result)
    return results


def places(result: VideoResult) -> dict[int, tuple[int, int]]:
    """Where each identity was found, pixels."""
    centres = (result.faces.landmarks.amin(1) + result.faces.landmarks.amax(1)) / 2
    rows = zip(result.identity.tolist(), centres.round().long().tolist(), result.success.tolist(), strict=True)
    return {identity: tuple(centre) for identity, centre, success in rows if success}


def test_every_face_is_tracked():
    walk = [frame((50 + t, 40, 80), (150 - t, 80, 90)) for t in range(12)]
    for t, result in enumerate(run(make(), walk)):
        assert places(result) == {0: (50 + t, 40), 1: (150 - t, 80)}
        assert result.age.tolist() == [t, t] and result.frame.tolist() == [t, t]


def test_faces_that_cross_keep_their_identities():
    """They pass at different heights, half hidden by one another."""
    walk = [frame((40 + 4 * t, 50, 80), (160 - 4 * t, 72, 90)) for t in range(30)]
    last = places(run(make(), walk)[-1])
    assert last == {0: (156, 50), 1: (44, 72)}


def test_a_face_that_is_hidden_by_another_comes_back_as_itself():
    walk = [frame((40 + 4 * t, 60, 80), (100, 62, 90)) for t in range(30)]
    results = run(make(), walk)
    assert any(len(places(result)) == 1 for result in results)
    assert places(results[-1]) == {0: (156, 60), 1: (100, 62)}
    assert {identity for result in results for identity in result.identity.tolist()} == {0, 1}


@pytest.mark.parametrize("still", [False, True])
def test_an_older_face_that_passes_behind_another_does_not_take_its_identity(still):
    """For a while both tracks follow the face in front."""
    walk = [frame((100 if still else 160 - 4 * t, 62, 90), (40 + 4 * t, 60, 80)) for t in range(30)]
    results = run(make(), walk)
    assert places(results[0]) == {0: (40, 60), 1: (100 if still else 160, 62)}
    assert any(len(places(result)) == 1 for result in results)
    assert places(results[-1]) == {0: (156, 60), 1: (100 if still else 44, 62)}


def test_a_face_that_leaves_and_returns_keeps_its_identity():
    positions = [*range(150, 240, 6), *range(240, 148, -6)]
    walk = [frame((40, 60, 80), (x, 60, 90)) for x in positions]
    results = run(make(LASTING), walk)
    assert places(results[-1]) == {0: (40, 60), 1: (150, 60)}
    lost = [result for result in results if len(places(result)) == 1]
    assert lost and all(result.identity.tolist() == [0, 1] for result in lost)  # the lost one keeps its row


def test_a_lost_track_is_deleted_and_its_identity_not_used_again():
    walk = [frame((60, 60, 80))] * 2 + [frame()] * 25 + [frame((60, 60, 80))] * 5
    results = run(make(), walk)
    rows = [len(result.identity) for result in results]
    assert rows[2:22] == [1] * 20 and rows[22:27] == [0] * 5
    assert places(results[-1]) == {1: (60, 60)} and results[-1].age.item() < 5


def test_a_lost_face_is_detected_at_once():
    """It jumps between two looks at the whole frame, to where no window reaches."""
    results = run(make(), [frame((60, 60, 80))] * 3 + [frame((130, 60, 80))])
    assert places(results[-1]) == {0: (130, 60)} and results[-1].detected.item()


def test_a_face_of_other_appearance_is_a_new_track():
    results = run(make(), [frame((60, 60, 80))] * 3 + [frame((130, 60, 90))])
    assert places(results[-1]) == {1: (130, 60)} and results[-1].identity.tolist() == [0, 1]


def test_behind_a_cut_another_face_at_the_same_place_is_another_one_and_comes_back_as_itself():
    one, other = room(1, (100, 60, 80)), room(2, (100, 60, 110))
    results = run(make(LASTING), [*[one] * 4, *[other] * 4, *[one] * 4, *[other] * 4])
    assert [list(places(result)) for result in results] == [[0]] * 4 + [[1]] * 4 + [[0]] * 4 + [[1]] * 4


def test_a_face_keeps_its_identity_behind_a_cut():
    shots = [*[room(1, (100, 60, 80))] * 4, *[room(2, (103, 60, 80))] * 4, *[room(3, (50, 60, 80))] * 4]
    assert all(list(places(result)) == [0] for result in run(make(), shots))


def test_what_changes_a_face_alone_is_no_cut():
    """A hand, or another light on it: it keeps its identity where the rest of the frame stays."""
    shots = [*[room(1, (100, 60, 80))] * 4, *[room(1, (100, 60, 110))] * 4]
    assert all(list(places(result)) == [0] for result in run(make(), shots))


def test_a_camera_that_fails_for_a_while_is_no_cut():
    tracker = make()
    state, _ = tracker.step(tracker.begin(), room(1, (100, 60, 80))[None])
    for image, damaged in ((frame(), False), (room(2, (100, 60, 110)), True)):
        after, _ = tracker.step(state, image[None], torch.tensor([damaged]))
        assert torch.equal(after.scene, state.scene) and state.scene.any()


def test_without_a_face_detector_a_cut_ends_no_track():
    tracker = VideoTracker(Fitter(), None, MANY)
    state = tracker.place(tracker.begin(), torch.tensor([[80.0, 40.0, 40.0, 40.0]]))
    for image in [*[room(1, (100, 60, 80))] * 4, *[room(2, (100, 60, 110))] * 4]:
        state, result = tracker.step(state, image[None])
        assert list(places(result)) == [0]


def test_faces_lost_together_are_reidentified_by_appearance():
    """While nobody looks they change places; each is nearer to where the other one was."""
    walk = [frame((60, 60, 80), (140, 60, 90))] * 3 + [frame()] * 2 + [frame((130, 60, 80), (70, 60, 90))] * 6
    results = run(make(LASTING), walk)
    assert places(results[-1]) == {0: (130, 60), 1: (70, 60)}


def test_a_face_lost_long_ago_is_not_fitted_but_reidentified():
    """It has no row and is not fitted any more, until it is found again out of reach of where it was."""
    config = replace(LASTING, max_missed_frames=4, reidentify_distance=1.0)
    walk = [frame((40, 60, 80))] * 2 + [frame()] * 12 + [frame((160, 60, 80))] * 5
    tracker = make(config)
    results = run(tracker, walk)
    assert [result.identity.tolist() for result in results] == [[0]] * 6 + [[]] * 9 + [[0]] * 4
    assert places(results[-1]) == {0: (160, 60)} and results[-1].age.item() == 18
    wide = [len(call.image_index) for call in tracker.detector.calls if call.windows == FIRST.window_sizes]
    assert wide == [1] * 5  # found twice, and looked for in between while it did not rest


def test_a_lost_track_is_not_resumed_by_another_appearance():
    """Something else is where it was, which the validator likes, and which no detection shows."""
    tracker = make(LASTING)
    state, _ = tracker.step(tracker.begin(), frame((60, 60, 80))[None])
    state, lost = tracker.step(state, frame()[None])
    state, other = tracker.step(state, frame((60, 60, 90))[None])
    assert not lost.success.any() and not other.success.any()
    state, same = tracker.step(state, frame((60, 60, 80))[None])
    assert places(same) == {0: (60, 60)}


def test_a_lost_tentative_track_is_soon_not_fitted():
    walk = [frame((60, 60, 80))] * 2 + [frame()] * 3 + [frame((60, 60, 80))] * 3 + [frame()]
    results = run(make(replace(LASTING, confirm_after=4)), walk)
    assert [result.identity.tolist() for result in results] == [[0]] * 4 + [[]] + [[0]] * 4
    assert [result.success.tolist() for result in results[2:4]] == [[False], [False]]
    assert [result.confirmed.tolist() for result in results[5:]] == [[False], [True], [True], [True]]
    assert not results[-1].success.any()


def test_a_lost_face_does_not_take_over_one_that_passes_by():
    """The older face is hidden for good; the younger walks over its place and keeps its own identity."""
    walk = [frame((40, 60, 80), (150, 60, 90))] * 2 + [frame((150 - 3 * t, 60, 90)) for t in range(15)]
    walk += [frame((105 - 3 * t, 60, 90)) for t in range(20)]
    results = run(make(replace(MANY, delete_after=100)), walk)
    assert places(results[-1]) == {1: (48, 60)}


def test_two_detections_of_one_face_make_one_track():
    class Twice(Rectangles):
        def detect(self, frames):
            faces = super().detect(frames)
            boxes = torch.cat((faces.boxes, faces.boxes + 3))
            return FaceBoxes(boxes=boxes, score=faces.score.repeat(2), image_index=faces.image_index.repeat(2))

    results = run(VideoTracker(Fitter(), Twice(), MANY), [frame((60, 60, 80))] * 12)
    assert all(result.identity.tolist() == [0] for result in results)


def test_of_two_tracks_of_one_face_the_older_stays():
    tracker = make()
    state = tracker.place(tracker.begin(), torch.tensor([[40.0, 40, 40, 40], [44, 42, 40, 40]]))
    for _ in range(3):
        state, result = tracker.step(state, frame((60, 60, 80))[None])
        assert places(result) == {0: (60, 60)}


def test_faces_that_the_validator_doubts_are_no_faces():
    results = run(make(doubted=frozenset({90})), [frame((50, 60, 80), (150, 60, 90))] * 3)
    assert all(result.identity.tolist() == [0] for result in results)


def test_a_track_that_the_validator_comes_to_doubt_is_lost():
    walk = [frame((60, 60, 80))] * 2 + [frame((60, 60, 90))] * 2
    results = run(make(doubted=frozenset({90})), walk)
    assert [len(places(result)) for result in results] == [1, 1, 0, 0] and results[-1].identity.tolist() == [0]
    assert results[-1].faces.confidence.item() == pytest.approx(0.1)


@pytest.mark.parametrize("damaged", [1, 3])
def test_a_detection_that_damaged_frames_prevent_is_made_behind_them(damaged):
    """At the beginning of a video, and where the face is elsewhere behind the frames in which it was lost."""
    tracker = make()
    state = tracker.begin()
    for place in ((60, 60, 80), (130, 60, 80)):
        for _ in range(damaged):
            state, _ = tracker.step(state, frame()[None], [True])
        looks = tracker._fitter.face_detector.shown
        state, result = tracker.step(state, frame(place)[None])
        assert places(result) == {0: place[:2]} and result.detected.item()
        assert tracker._fitter.face_detector.shown == looks + 1


def test_blank_and_damaged_frames_are_rows_without_success():
    tracker = make()
    state, _ = tracker.step(tracker.begin(), frame((60, 60, 80))[None])
    before = state.tracks.params.globals
    for image, damaged in ((frame(), False), (frame((60, 60, 80)), True)):
        state, result = tracker.step(state, image[None], torch.tensor([damaged]))
        assert result.identity.tolist() == [0] and not result.success.any()
        torch.testing.assert_close(state.tracks.params.globals, before)  # a lost face waits where it was
    state, result = tracker.step(state, frame((62, 60, 80))[None])
    assert places(result) == {0: (62, 60)}


def test_nothing_but_blank_frames():
    results = run(make(), [torch.zeros(HEIGHT, WIDTH, dtype=torch.uint8)] * 7)
    assert all(len(result.identity) == 0 and result.faces.landmarks.shape == (0, 5, 2) for result in results)


def test_faces_are_detected_every_few_frames():
    tracker = make()
    run(tracker, [frame((60, 60, 80))] * 11)
    assert tracker._fitter.face_detector.shown == 3  # frames 0, 5 and 10


def test_a_placed_face_gets_an_identity_of_its_own():
    tracker = make()
    state, _ = tracker.step(tracker.begin(), frame((60, 60, 80))[None])
    state = tracker.place(state, torch.tensor([[130.0, 40, 40, 40]]))
    state, result = tracker.step(state, frame((60, 60, 80), (150, 60, 90))[None])
    assert places(result) == {0: (60, 60), 1: (150, 60)} and state.next_identity.tolist() == [2]
