"""``clnf-torch track``: follows faces through videos; each face keeps its number."""

import contextlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Annotated

import torch
import typer

from clnf_torch.cli.boxes import Box
from clnf_torch.cli.console import Complaints, failures_exit_with, finishing_first, notice
from clnf_torch.cli.options import (
    CameraOptions,
    CenterX,
    CenterY,
    Device,
    FocalX,
    FocalY,
    Likelihoods,
    Model,
    NumericsChoice,
    Preset,
    PresetName,
    Rounded,
    device_named,
)
from clnf_torch.cli.outputs import Targets, VideoOutputs
from clnf_torch.cli.parallel_videos import run_parallel_videos
from clnf_torch.cli.progress import counting_bar
from clnf_torch.cli.recording import Recording, RecordOptions, recording
from clnf_torch.cli.video import VideoFile
from clnf_torch.cli.video_frames import FrameFolder, FrameSource, VideoError
from clnf_torch.detection import load_face_detector
from clnf_torch.pipeline import load
from clnf_torch.tracking import TrackState, VideoConfig, VideoTracker


def track(
    videos: Annotated[list[Path], typer.Argument(metavar="VIDEO|DIR", help="Videos, or folders of frames.")],
    model: Model,
    box: Annotated[
        Box | None,
        typer.Option(metavar="X Y W H", help="The face in the first frame; no other is looked for, nor this if lost."),
    ] = None,
    single_face: Annotated[
        bool, typer.Option("--single-face", help="One face per video, followed by OpenFace's rules to the letter.")
    ] = False,
    preset: PresetName = Preset.default,
    multi_view: Annotated[
        bool, typer.Option("--multi-view/--no-multi-view", help="Try eleven head rotations on every found face.")
    ] = True,
    numerics: NumericsChoice = None,
    device: Device = "cpu",
    batch: Annotated[int, typer.Option(min=1, help="Videos of one size that are worked on side by side.")] = 4,
    json: Annotated[
        Path | None, typer.Option(metavar="FILE|-|DIR", help="Write JSON; a DIR for several videos. - is stdout.")
    ] = None,
    csv: Annotated[Path | None, typer.Option(metavar="FILE|DIR", help="Write a table in OpenFace's columns.")] = None,
    parquet: Annotated[Path | None, typer.Option(metavar="FILE|DIR", help="Write the same as Parquet.")] = None,
    likelihoods: Likelihoods = False,
    openface_precision: Rounded = False,
    draw: Annotated[Path | None, typer.Option(metavar="VIDEO.mp4|DIR", help="Draw the landmarks.")] = None,
    fx: FocalX = None,
    fy: FocalY = None,
    cx: CenterX = None,
    cy: CenterY = None,
) -> None:
    """Follow faces through videos. Each keeps its number; gives frame by frame what detect gives."""
    targets = Targets(csv=csv, parquet=parquet, json=json, openface_precision=openface_precision)
    outputs = VideoOutputs(targets, draw, several=len(videos) > 1)
    camera = CameraOptions(fx, fy, cx, cy)
    complaints = Complaints()
    with failures_exit_with(1), finishing_first() as stop_if_asked:
        where = device_named(device)
        detector = load(model, where, numerics=numerics)
        config = VideoConfig(preset=preset.value, multi_view=multi_view, single_face=single_face)
        tracker = VideoTracker(detector, None if box else load_face_detector(model, where), config)
        sources = list(_opened(videos, complaints))

        @contextlib.contextmanager
        def recorded(source: FrameSource) -> Iterator[Recording]:
            options = RecordOptions(outputs.of(source), camera.behind(source.width, source.height), likelihoods, model)
            with recording(source, detector, options) as record:
                yield record
            if source.problem:
                complaints(source.problem)
            notice(f"{source.path}: {record.summary()}")

        with counting_bar(_total(sources), "frames", stop_if_asked) as stepped:
            for group in _by_size(sources):
                run_parallel_videos(tracker, group, batch, recorded, partial(_begin, tracker, box), stepped)
    if complaints.any:
        raise typer.Exit(1)


def _opened(paths: list[Path], complain: Complaints) -> Iterator[FrameSource]:
    """Videos that can be read."""
    for path in paths:
        try:
            yield FrameFolder(path) if path.is_dir() else VideoFile(path)
        except VideoError as error:
            complain(str(error))


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
