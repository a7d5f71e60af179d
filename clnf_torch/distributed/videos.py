"""The work on videos: tracked side by side, their rows in files of this machine, and what lets a killed one go on."""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from clnf_torch.distributed.settings import JobSettings
from clnf_torch.export.face_table import FaceTable
from clnf_torch.export.parquet import ParquetRows, parquet_file
from clnf_torch.media.parallel_videos import Snapshot, VideoRun, run_parallel_videos
from clnf_torch.media.recording import Recording
from clnf_torch.media.video_frames import FrameSource
from clnf_torch.pipeline import FitResult
from clnf_torch.tracking import TrackState, VideoConfig, VideoTracker

# Videos that are tracked at once; as the command line
AT_ONCE = 4
# Seconds of work that a killed worker may lose: each time the state goes to the output
SAVE_EVERY = 60.0


@dataclass(frozen=True, kw_only=True)
class TrackSettings(JobSettings):
    """All that decides the rows of a video; the options of ``clnf-torch track``.

    Attributes:
        multi_view: Fit every detected face from eleven head rotations.
        single_face: One face per video, exactly as OpenFace does.
        smooth: Smooth what is written over time.
        batch: Videos of one size that an actor tracks at once.
        save_every: Seconds from one saved state of unfinished videos to the next.
    """

    multi_view: bool = True
    single_face: bool = False
    smooth: bool = False
    batch: int = AT_ONCE
    save_every: float = SAVE_EVERY

    def config(self) -> VideoConfig:
        """The tracker's."""
        return VideoConfig(
            preset=self.preset, multi_view=self.multi_view, single_face=self.single_face, smooth=self.smooth
        )


@dataclass
class VideoTask:
    """A video on its way.

    Attributes:
        source: Its frames.
        table: Its Parquet file on this machine; what is written lies in ``NAME.partial`` until it is complete.
        finish: Called with what was recorded when the file is complete.
        save: Called now and then with what goes on from here, as plain values and tensors.
        saved: From `save`, to go on from; None: it begins anew.
    """

    source: FrameSource
    table: Path
    finish: Callable[[Recording], None]
    save: Callable[[dict[str, Any]], None] = lambda saved: None
    saved: dict[str, Any] | None = None


@dataclass
class _TableFile:
    """The one file of a video, as a recording sees it."""

    rows: ParquetRows

    def append(self, table: FaceTable, faces: FitResult, heads: Sequence[Mapping[str, Any]]) -> None:
        """Takes R rows."""
        self.rows.append(table)

    def positions(self) -> dict[str, int]:
        """Files that are written."""
        return {"--parquet": self.rows.position()}


class TrackFaces:
    """Tracks the faces of videos: a callable that keeps its model.

    Args:
        model: The bundle; None: the one that is installed.
        settings: How.
        device: Where to compute.
        threads: Threads of the processor; None: as torch has it.
    """

    def __init__(
        self,
        model: Path | None = None,
        settings: TrackSettings | None = None,
        device: str = "cpu",
        threads: int | None = None,
    ) -> None:
        self.settings, self.device = settings or TrackSettings(), torch.device(device)
        self.detector, finder = self.settings.models(model, device, threads)
        self.tracker = VideoTracker(self.detector, finder, self.settings.config(), self.settings.eraser(device))

    def __call__(self, tasks: Sequence[VideoTask]) -> None:
        """Tracks videos from the first frame to the last; those of one size share their steps."""
        by_source = {task.source: task for task in tasks}
        for size in dict.fromkeys((source.width, source.height) for source in by_source):
            group = [source for source in by_source if (source.width, source.height) == size]
            opened, save, every = self._opened(by_source), _saving(by_source), self.settings.save_every
            run = VideoRun(self.tracker, self.settings.batch, opened, self._begin, lambda count: None, save, every)
            run_parallel_videos(run, group, _snapshot([by_source[source] for source in group], self.device))

    def _opened(self, tasks: Mapping[FrameSource, VideoTask]) -> Any:
        """Opens the recording of a video."""

        @contextlib.contextmanager
        def opened(source: FrameSource, saved: dict[str, Any] | None) -> Iterator[Recording]:
            task = tasks[source]
            with parquet_file(task.table, position=saved["positions"]["--parquet"] if saved else None) as rows:
                camera = self.settings.camera(source.width, source.height)
                record = Recording(_TableFile(rows), self.detector, camera, self.settings.likelihoods)
                if saved is not None:
                    record.restore(saved)
                yield record
                record.end()
            task.finish(record)

        return opened

    def _begin(self) -> TrackState:
        """The state before the first frame of a video."""
        state = self.tracker.begin(1)
        box = self.settings.box
        return self.tracker.place(state, torch.tensor([box], dtype=torch.float64, device="cpu")) if box else state


def _saving(tasks: Mapping[FrameSource, VideoTask]) -> Callable[[Snapshot], None]:
    """Saves each video by itself: it may go on with others beside it."""

    def save(snapshot: Snapshot) -> None:
        for number, (source, sink) in enumerate(zip(snapshot.sources, snapshot.sinks, strict=True)):
            state = snapshot.state.select(torch.tensor([number], device=snapshot.state.frame.device))
            tasks[source].save({"state": state.to_dict(), "sink": sink})

    return save


def _snapshot(tasks: Sequence[VideoTask], device: torch.device) -> Snapshot | None:
    """What some of these videos go on from."""
    kept = [(task.source, task.saved) for task in tasks if task.saved is not None]
    if not kept:
        return None
    states = [TrackState.from_dict(saved["state"]).to(device) for _, saved in kept]
    state = states[0]
    for other in states[1:]:
        state = state.join(other)
    return Snapshot(state, [source for source, _ in kept], [saved["sink"] for _, saved in kept])
