"""Frames are held back until their faces are decided: mistakes go, true faces keep their first frames."""

from __future__ import annotations

from dataclasses import replace

import torch

from clnf_torch.cli.parallel_videos import ConfirmationBuffer, VideoFrame
from clnf_torch.tracking import VideoTracker
from tests.tracking.world import MANY, SINGLE, Fitter, Rectangles, frame

CAREFUL = replace(MANY, detect_every=1, confirm_after=3, reidentify_distance=1.0)
ONE, OTHER = (50, 60, 80), (150, 60, 90)


def seen_by(walk, config=CAREFUL) -> list[VideoFrame]:
    """What a tracker sees, frame by frame."""
    tracker = VideoTracker(Fitter(), Rectangles(), config)
    state, seen = tracker.begin(), []
    for number, image in enumerate(walk):
        state, result = tracker.step(state, image[None])
        seen.append(VideoFrame(image, float(number), number, result))
    return seen


def decided(seen: list[VideoFrame]) -> tuple[list[list[int]], list[int]]:
    """The faces of every frame that comes out, and how many frames had come out after each that went in."""
    undecided, out, counts = ConfirmationBuffer(), [], []
    for each in seen:
        out += undecided(each)
        counts.append(len(out))
    out += undecided.end()
    assert [each.number for each in out] == list(range(len(seen)))
    return [each.result.identity.tolist() for each in out], counts


def test_a_true_face_keeps_its_first_frames():
    faces, counts = decided(seen_by([frame(ONE)] * 6))
    assert faces == [[0]] * 6
    assert counts == [0, 0, 3, 4, 5, 6]


def test_a_mistake_goes_and_leaves_no_gap_in_the_numbers():
    walk = [frame(ONE)] * 3 + [frame(ONE, OTHER)] * 2 + [frame(ONE)] * 3 + [frame(ONE, (110, 98, 70))] * 4
    seen = seen_by(walk)
    assert max(each.result.identity.max().item() for each in seen) == 2
    faces, counts = decided(seen)
    assert faces == [[0]] * 8 + [[0, 1]] * 4
    assert counts == [0, 0, 3, 3, 3, 3, 3, 8, 8, 8, 11, 12]  # lost twice, the mistake rests


def test_a_face_that_is_missed_once_is_no_mistake():
    faces, _ = decided(seen_by([frame(ONE)] * 2 + [frame()] + [frame(ONE)] * 2))
    assert faces == [[0]] * 5


def test_nobody_is_waited_for_in_frames_without_faces():
    faces, counts = decided(seen_by([frame()] * 3))
    assert faces == [[]] * 3 and counts == [1, 2, 3]


def test_a_short_video_is_given_the_benefit_of_the_doubt():
    assert decided(seen_by([frame(ONE)] * 2)) == ([[0]] * 2, [0, 0])
    assert decided([]) == ([], [])


def test_the_single_face_is_never_doubted():
    faces, counts = decided(seen_by([frame(), frame(ONE), frame()], SINGLE))
    assert faces == [[0]] * 3 and counts == [1, 2, 3]


def test_rows_stay_with_their_faces():
    seen = seen_by([frame(ONE, OTHER)] * 2 + [frame(OTHER)] * 4)
    undecided = ConfirmationBuffer()
    out = [each for one in seen for each in undecided(one)]
    assert [each.result.identity.tolist() for each in out] == [[0]] * 6
    centres = [(each.result.faces.landmarks.amin(1) + each.result.faces.landmarks.amax(1)) / 2 for each in out]
    torch.testing.assert_close(torch.cat(centres), torch.tensor([[150.0, 60.0]] * 6, dtype=torch.float64))
