"""How often recording a video waits for a card: twice a step, however many videos and faces; nothing is sent."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path

import pytest
import torch
from torch import Tensor

from clnf_torch.cli.videos.drawn_recording import DrawnRecording
from clnf_torch.detection.face_detector import FaceBoxes
from clnf_torch.faces.tracking import _tracked
from clnf_torch.geometry.camera import Intrinsics
from clnf_torch.geometry.host import unread
from clnf_torch.media.parallel_videos import VideoRun, run_parallel_videos
from clnf_torch.media.recording import Recording
from clnf_torch.media.video_frames import Frame
from clnf_torch.pipeline import LandmarkDetector
from clnf_torch.tracking import VideoConfig, VideoTracker
from tests.factories import CONFIG, make_boxes, make_images, make_model
from tests.transfers import CountTransfers

CAMERA = Intrinsics.for_image(80, 72)
FRAMES, WARM = 8, 4
# Of a step: how many tracks there are and what they need, and which face each row of the result is of
READS = {"tolist": 2}


@dataclass
class Same:
    """Finds the same face in every frame, without looking."""

    def detect(self, frames: Tensor) -> FaceBoxes:
        count = len(frames)
        return FaceBoxes(boxes=make_boxes(1).repeat(count, 1), score=torch.ones(count), image_index=torch.arange(count))


@dataclass(eq=False)
class Still:
    """A video of one image, gray: loops that make one of colours are the processor's alone."""

    path: Path
    image: Tensor
    rate: Fraction = Fraction(25)
    problem: str | None = None
    count: int = FRAMES
    height: int = 72
    width: int = 80

    def __iter__(self):
        return (Frame(number / 25, self.image) for number in range(FRAMES))


class Nowhere:
    """Takes rows."""

    def append(self, *rows: object) -> None:
        pass

    def positions(self) -> dict[str, int]:
        return {}


@dataclass
class Counter:
    """Counts the transfers of the steps behind the first ones, with all that becomes of their rows."""

    steps: int = 0
    counted: CountTransfers = field(default_factory=CountTransfers)

    def done(self, frames: int = 1) -> None:
        self.steps += 1
        if self.steps == WARM:
            self.counted.__enter__()
        elif self.steps == FRAMES - 1:
            self.counted.__exit__()

    def per_step(self) -> dict[str, float]:
        return {name: count / (FRAMES - 1 - WARM) for name, count in self.counted.to_host.items()}


def make_tracker(single_face: bool) -> VideoTracker:
    """Without detection once there are faces, as most steps are."""
    config = VideoConfig(preset=replace(CONFIG, iterations=1), multi_view=False, single_face=single_face,
                         detect_every=1000, confirm_after=1)  # fmt: skip
    return VideoTracker(LandmarkDetector(make_model(), "exact"), Same(), config)


def make_video(name: str) -> Still:
    return Still(Path(name), make_images(2)[:1].to(torch.uint8))


def recorded(recording: Recording) -> None:
    assert recording.frames + len(recording.buffer.waiting) >= FRAMES - 1
    assert recording.buffer.numbers == {0: 0} and recording.found > 2


@pytest.mark.parametrize("single_face", [False, True])
@pytest.mark.parametrize("videos", [1, 3])
def test_a_step_of_the_command_line(single_face, videos):
    tracker, counter, recordings = make_tracker(single_face), Counter(), []

    class Opened:
        """Keeps what takes a video's frames; their rows are written when the steps have been counted."""

        def __init__(self, source: Still, saved: object) -> None:
            recordings.append(DrawnRecording(Nowhere(), tracker.detector, CAMERA))

        def __enter__(self) -> Recording:
            return recordings[-1]

        def __exit__(self, *failure: object) -> None:
            pass

    sources = [make_video(str(number)) for number in range(videos)]
    with unread():
        run_parallel_videos(
            VideoRun(tracker, videos, Opened, tracker.begin, counter.done, save_every=math.inf), sources
        )
    assert counter.per_step() == READS and not counter.counted.to_device
    for recording in recordings:
        recorded(recording)


@pytest.mark.parametrize("single_face", [False, True])
def test_a_step_of_track(single_face):
    tracker, counter = make_tracker(single_face), Counter()
    recording = Recording(Nowhere(), tracker.detector, CAMERA)
    with unread():
        for frame in _tracked(tracker, make_video("0"), None):
            recording(frame)
            counter.done()
    assert counter.per_step() == READS and not counter.counted.to_device
    recorded(recording)
