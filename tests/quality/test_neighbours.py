"""Each face one frame earlier and later, whatever the order of the table."""

from __future__ import annotations

import torch

from clnf_torch.quality.repair import neighbours


def test_frames_before_and_after_are_found_in_any_order():
    frame = torch.tensor([7, 5, 6, 9])
    landmarks = frame[:, None, None].float().expand(4, 68, 2)
    before, after = neighbours(landmarks, frame)
    nan = float("nan")
    torch.testing.assert_close(before[:, 0, 0], torch.tensor([6.0, nan, 5.0, nan]), equal_nan=True)
    torch.testing.assert_close(after[:, 67, 1], torch.tensor([nan, 6.0, 7.0, nan]), equal_nan=True)


def test_faces_are_kept_apart():
    frame, identity = torch.tensor([0, 1, 1, 2, 0]), torch.tensor([4, 4, -2, -2, 9])
    landmarks = (10.0 * identity + frame)[:, None, None].expand(5, 68, 2)
    before, after = neighbours(landmarks, frame, identity)
    nan = float("nan")
    torch.testing.assert_close(before[:, 3, 0], torch.tensor([nan, 40.0, nan, -19.0, nan]), equal_nan=True)
    torch.testing.assert_close(after[:, 3, 0], torch.tensor([41.0, nan, -18.0, nan, nan]), equal_nan=True)


def test_no_faces():
    before, after = neighbours(torch.zeros(0, 68, 2), torch.zeros(0, dtype=torch.int64))
    assert before.shape == after.shape == (0, 68, 2)
