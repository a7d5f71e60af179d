"""Parallel videos, tracked as one batch, and the buffer that holds their frames until every face is confirmed."""

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


FrameSink = Callable[[VideoFrame], None]
"""Takes the frames of one video, one after the other."""


def run_parallel_videos(
    tracker: VideoTracker,
    sources: Iterable[FrameSource],
    at_once: int,
    opened: Callable[[FrameSource], AbstractContextManager[FrameSink]],
    begin: Callable[[], TrackState],
    done: Callable[[int], None],
) -> None:
    """Tracks the faces of several videos at a time; a video that ends makes room for the next one.

    Args:
        tracker: Tracks the faces.
        sources: Videos of one size.
        at_once: How many are tracked in parallel.
        opened: Opens what takes a video's frames; closed when the video has ended, or when anything ends this.
        begin: The state before the first frame of a video.
        done: Told after every step how many frames it had. What it raises ends this.
    """
    waiting, running, state = deque(sources), list[_RunningVideo](), tracker.begin(0)
    with ExitStack() as unfinished:
        while waiting or running:
            while waiting and len(running) < at_once:
                running.append(_RunningVideo.of(waiting.popleft(), opened, unfinished))
                state = state.join(begin())
            active = [video.advance() for video in running]
            running = [video for video, more in zip(running, active, strict=True) if more]
            state = state.select(torch.tensor(active).nonzero().squeeze(1).to(state.frame.device))
            if running:
                state = _step(tracker, state, running)
                done(len(running))


def _step(tracker: VideoTracker, state: TrackState, running: list["_RunningVideo"]) -> TrackState:
    """One frame of every video."""
    frames = torch.stack([video.image for video in running])
    damaged = torch.tensor([video.frame.image is None for video in running])
    with torch.inference_mode():
        state, result = tracker.step(state, frames, damaged)
        for number, video in enumerate(running):
            own = take_rows(result, result.video == number)
            video.sink(VideoFrame(video.image, video.frame.time, video.number, own))
    return state


@dataclass
class _RunningVideo:
    """A video that is being read, with its current frame."""

    source: FrameSource
    frames: Generator[Frame, None, None]
    sink: FrameSink
    end: ExitStack  # closes what was opened for it
    frame: Frame = field(default=Frame(0.0, None))
    number: int = 0

    @classmethod
    def of(
        cls,
        source: FrameSource,
        opened: Callable[[FrameSource], AbstractContextManager[FrameSink]],
        unfinished: ExitStack,
    ) -> "_RunningVideo":
        """Opens a video, to be closed at its end or when `unfinished` is."""
        end = unfinished.enter_context(ExitStack())
        sink = end.enter_context(opened(source))
        return cls(source, end.enter_context(contextlib.closing(ahead(source))), sink, end)

    def advance(self) -> bool:
        """Reads the next frame. Whether there is one; otherwise the video is closed."""
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
    """Holds back the frames of one video until each of their tracks is confirmed or dropped.

    Confirmed faces are given from their first frame on, numbered without gaps; dropped ones, which the face detector
    found but a few times, are left out. Few frames wait: a tracker soon confirms or drops a track.
    """

    waiting: deque[VideoFrame] = field(default_factory=deque)
    numbers: dict[int, int] = field(default_factory=dict)  # of the identities that were given on

    def __call__(self, frame: VideoFrame) -> Iterator[VideoFrame]:
        """Takes a frame; gives those in which every track is confirmed or dropped."""
        self.waiting.append(frame)
        unconfirmed = set(frame.result.identity[~frame.result.confirmed].tolist())
        confirmed = self._confirmed()
        while self.waiting and not unconfirmed & set(self.waiting[0].result.identity.tolist()):
            yield self._numbered(self.waiting.popleft(), confirmed)

    def end(self) -> Iterator[VideoFrame]:
        """Gives the frames that wait when the video ends; tracks that are unconfirmed then count as faces."""
        confirmed = self._confirmed()
        confirmed.update(self.waiting[-1].result.identity.tolist() if self.waiting else ())
        while self.waiting:
            yield self._numbered(self.waiting.popleft(), confirmed)

    def _confirmed(self) -> set[int]:
        """Identities that were confirmed by now."""
        return {face for frame in self.waiting for face in frame.result.identity[frame.result.confirmed].tolist()}

    def _numbered(self, frame: VideoFrame, confirmed: set[int]) -> VideoFrame:
        """A frame with its confirmed faces alone."""
        faces = frame.result.identity.tolist()
        kept = [row for row, face in enumerate(faces) if face in confirmed]
        result = take_rows(frame.result, torch.tensor(kept, dtype=torch.int64, device=frame.result.identity.device))
        numbers = [self.numbers.setdefault(faces[row], len(self.numbers)) for row in kept]
        return replace(frame, result=replace(result, identity=result.identity.new_tensor(numbers)))
