"""``clnf-torch refine``: mends the landmarks that another method found in a video."""

import contextlib
from itertools import islice
from pathlib import Path
from typing import Annotated, TypedDict

import torch
import typer
from torch import Tensor

from clnf_torch.cli.console import complain, failures_exit_with, finishing_first, notice
from clnf_torch.cli.frames import Frame, FrameFolder, FrameSource, VideoError, ahead
from clnf_torch.cli.landmark_table import LandmarkTable, TableError, read_table
from clnf_torch.cli.options import STDOUT, Device, Model, NumericsChoice, Preset, PresetName, device_named
from clnf_torch.cli.progress import counting_bar
from clnf_torch.cli.video import VideoFile
from clnf_torch.export.files import growing_file
from clnf_torch.pipeline import LandmarkDetector, load
from clnf_torch.quality import RefinementStatistics, neighbours, refine_landmarks


def refine(
    video: Annotated[Path, typer.Argument(metavar="VIDEO|DIR", help="A video, or a folder of frames.")],
    model: Model,
    landmarks: Annotated[
        Path, typer.Option(metavar="FILE.csv", help="Landmarks of another method: frame, x_0 to x_67, y_0 to y_67.")
    ],
    csv: Annotated[Path, typer.Option(metavar="FILE|-", help="Write the table with mended landmarks; - is stdout.")],
    preset: PresetName = Preset.default,
    multi_view: Annotated[
        bool, typer.Option("--multi-view/--no-multi-view", help="Try eleven head rotations on every poor face.")
    ] = True,
    keep_good: Annotated[
        bool, typer.Option("--keep-good/--no-keep-good", help="Leave good landmarks of poor faces where they are.")
    ] = True,
    numerics: NumericsChoice = None,
    device: Device = "cpu",
    batch: Annotated[int, typer.Option(min=1, help="Frames that are worked on together.")] = 16,
) -> None:
    """Mend another method's landmarks: those that cannot be right are fitted again, the others stay as they are."""
    with failures_exit_with(1), finishing_first() as stop_if_asked:
        where = device_named(device)
        try:
            table = read_table(landmarks)
            source: FrameSource = FrameFolder(video) if video.is_dir() else VideoFile(video)
        except (TableError, VideoError) as error:
            complain(error)
            raise typer.Exit(1) from None
        how = _Settings(preset=preset.value, multi_view=multi_view, keep_good=keep_good)
        mend = _Mender(load(model, where, numerics=numerics), how, table)
        frames = ahead(source)
        with contextlib.closing(frames), counting_bar(source.count, "frames", stop_if_asked) as done:
            while some := list(islice(frames, batch)):
                mend(some)
                done(len(some))
        _write(csv, table.text(mend.refined, mend.refitted))
        for line in str(mend.statistics).splitlines():
            notice(line)
        if source.problem:
            complain(source.problem)
            raise typer.Exit(1)


class _Settings(TypedDict):
    """Arguments of `refine_landmarks` that are the same for all frames."""

    preset: str
    multi_view: bool
    keep_good: bool


class _Mender:
    """Refines the rows of a table, frames after frames.

    Args:
        detector: Fits.
        how: Settings of the fits.
        table: The rows.
    """

    def __init__(self, detector: LandmarkDetector, how: _Settings, table: LandmarkTable) -> None:
        self.detector, self.how, self.table = detector, how, table
        self.refined, self.refitted = table.landmarks.clone(), torch.zeros(len(table.rows), dtype=torch.bool)
        self.statistics = RefinementStatistics()
        self._previous, self._following = neighbours(table.landmarks, table.frame, table.identity)
        self._first = 0

    def __call__(self, frames: list[Frame]) -> None:
        """Refines the rows of the next frames; those of damaged ones stay as they are."""
        first, self._first = self._first, self._first + len(frames)
        sound = [number for number, frame in enumerate(frames) if frame.picture is not None]
        place = torch.full((len(frames),), -1)
        place[sound] = torch.arange(len(sound))
        inside = (self.table.frame >= first) & (self.table.frame < self._first)
        frame = torch.where(inside, place[(self.table.frame - first).clamp(0, len(frames) - 1)], -1)
        rows = (frame >= 0).nonzero().squeeze(1)
        if len(rows):
            self._refine(torch.stack([one.picture for one in frames if one.picture is not None]), rows, frame[rows])

    def _refine(self, pictures: Tensor, rows: Tensor, frame: Tensor) -> None:
        """Refines some rows in their pictures."""
        done = refine_landmarks(
            self.detector,
            pictures,
            self.table.landmarks[rows],
            frame,
            previous=self._previous[rows],
            following=self._following[rows],
            **self.how,
        )
        self.refined[rows], self.refitted[rows] = done.landmarks, done.refitted.cpu()
        self.statistics += done.statistics


def _write(path: Path, text: str) -> None:
    """Writes a file, or to stdout."""
    if path == STDOUT:
        typer.echo(text, nl=False)
        return
    with growing_file(path) as file:
        file.write(text.encode("utf-8"))
