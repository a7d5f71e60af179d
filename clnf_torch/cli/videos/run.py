"""The videos of a run: opened, tracked in parallel, and each recorded in files of its own."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
import typer

from clnf_torch.cli.console import Complaints, failures_exit_with, finishing_first, mention_terms, notice
from clnf_torch.cli.manifest import KEEP_OR_REPLACE, Manifest, Task, opened_manifest
from clnf_torch.cli.options import CameraOptions, NumericsName, PrecisionName, device_named
from clnf_torch.cli.output_check import Input, check_outputs
from clnf_torch.cli.outputs import Targets
from clnf_torch.cli.progress import counting_bar
from clnf_torch.cli.videos.drawn_recording import RecordOptions, recording
from clnf_torch.cli.videos.jobs import VideoJobs
from clnf_torch.cli.videos.outputs import VideoOutputs
from clnf_torch.cli.videos.summary import VideoSummary, require_summary
from clnf_torch.media.boxes import Box, BoxError, check_box
from clnf_torch.media.parallel_videos import VideoRun, run_parallel_videos
from clnf_torch.media.recording import Recording
from clnf_torch.media.video_capture import Camera, open_source
from clnf_torch.media.video_frames import FrameSource, video_problem
from clnf_torch.pen_marks import load_pen_mark_eraser
from clnf_torch.pipeline import LandmarkDetector, load, load_face_detector_for
from clnf_torch.tracking import TrackState, VideoConfig, VideoTracker
from clnf_torch.tracking.smoothing import FILTER

Finished = Callable[[FrameSource, Targets, LandmarkDetector], None]
"""Told a video, its files, and what fitted its faces."""


@dataclass(frozen=True, kw_only=True)
class VideoOptions:
    """How videos are tracked, and what is recorded of them."""

    model: Path
    config: VideoConfig
    box: Box | None
    numerics: NumericsName | None
    device: str
    precision: PrecisionName
    batch: int
    likelihoods: bool
    camera: CameraOptions
    resume: bool
    skip_existing: bool
    face_detector: str | None = None
    erase_marks: bool = False

    def settings(self, device: torch.device, targets: Targets) -> dict[str, Any]:
        """What decides the contents of the outputs, for the manifest."""
        form = {**vars(targets.form), "openface_groups": sorted(targets.form.openface_groups or ()) or None}
        return {
            **asdict(self.config),
            "box": self.box,
            "numerics": self.numerics and self.numerics.value,
            "device": device.type,
            "precision": self.precision.value,
            "likelihoods": self.likelihoods,
            **form,
            **asdict(self.camera),
            **({"detector": self.face_detector} if self.face_detector else {}),
            **({"smoothing": FILTER} if self.config.smooth else {}),
            **({"erase_marks": True} if self.erase_marks else {}),
            **({"alignment": asdict(targets.alignment)} if targets.aligned else {}),
        }


def track_videos(
    videos: Sequence[Path],
    outputs: VideoOutputs,
    options: VideoOptions,
    finished: Finished = lambda source, targets, detector: None,
) -> None:
    """Tracks the faces of videos, with a bar, and writes their files.

    Args:
        videos: Files, folders of frames, cameras by number, or "-" for stdin.
        outputs: Their files, in the same order.
        options: How.
        finished: Told every video whose files are complete.

    Raises:
        typer.Exit: Something could not be done; what was wrong is on stderr.
    """
    check_outputs([*map(Input, videos), Input(options.model)], outputs.outputs())
    manifest = opened_manifest(outputs.manifest())
    require_summary(outputs.summary())
    complaints = Complaints()
    with failures_exit_with(1), finishing_first() as stop_if_asked:
        where = device_named(options.device)
        sources = dict(_opened(videos, outputs, options, complaints, where, manifest))
        if not sources:
            if complaints.any:
                raise typer.Exit(1)
            return
        detector = load(options.model, where, numerics=options.numerics, precision=options.precision.value)
        mention_terms(options.model, detector.origin.get("licence", ""))
        finder = None if options.box else load_face_detector_for(detector, options.model, options.face_detector)
        eraser = load_pen_mark_eraser(device=where) if options.erase_marks else None
        tracker = VideoTracker(detector, finder, options.config, eraser)
        jobs = VideoJobs.of(sources, options.model, options.settings(where, outputs.targets), manifest, outputs.state())
        summary = VideoSummary(outputs.summary(), outputs.manifest(), videos)
        if options.resume:
            sources = jobs.unfinished(complaints, summary.add)
        jobs.read_contents(sources)

        @contextlib.contextmanager
        def recorded(source: FrameSource, saved: dict[str, Any] | None) -> Iterator[Recording]:
            known = RecordOptions(
                sources[source], options.camera.behind(source.width, source.height), options.likelihoods, options.model
            )
            with recording(source, detector, known, saved) as record:
                yield record
            finished(source, sources[source], detector)
            summary.add(jobs.finish(source, record))
            if source.problem:
                complaints(source.problem)
            notice(f"{source.path}: {record.summary()}")

        snapshot = jobs.saved.load(sources, where) if options.resume else None
        with counting_bar(_total(list(sources)), "frames", _stopping(list(sources), stop_if_asked)) as done:
            run = VideoRun(
                tracker, options.batch, recorded, partial(_begin, tracker, options.box), done, jobs.saved.save
            )
            for group in _by_size(list(sources)):
                run_parallel_videos(run, group, snapshot.among(group) if snapshot else None)
        jobs.saved.remove()
        summary.finish()
    if complaints.any:
        raise typer.Exit(1)


def _opened(
    paths: Sequence[Path],
    outputs: VideoOutputs,
    options: VideoOptions,
    complain: Complaints,
    device: torch.device,
    manifest: Manifest,
) -> Iterator[tuple[FrameSource, Targets]]:
    """Videos that can be read, have the given box in their frames and are to be tracked, and their files."""
    outputs.make_folders()
    for path, targets in zip(paths, outputs.files, strict=True):
        if options.skip_existing and targets.are_there():
            if made_of := _known(manifest.made_of, path, targets):
                complain(f"{path}: skipped, though its outputs were made of {made_of}; {KEEP_OR_REPLACE}")
            else:
                notice(f"{path}: its outputs exist; skipped")
            continue
        # Where it goes on with earlier outputs, those of others stay
        if not options.resume and (other := _known(manifest.other_input, path, targets)):
            notice(f"{path}: replaces outputs that were made of {other}")
        try:
            source = open_source(path, notice, device)
            if options.box is not None:
                check_box(options.box, source.width, source.height)
        except BoxError as error:
            complain(f"{path}: {error}")
        except Exception as error:
            complain(video_problem(path, error))
        else:
            yield source, targets


def _known(asked: Callable[[Task], str | None], path: Path, targets: Targets) -> str | None:
    """What a manifest knows of the files of a video; None of cameras and streams."""
    try:
        return asked(Task.of(path, "", {}, targets.given()))
    except OSError:
        return None


def _stopping(sources: list[FrameSource], stop_if_asked: Callable[[], None]) -> Callable[[], None]:
    """Lets a request to stop end what cameras give, as the end of a file does; a second one does not wait."""
    cameras = [source for source in sources if isinstance(source, Camera)]

    def stop() -> None:
        try:
            stop_if_asked()
        except (KeyboardInterrupt, SystemExit):
            if not cameras or len(cameras) < len(sources):
                raise
            for camera in cameras:
                camera.stop()

    return stop


def _begin(tracker: VideoTracker, box: Box | None) -> TrackState:
    """The state before the first frame of a video."""
    state = tracker.begin(1)
    return tracker.place(state, torch.tensor([box], dtype=torch.float64, device="cpu")) if box else state


def _by_size(sources: list[FrameSource]) -> Iterator[list[FrameSource]]:
    """Videos of one size together; the sizes as they come first."""
    for size in dict.fromkeys((source.width, source.height) for source in sources):
        yield [source for source in sources if (source.width, source.height) == size]


def _total(sources: list[FrameSource]) -> int | None:
    """Number of frames in all, None where it is not known."""
    counts = [source.count for source in sources if source.count is not None]
    return sum(counts) if len(counts) == len(sources) else None
