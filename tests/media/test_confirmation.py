"""Frames wait until every track in them is confirmed or dropped; confirmed faces keep their first frames."""

from __future__ import annotations

from dataclasses import replace

import torch

from clnf_torch.media.confirmation import ConfirmationBuffer
from clnf_torch.media.parallel_videos import VideoFrame
from clnf_torch.tracking import VideoTracker
from clnf_torch.tracking.result import results_by_video
from tests.tracking.world import MANY, SINGLE, Fitter, Rectangles, frame

CAREFUL = replace(MANY, detect_every=1, confirm_after=3, reidentify_distance=1.0)
ONE, OTHER = (50, 60, 80), (150, 60, 90)


def frames_of(walk, config=CAREFUL) -> list[VideoFrame]:
    """The frames of a video, with the faces that a tracker finds."""
    tracker = VideoTracker(Fitter(), Rectangles(), config)
    state, tracked = tracker.begin(), []
    for number, image in enumerate(walk):
        state, result = tracker.step(state, image[None])
        tracked.append(VideoFrame(image, float(number), number, *results_by_video(result)[0]))
    return tracked


def confirmed(tracked: list[VideoFrame]) -> tuple[list[list[int]], list[int]]:
    """The faces of every frame that comes out, and how many frames had come out after each that went in."""
    buffer, out, counts = ConfirmationBuffer(), [], []
    for each in tracked:
        out += buffer(each)
        counts.append(len(out))
    out += buffer.end()
    assert [each.number for each in out] == list(range(len(tracked)))
    return [each.result.identity.tolist() for each in out], counts


def test_a_confirmed_face_keeps_its_first_frames():
    faces, counts = confirmed(frames_of([frame(ONE)] * 6))
    assert faces == [[0]] * 6
    assert counts == [0, 0, 3, 4, 5, 6]


def test_a_dropped_track_leaves_no_gap_in_the_numbers():
    walk = [frame(ONE)] * 3 + [frame(ONE, OTHER)] * 2 + [frame(ONE)] * 3 + [frame(ONE, (110, 98, 70))] * 4
    tracked = frames_of(walk)
    assert max(each.result.identity.max().item() for each in tracked) == 2
    faces, counts = confirmed(tracked)
    assert faces == [[0]] * 8 + [[0, 1]] * 4
    assert counts == [0, 0, 3, 3, 3, 3, 3, 8, 8, 8, 11, 12]  # lost twice, the track is dropped


def test_a_face_that_is_missed_once_is_confirmed():
    faces, _ = confirmed(frames_of([frame(ONE)] * 2 + [frame()] + [frame(ONE)] * 2))
    assert faces == [[0]] * 5


def test_frames_without_faces_do_not_wait():
    faces, counts = confirmed(frames_of([frame()] * 3))
    assert faces == [[]] * 3 and counts == [1, 2, 3]


def test_unconfirmed_tracks_count_when_the_video_ends():
    assert confirmed(frames_of([frame(ONE)] * 2)) == ([[0]] * 2, [0, 0])
    assert confirmed([]) == ([], [])


def test_the_single_face_is_confirmed_at_once():
    faces, counts = confirmed(frames_of([frame(), frame(ONE), frame()], SINGLE))
    assert faces == [[0]] * 3 and counts == [1, 2, 3]


def test_rows_stay_with_their_faces():
    tracked = frames_of([frame(ONE, OTHER)] * 2 + [frame(OTHER)] * 4)
    buffer = ConfirmationBuffer()
    out = [each for one in tracked for each in buffer(one)]
    assert [each.result.identity.tolist() for each in out] == [[0]] * 6
    centres = [(each.result.faces.landmarks.amin(1) + each.result.faces.landmarks.amax(1)) / 2 for each in out]
    torch.testing.assert_close(torch.cat(centres), torch.tensor([[150.0, 60.0]] * 6, dtype=torch.float64))
