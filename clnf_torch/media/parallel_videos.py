"""Parallel videos, tracked as one batch; what is saved of them between two steps lets them go on to the last bit."""

import contextlib
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

from clnf_torch.files.growing import SAVE_EVERY
from clnf_torch.media.upload import stacked, uploaded
from clnf_torch.media.video_frames import Frame, FrameSource, ahead, video_problem
from clnf_torch.tracking import TrackState, VideoResult, VideoTracker
from clnf_torch.tracking.result import HostRows, results_by_video


@dataclass(frozen=True)
class VideoFrame:
    """A frame of a video, and the faces in it."""

    image: Tensor  # (3, H, W) RGB, uint8; black where the frame is damaged
    time: float  # seconds since the first frame
    number: int  # of the frame, from 1
    result: VideoResult  # the faces of this video alone
    rows: HostRows  # what the host knows of them
    damaged: bool = False
    problem: str | None = None  # why it is damaged, in a line, where somebody asks


class FrameSink(Protocol):
    """Takes the frames of one video, one after the other."""

    def __call__(self, frame: VideoFrame) -> None:
        """Takes the next frame."""
        ...

    def saved(self) -> dict[str, Any]:
        """All that it needs to go on behind the frames that it has taken: plain values and tensors."""
        ...

    def skipped(self, number: int, image: Tensor) -> None:
        """Takes the image of a frame, from 1, that it took before it was saved."""
        ...


@dataclass(frozen=True)
class Snapshot:
    """The videos that run between two steps, in their order, and all that is known of them."""

    state: TrackState  # its `frame` says how many frames of each are done
    sources: list[FrameSource]
    sinks: list[dict[str, Any]]

    def among(self, sources: Sequence[FrameSource]) -> "Snapshot | None":
        """What is known of some videos; None where it is nothing."""
        rows = [number for number, source in enumerate(self.sources) if source in sources]
        if not rows:
            return None
        state = self.state.select(torch.tensor(rows, device=self.state.frame.device))
        return Snapshot(state, [self.sources[row] for row in rows], [self.sinks[row] for row in rows])


Opened = Callable[[FrameSource, dict[str, Any] | None], AbstractContextManager[FrameSink]]
"""Opens what takes a video's frames, as it was saved or new."""


@dataclass(frozen=True)
class VideoRun:
    """How videos are tracked, and what becomes of their frames.

    Attributes:
        tracker: Tracks the faces.
        at_once: How many videos are tracked in parallel.
        opened: Opens what takes a video's frames; closed when the video has ended, or when anything ends the run.
        begin: The state before the first frame of a video.
        done: Told after every step how many frames it had. What it raises ends the run.
        save: Given what goes on from here, now and then.
        save_every: Seconds from one time to the next.
    """

    tracker: VideoTracker
    at_once: int
    opened: Opened
    begin: Callable[[], TrackState]
    done: Callable[[int], None]
    save: Callable[[Snapshot], None] = lambda snapshot: None
    save_every: float = SAVE_EVERY


def run_parallel_videos(run: VideoRun, sources: Iterable[FrameSource], snapshot: Snapshot | None = None) -> None:
    """Tracks the faces of several videos at a time; a video that ends makes room for the next one.

    Which videos share a step depends on their lengths alone, and what is saved holds all that run: resumed, the steps
    are those of an uninterrupted run, to the last bit.

    Args:
        run: How, and what becomes of the frames.
        sources: Videos of one size.
        snapshot: Of an earlier run, to go on with; its videos are among `sources`.
    """
    with ExitStack() as unfinished:
        videos = _ParallelVideos(run, sources, snapshot, unfinished)
        while videos.advance():
            videos.step()


