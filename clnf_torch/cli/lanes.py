"""Videos of one size side by side: when one ends, the next takes its lane."""

import contextlib
from collections import deque
from collections.abc import Callable, Generator, Iterable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field

import torch
from torch import Tensor

from clnf_torch.cli.frames import Frame, FrameSource, VideoError, ahead
from clnf_torch.tracking import TrackState, VideoResult, VideoTracker
from clnf_torch.tracking.rows import take_rows


@dataclass(frozen=True)
class Seen:
    """A frame of a video, and the faces in it."""

    picture: Tensor  # (3, H, W) RGB, uint8; black where the frame is damaged
    time: float  # seconds since the first frame
    number: int  # of the frame, from 1
    result: VideoResult  # the faces of this video alone


Taker = Callable[[Seen], None]
"""Takes the frames of one video, one after the other."""


def run_side_by_side(
    tracker: VideoTracker,
    sources: Iterable[FrameSource],
    lanes: int,
    opened: Callable[[FrameSource], AbstractContextManager[Taker]],
    begin: Callable[[], TrackState],
    stepped: Callable[[int], None],
) -> None:
    """Follows faces through videos.

    Args:
        tracker: What follows them.
        sources: Videos of one size.
        lanes: How many are worked on at once.
        opened: Opens what takes a video's frames; closed when the video has ended, or when anything ends this.
        begin: The state before the first frame of a video.
        stepped: Told after every step how many frames it had. What it raises ends this.
    """
    waiting, running, state = deque(sources), list[_Lane](), tracker.begin(0)
    with ExitStack() as left:
        while waiting or running:
            while waiting and len(running) < lanes:
                running.append(_Lane.of(waiting.popleft(), opened, left))
                state = state.join(begin())
            going = [lane.advance() for lane in running]
            running = [lane for lane, more in zip(running, going, strict=True) if more]
            state = state.select(torch.tensor(going).nonzero().squeeze(1).to(state.frame.device))
            if running:
                state = _step(tracker, state, running)
                stepped(len(running))


def _step(tracker: VideoTracker, state: TrackState, running: list["_Lane"]) -> TrackState:
    """One frame of every lane."""
    frames = torch.stack([lane.picture for lane in running])
    damaged = torch.tensor([lane.frame.picture is None for lane in running])
    with torch.inference_mode():
        state, result = tracker.step(state, frames, damaged)
        for video, lane in enumerate(running):
            own = take_rows(result, result.video == video)
            lane.take(Seen(lane.picture, lane.frame.time, lane.number, own))
    return state


@dataclass
class _Lane:
    """A video on its way."""

    source: FrameSource
    frames: Generator[Frame, None, None]
    take: Taker
    end: ExitStack  # closes what was opened for it
    frame: Frame = field(default=Frame(0.0, None))
    number: int = 0

    @classmethod
    def of(
        cls, source: FrameSource, opened: Callable[[FrameSource], AbstractContextManager[Taker]], left: ExitStack
    ) -> "_Lane":
        """Opens a lane, to be closed at its end or when `left` is."""
        end = left.enter_context(ExitStack())
        take = end.enter_context(opened(source))
        return cls(source, end.enter_context(contextlib.closing(ahead(source))), take, end)

    def advance(self) -> bool:
        """Goes to the next frame. Whether there is one; otherwise the lane is closed."""
        try:
            frame = next(self.frames, None)
        except VideoError as error:
            frame, self.source.problem = None, str(error)
        if frame is None:
            self.end.close()
            return False
        self.frame, self.number = frame, self.number + 1
        return True

    @property
    def picture(self) -> Tensor:
        """The frame (3, H, W), black where it is damaged."""
        if self.frame.picture is not None:
            return self.frame.picture
        return torch.zeros(3, self.source.height, self.source.width, dtype=torch.uint8)
