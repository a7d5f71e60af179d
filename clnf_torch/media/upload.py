"""Frames on their way to a card: copied beside the fit, on a stream of their own, from memory that does not move."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from clnf_torch.media.video_frames import Frame


@dataclass(frozen=True)
class UploadedFrame(Frame):
    """A frame that is in the processor's memory and, before long, on a card.

    Attributes:
        there: The image on the card, (3, H, W) RGB, uint8; to be used after `wait`. None where the frame is damaged.
        copied: The event behind the copy.
    """

    there: Tensor | None = None
    copied: Any = None

    def wait(self) -> Tensor | None:
        """The image on the card, for the current stream, which waits for the copy; the host does not."""
        if self.there is not None:
            stream = torch.cuda.current_stream(self.there.device)
            stream.wait_event(self.copied)
            # Its memory is not given away before this stream is done with it
            self.there.record_stream(stream)
        return self.there


def uploaded(frames: Iterable[Frame], device: torch.device) -> Iterator[Frame]:
    """The same frames, sent to a card as soon as they are decoded; for other devices as they are.

    To be read ahead in a thread of its own, so that a frame is decoded and copied while the fit is at earlier ones.
    """
    if device.type != "cuda":
        yield from frames
        return
    stream = torch.cuda.Stream(device)
    for frame in frames:
        if frame.image is None:
            yield frame
            continue
        pinned = frame.image.pin_memory()
        with torch.cuda.stream(stream):
            there = pinned.to(device, non_blocking=True)
        yield UploadedFrame(frame.time, pinned, there=there, copied=stream.record_event())


def stacked(frames: list[tuple[Frame, Tensor]]) -> Tensor:
    """The frames of a step (V, 3, H, W), on the card where they have been sent there.

    Args:
        frames: Each with the image in the processor's memory that stands for it.
    """
    there = [frame.wait() if isinstance(frame, UploadedFrame) else None for frame, _ in frames]
    device = next((image.device for image in there if image is not None), torch.device("cpu"))
    pairs = zip(there, frames, strict=True)
    return torch.stack([here.to(device) if image is None else image for image, (_, here) in pairs])
