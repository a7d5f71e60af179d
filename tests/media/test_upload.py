"""`clnf_torch.media.upload`: frames on their way to a card. (The copy itself needs one.)"""

from __future__ import annotations

import pytest
import torch

from clnf_torch.media.upload import UploadedFrame, stacked, uploaded
from clnf_torch.media.video_frames import Frame

IMAGES = [torch.full((3, 4, 5), value, dtype=torch.uint8) for value in (1, 2, 3)]


def test_frames_for_the_processor_are_those_that_were_read():
    frames = [Frame(0.1 * number, image) for number, image in enumerate(IMAGES)]
    assert list(uploaded(frames, torch.device("cpu"))) == frames
    torch.testing.assert_close(stacked(list(zip(frames, IMAGES, strict=True))), torch.stack(IMAGES))


class Sent(UploadedFrame):
    """A frame whose copy has ended."""

    def wait(self):
        return self.there


def test_a_step_is_made_of_what_is_on_the_card():
    """The image there counts, not the one here; a damaged frame is sent when it is needed."""
    frames = [
        Sent(0.0, IMAGES[0], there=IMAGES[1].to("meta")),
        Frame(0.0, None),
        Sent(0.0, IMAGES[2], there=IMAGES[2].to("meta")),
    ]
    step = stacked(list(zip(frames, IMAGES, strict=True)))
    assert step.device.type == "meta" and step.shape == (3, 3, 4, 5)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine")
def test_frames_arrive_on_a_card():
    frames = [Frame(0.0, IMAGES[0]), Frame(0.1, None), Frame(0.2, IMAGES[2])]
    sent = list(uploaded(frames, torch.device("cuda")))
    assert [frame.time for frame in sent] == [0.0, 0.1, 0.2] and sent[1].image is None
    step = stacked([(frame, image) for frame, image in zip(sent, (IMAGES[0], IMAGES[1], IMAGES[2]), strict=True)])
    torch.testing.assert_close(step.cpu(), torch.stack(IMAGES))