class _ParallelVideos:
    """The videos that are read, their state, and those that wait."""

    def __init__(
        self, run: VideoRun, sources: Iterable[FrameSource], snapshot: Snapshot | None, unfinished: ExitStack
    ) -> None:
        self.run, self.unfinished = run, unfinished
        self.running: list[_RunningVideo] = []
        self.waiting, self.saved_at = deque(sources), time.monotonic()
        self.state = run.tracker.begin(0) if snapshot is None else snapshot.state
        if snapshot is not None:
            frames = snapshot.state.frame.tolist()
            for source, sink, count in zip(snapshot.sources, snapshot.sinks, frames, strict=True):
                self._resume(source, sink, count)

    def _resume(self, source: FrameSource, sink: dict[str, Any], frames: int) -> None:
        """Opens a video that was saved, behind the frames that are done.

        They are decoded again: what comes before a place decides how a decoder goes on there.
        """
        self.waiting.remove(source)
        video = _RunningVideo.of(source, self.run, self.unfinished, sink)
        self.running.append(video)
        while video.number < frames and video.advance():
            video.sink.skipped(video.number, video.image)
            self.run.done(1)

    def advance(self) -> bool:
        """Reads the next frames; videos that wait take the places of those that have ended. Whether there are any."""
        active = [video.advance() for video in self.running]
        if not all(active):
            # Before results get their names: behind that, these videos would no longer share the steps of the others
            self._save()
            for video, goes_on in zip(self.running, active, strict=True):
                if not goes_on:
                    video.end.close()
            kept = [number for number, goes_on in enumerate(active) if goes_on]
            self.running = [self.running[number] for number in kept]
            self.state = self.state.select(self.state.frame.new_tensor(kept))
        while self.waiting and len(self.running) < self.run.at_once:
            video = _RunningVideo.of(self.waiting.popleft(), self.run, self.unfinished)
            if video.advance():
                self.running.append(video)
                self.state = self.state.join(self.run.begin())
            else:
                video.end.close()
        return bool(self.running)

    def step(self) -> None:
        """One frame of every video."""
        frames = stacked([(video.frame, video.image) for video in self.running])
        damaged = [video.frame.image is None for video in self.running]
        with torch.inference_mode():
            self.state, result = self.run.tracker.step(self.state, frames, damaged if any(damaged) else None)
            own = results_by_video(result, len(self.running))
            for video, faces, lost in zip(self.running, own, damaged, strict=True):
                video.sink(VideoFrame(video.image, video.frame.time, video.number, *faces, lost))
        if time.monotonic() - self.saved_at >= self.run.save_every:
            self._save()
        try:
            self.run.done(len(self.running))
        except (KeyboardInterrupt, SystemExit):
            self._save()
            raise

    def _save(self) -> None:
        """Hands on what goes on from here."""
        sources = [video.source for video in self.running]
        self.run.save(Snapshot(self.state, sources, [video.sink.saved() for video in self.running]))
        self.saved_at = time.monotonic()


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
        run: VideoRun,
        unfinished: ExitStack,
        saved: dict[str, Any] | None = None,
    ) -> "_RunningVideo":
        """Opens a video, to be closed at its end or when `unfinished` is."""
        end = unfinished.enter_context(ExitStack())
        sink = end.enter_context(run.opened(source, saved))
        frames = ahead(uploaded(source, run.tracker.detector.model.pdm.mean.device))
        return cls(source, end.enter_context(contextlib.closing(frames)), sink, end)

    def advance(self) -> bool:
        """Reads the next frame. Whether there is one."""
        try:
            frame = next(self.frames, None)
        except Exception as error:
            # Whatever a decoder raises concerns this video alone
            self.source.problem = video_problem(self.source.path, error)
            frame = None
        if frame is None:
            return False
        self.frame, self.number = frame, self.number + 1
        return True

    @property
    def image(self) -> Tensor:
        """The frame (3, H, W), black where it is damaged."""
        if self.frame.image is not None:
            return self.frame.image
        return torch.zeros(3, self.source.height, self.source.width, dtype=torch.uint8, device="cpu")
