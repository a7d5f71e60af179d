"""Frames wait until it is known which of their faces are faces: what was seen but a few times was a mistake."""

import contextlib
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from clnf_torch.cli.video_frames import Frame, FrameSource, VideoError, ahead
from clnf_torch.geometry.records import take_rows
from clnf_torch.tracking import TrackState, VideoResult, VideoTracker


@dataclass(frozen=True)
class VideoFrame:
    """A frame of a video, and the faces in it."""

    image: Tensor  # (3, H, W) RGB, uint8; black where the frame is damaged
    time: float  # seconds since the first frame
    number: int  # of the frame, from 1
    result: VideoResult  # the faces of this video alone


Taker = Callable[[VideoFrame], None]
"""Takes the frames of one video, one after the other."""


def run_parallel_videos(
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
    frames = torch.stack([lane.image for lane in running])
    damaged = torch.tensor([lane.frame.image is None for lane in running])
    with torch.inference_mode():
        state, result = tracker.step(state, frames, damaged)
        for video, lane in enumerate(running):
            own = take_rows(result, result.video == video)
            lane.take(VideoFrame(lane.image, lane.frame.time, lane.number, own))
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
    def image(self) -> Tensor:
        """The frame (3, H, W), black where it is damaged."""
        if self.frame.image is not None:
            return self.frame.image
        return torch.zeros(3, self.source.height, self.source.width, dtype=torch.uint8)


@dataclass
class ConfirmationBuffer:
    """Holds the frames of one video back, and gives them on without mistakes, their faces numbered without gaps.

    True faces keep their first frames. No more than a few frames wait: a tracker soon confirms a face or lets it rest.
    """

    waiting: deque[VideoFrame] = field(default_factory=deque)
    numbers: dict[int, int] = field(default_factory=dict)  # of the identities that were given on

    def __call__(self, seen: VideoFrame) -> Iterator[VideoFrame]:
        """Takes a frame; gives those in which every face is decided."""
        self.waiting.append(seen)
        doubtful = set(seen.result.identity[~seen.result.confirmed].tolist())
        sure = self._sure()
        while self.waiting and not doubtful & set(self.waiting[0].result.identity.tolist()):
            yield self._numbered(self.waiting.popleft(), sure)

    def end(self) -> Iterator[VideoFrame]:
        """Gives the frames that wait when the video ends; faces that were in doubt until then are true ones."""
        sure = self._sure()
        sure.update(self.waiting[-1].result.identity.tolist() if self.waiting else ())
        while self.waiting:
            yield self._numbered(self.waiting.popleft(), sure)

    def _sure(self) -> set[int]:
        """Faces that were confirmed by now."""
        return {face for seen in self.waiting for face in seen.result.identity[seen.result.confirmed].tolist()}

    def _numbered(self, seen: VideoFrame, sure: set[int]) -> VideoFrame:
        """A frame with its true faces alone."""
        faces = seen.result.identity.tolist()
        kept = [row for row, face in enumerate(faces) if face in sure]
        result = take_rows(seen.result, torch.tensor(kept, dtype=torch.int64, device=seen.result.identity.device))
        numbers = [self.numbers.setdefault(faces[row], len(self.numbers)) for row in kept]
        return replace(seen, result=replace(result, identity=result.identity.new_tensor(numbers)))
