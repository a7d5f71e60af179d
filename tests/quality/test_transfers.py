"""Checking landmarks on a card: the host is asked nothing, and sends nothing."""

from __future__ import annotations

import pytest
import torch

import clnf_torch
from tests.transfers import count_transfers


@pytest.mark.parametrize("given", ["landmarks", "detector", "frames"])
def test_nothing_is_transferred(given):
    """The meta device stands for a card."""
    detector = clnf_torch.load().to("meta") if given != "landmarks" else None
    frames = torch.zeros(1, 3, 200, 200, dtype=torch.uint8, device="meta") if given == "frames" else None
    landmarks, index = torch.ones(2, 68, 2, device="meta"), torch.zeros(2, dtype=torch.int64, device="meta")
    seen = {} if frames is None else {"frames": frames, "image_index": index}
    counted = count_transfers(lambda: clnf_torch.check_landmark_quality(landmarks, detector, **seen))
    assert counted.operations.total() > 100
    assert not counted.to_host and not counted.to_device
