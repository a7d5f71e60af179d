"""Videos that a card is asked to decode: the same frames, whether there is one or not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from av.codec.hwaccel import HWAccel

from clnf_torch.media import video_stream
from clnf_torch.media.video import VideoFile, open_video
from tests.media.videos import write_video

CARD = torch.device("cuda", 0)
# Gray levels. The card's decoder gives other chroma planes to the same conversion
WITHIN = 3


@pytest.fixture
def clip(tmp_path) -> Path:
    images = [np.full((48, 64, 3), 40 * number, np.uint8) for number in range(6)]
    return write_video(tmp_path / "clip.mp4", images)


def frames(clip: Path, device: torch.device | None = None) -> list[tuple[float, torch.Tensor]]:
    return [(frame.time, frame.image) for frame in VideoFile(clip, device=device)]


def test_the_processor_decodes_where_no_card_does(monkeypatch, clip):
    def unavailable(*args, **kwargs):
        raise PermissionError("no driver")

    monkeypatch.setattr(video_stream, "HWAccel", unavailable)
    expected, found = frames(clip), frames(clip, CARD)
    assert len(found) == len(expected) == 6
    for (time, image), (wanted, same) in zip(found, expected, strict=True):
        assert time == wanted and torch.equal(image, same)


def test_the_card_is_asked_for_by_its_number(monkeypatch, clip):
    asked = []

    def recorded(kind, device):
        asked.append((kind, device))
        raise RuntimeError("no device")

    monkeypatch.setattr(video_stream, "HWAccel", recorded)
    frames(clip, torch.device("cuda", 3))
    frames(clip, torch.device("cuda"))
    frames(clip, torch.device("cpu"))
    # Each file is opened to look at it, and to read it
    assert asked == [("cuda", "3")] * 2 + [("cuda", "0")] * 2


def test_a_broken_file_is_said_to_be_one(tmp_path):
    (broken := tmp_path / "broken.mp4").write_bytes(b"no video" * 99)
    with pytest.raises(ValueError, match="expected a video"):
        open_video(broken, device=CARD)


@pytest.mark.cuda
def test_a_card_decodes(clip):
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device on this machine")
    lines: list[str] = []
    found = [(frame.time, frame.image) for frame in VideoFile(clip, lines.append, CARD)]
    assert HWAccel is not None and any("is decoded on cuda:0" in line for line in lines)
    for (time, image), (wanted, same) in zip(found, frames(clip), strict=True):
        assert time == wanted
        assert (image.int() - same.int()).abs().max() <= WITHIN
