"""``clnf-torch track``: the faces of videos, frame by frame; each face keeps its number."""

import contextlib
from collections.abc import Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import torch
import typer

from clnf_torch.cli.cluster_jobs import Cluster, run_on_cluster
from clnf_torch.cli.console import Complaints, failures_exit_with, finishing_first, notice
from clnf_torch.cli.jobs import VideoJobs
from clnf_torch.cli.manifest import require_manifest
from clnf_torch.cli.options import (
    CameraOptions,
    NumericsName,
    PrecisionName,
    Preset,
    device_named,
)
from clnf_torch.cli.output_check import Input, check_outputs
from clnf_torch.cli.outputs import Targets, VideoOutputs
from clnf_torch.cli.progress import counting_bar
from clnf_torch.cli.recording import RecordOptions, recording
from clnf_torch.detection import load_face_detector
from clnf_torch.media.boxes import Box
from clnf_torch.media.parallel_videos import VideoRun, run_parallel_videos
from clnf_torch.media.recording import Recording
from clnf_torch.media.video import open_video
from clnf_torch.media.video_frames import FrameSource, video_problem
from clnf_torch.pipeline import load
from clnf_torch.tracking import TrackState, VideoConfig, VideoTracker


def track(
    *,
    videos: list[Path],
    model: Path,
    box: Box | None,
    single_face: bool,
    smooth: bool,
    preset: Preset,
    multi_view: bool,
    numerics: NumericsName | None,
    device: str,
    precision: PrecisionName,
    batch: int,
    json: Path | None,
    csv: Path | None,
    parquet: Path | None,
    likelihoods: bool,
    openface_precision: bool,
    resume: bool,
    ray: str | None,
    actors: int | None,
    draw: Path | None,
    fx: float | None,
    fy: float | None,
    cx: float | None,
    cy: float | None,
) -> None:
    """Track faces in videos. For several videos, outputs are folders with a file for each."""
    targets = Targets(csv=csv, parquet=parquet, json=json, draw=draw, openface_precision=openface_precision)
    if ray is not None:
        return run_on_cluster(
            "videos",
            videos,
            Cluster(targets, ray, actors, device),
            model=model,
            camera=CameraOptions(fx, fy, cx, cy),
            preset=preset,
            multi_view=multi_view,
            single_face=single_face,
            smooth=smooth,
            numerics=numerics,
            precision=precision,
            likelihoods=likelihoods,
            batch=batch,
            box=box,
        )
    outputs = VideoOutputs(targets, videos)
    check_outputs([*map(Input, videos), Input(model)], outputs.outputs())
    require_manifest(outputs.manifest())
    camera = CameraOptions(fx, fy, cx, cy)
    complaints = Complaints()
    with failures_exit_with(1), finishing_first() as stop_if_asked:
        where = device_named(device)
        detector = load(model, where, numerics=numerics, precision=precision.value)
        config = VideoConfig(preset=preset.value, multi_view=multi_view, single_face=single_face, smooth=smooth)
        tracker = VideoTracker(detector, None if box else load_face_detector(model, where), config)
        settings = {
            **asdict(config),
            "box": box,
            "numerics": numerics and numerics.value,
            "device": where.type,
            "precision": precision.value,
        }
        settings |= {"likelihoods": likelihoods, "openface_precision": openface_precision, **asdict(camera)}
        sources = dict(_opened(videos, outputs, complaints, where))
        jobs = VideoJobs.of(sources, model, settings, outputs)
        if resume:
            sources = jobs.unfinished(complaints)

        @contextlib.contextmanager
        def recorded(source: FrameSource, saved: dict[str, Any] | None) -> Iterator[Recording]:
            options = RecordOptions(sources[source], camera.behind(source.width, source.height), likelihoods, model)
            with recording(source, detector, options, saved) as record:
                yield record
            jobs.finish(source, record)
            if source.problem:
                complaints(source.problem)
            notice(f"{source.path}: {record.summary()}")

        snapshot = jobs.saved.load(sources, where) if resume else None
        with counting_bar(_total(list(sources)), "frames", stop_if_asked) as done:
            run = VideoRun(tracker, batch, recorded, partial(_begin, tracker, box), done, jobs.saved.save)
            for group in _by_size(list(sources)):
                run_parallel_videos(run, group, snapshot.among(group) if snapshot else None)
        jobs.saved.remove()
    if complaints.any:
        raise typer.Exit(1)


def _opened(
    paths: list[Path], outputs: VideoOutputs, complain: Complaints, device: torch.device
) -> Iterator[tuple[FrameSource, Targets]]:
    """Videos that can be read, and their files."""
    outputs.make_folders()
    for path, targets in zip(paths, outputs.files, strict=True):
        try:
            yield open_video(path, notice, device), targets
        except Exception as error:
            complain(video_problem(path, error))


def _begin(tracker: VideoTracker, box: Box | None) -> TrackState:
    """The state before the first frame of a video."""
    state = tracker.begin(1)
    return tracker.place(state, torch.tensor([box])) if box else state


def _by_size(sources: list[FrameSource]) -> Iterator[list[FrameSource]]:
    """Videos of one size together; the sizes as they come first."""
    for size in dict.fromkeys((source.width, source.height) for source in sources):
        yield [source for source in sources if (source.width, source.height) == size]


def _total(sources: list[FrameSource]) -> int | None:
    """Number of frames in all, None where it is not known."""
    counts = [source.count for source in sources if source.count is not None]
    return sum(counts) if len(counts) == len(sources) else None
