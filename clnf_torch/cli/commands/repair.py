"""``clnf-torch repair``: another method's landmarks of a video, with poor faces fitted again."""

import contextlib
from itertools import islice
from pathlib import Path
from typing import Annotated, TypedDict

import torch
import typer
from torch import Tensor

from clnf_torch.cli.console import complain, failures_exit_with, finishing_first, notice
from clnf_torch.cli.landmark_tables import COLUMNS_FROM_1, LandmarkTable, TableError, read_table
from clnf_torch.cli.options import (
    STDOUT,
    AllViews,
    BatchSize,
    Device,
    Model,
    NumericsChoice,
    Preset,
    PresetName,
    device_named,
)
from clnf_torch.cli.output_check import Input, Output, check_outputs
from clnf_torch.cli.progress import counting_bar
from clnf_torch.cli.video import open_video
from clnf_torch.cli.video_frames import Frame, VideoError, ahead
from clnf_torch.models.files import write_atomically
from clnf_torch.pipeline import LandmarkDetector, load
from clnf_torch.quality import RepairStatistics, repair_landmarks
from clnf_torch.quality.repair import adjacent_frames

# What became of a row: no image of it, good as it was, fitted again, or poor without a better fit
OUTCOMES = ("no image", "kept", "refitted", "not repaired")
UNSEEN, KEPT, REFITTED, UNREPAIRED = range(len(OUTCOMES))


def repair(
    video: Annotated[Path, typer.Argument(metavar="VIDEO|DIR", help="A video, or a folder of frames.")],
    model: Model,
    landmarks: Annotated[
        Path, typer.Option(metavar="FILE.csv", help="The landmarks: frame, x_0 to x_67, y_0 to y_67.")
    ],
    csv: Annotated[Path, typer.Option(metavar="FILE|-", help="Write the repaired landmarks; - is stdout.")],
    preset: PresetName = Preset.default,
    multi_view: AllViews = True,
    keep_good: Annotated[
        bool, typer.Option("--keep-good/--no-keep-good", help="Keep the good landmarks of poor faces.")
    ] = True,
    first_frame: Annotated[
        int | None,
        typer.Option(
            metavar="N", show_default="0 if the table has a frame 0, else 1", help="The first frame's number."
        ),
    ] = None,
    numerics: NumericsChoice = None,
    device: Device = "cpu",
    batch: BatchSize = 16,
) -> None:
    """Repair the landmarks of another method. Only poor faces are fitted again."""
    check_outputs([Input(video), Input(landmarks), Input(model)], [] if csv == STDOUT else [Output("--csv", csv)])
    with failures_exit_with(1), finishing_first() as stop_if_asked:
        where = device_named(device)
        try:
            table = read_table(landmarks)
            source = open_video(video, notice)
        except (TableError, VideoError) as error:
            complain(error)
            raise typer.Exit(1) from None
        settings = _Settings(preset=preset.value, multi_view=multi_view, keep_inliers=keep_good)
        first = _first_frame(table, landmarks) if first_frame is None else first_frame
        repairer = _Repairer(load(model, where, numerics=numerics), settings, table, first)
        frames = ahead(source)
        with contextlib.closing(frames), counting_bar(source.count, "frames", stop_if_asked) as done:
            while some := list(islice(frames, batch)):
                repairer(some)
                done(len(some))
        _write(csv, table.text(repairer.repaired, repairer.outcome == REFITTED, repairer.outcomes))
        for line in (*str(repairer.statistics).splitlines(), *repairer.rows_outside(landmarks)):
            notice(line)
        if source.problem:
            complain(source.problem)
            raise typer.Exit(1)


class _Settings(TypedDict):
    """Arguments of `repair_landmarks` that are the same for all frames."""

    preset: str
    multi_view: bool
    keep_inliers: bool


def _first_frame(table: LandmarkTable, path: Path) -> int:
    """The number that the table gives the video's first frame; says what is not usual."""
    if table.columns == COLUMNS_FROM_1:
        notice(f"{path}: points are counted from 1: x_1 to x_68 are read as x_0 to x_67")
    if not (table.frame == 0).any():
        return 1
    notice(f"{path}: holds a frame 0, so frames are counted from 0; --first-frame 1 counts them from 1")
    return 0


class _Repairer:
    """Repairs the rows of a table, frames after frames.

    Args:
        detector: Fits.
        settings: Of the fits.
        table: The rows.
        first: Number of the video's first frame in the table.
    """

    def __init__(self, detector: LandmarkDetector, settings: _Settings, table: LandmarkTable, first: int) -> None:
        self.detector, self.settings, self.table, self.first = detector, settings, table, first
        self.repaired = table.landmarks.clone()
        self.outcome = torch.full((len(table),), UNSEEN, dtype=torch.int64)
        self.statistics = RepairStatistics()
        self._previous, self._following = adjacent_frames(table.landmarks, table.frame, table.identity)
        self._frame = table.frame - first
        self._done = 0

    @property
    def outcomes(self) -> list[str]:
        """What became of each row."""
        return [OUTCOMES[number] for number in self.outcome.tolist()]

    def rows_outside(self, path: Path) -> list[str]:
        """A line about the rows of frames that the video does not have, if there are any."""
        outside = self.table.frame[(self._frame < 0) | (self._frame >= self._done)]
        if not len(outside):
            return []
        low, high, last = int(outside.min()), int(outside.max()), self.first + self._done - 1
        found = f"{len(outside)} of {len(self.table)} rows are of frames {low} to {high}"
        return [f"{path}: {found}, but the video has frames {self.first} to {last}; these rows stay as they are"]

    def __call__(self, frames: list[Frame]) -> None:
        """Repairs the rows of the next frames; those of damaged ones stay as they are."""
        first, self._done = self._done, self._done + len(frames)
        valid = [number for number, frame in enumerate(frames) if frame.image is not None]
        place = torch.full((len(frames),), -1)
        place[valid] = torch.arange(len(valid))
        inside = (self._frame >= first) & (self._frame < self._done)
        index = torch.where(inside, place[(self._frame - first).clamp(0, len(frames) - 1)], -1)
        rows = (index >= 0).nonzero().squeeze(1)
        if len(rows):
            self._repair(torch.stack([one.image for one in frames if one.image is not None]), rows, index[rows])

    def _repair(self, images: Tensor, rows: Tensor, image_index: Tensor) -> None:
        """Repairs some rows in their images."""
        done = repair_landmarks(
            self.detector,
            images,
            self.table.landmarks[rows],
            image_index,
            previous=self._previous[rows],
            following=self._following[rows],
            **self.settings,
        )
        self.repaired[rows] = done.landmarks
        refitted, failed = done.refitted.cpu(), done.unrepaired.cpu()
        self.outcome[rows] = KEPT + (REFITTED - KEPT) * refitted + (UNREPAIRED - KEPT) * failed
        self.statistics += done.statistics


def _write(path: Path, text: str) -> None:
    """Writes a file, or to stdout."""
    if path == STDOUT:
        typer.echo(text, nl=False)
        return
    with write_atomically(path, keep_partial=True) as file:
        file.write(text.encode("utf-8"))
