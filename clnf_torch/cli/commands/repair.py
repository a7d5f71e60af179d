"""``clnf-torch repair``: another method's landmarks of a video, with poor faces fitted again."""

import contextlib
import csv
import io
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Annotated, TypedDict

import torch
import typer
from torch import Tensor

from clnf_torch.cli.console import complain, failures_exit_with, finishing_first, notice
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
from clnf_torch.cli.progress import counting_bar
from clnf_torch.cli.video import open_video
from clnf_torch.cli.video_frames import Frame, VideoError, ahead
from clnf_torch.geometry.landmarks68 import NUM_LANDMARKS
from clnf_torch.models.files import write_atomically
from clnf_torch.pipeline import LandmarkDetector, load
from clnf_torch.quality import RepairStatistics, repair_landmarks
from clnf_torch.quality.repair import adjacent_frames

FRAME, IDENTITY = "frame", "face_id"
COLUMNS = [f"{axis}_{point}" for axis in "xy" for point in range(NUM_LANDMARKS)]


class TableError(ValueError):
    """A table that cannot be used; its text is one line."""


@dataclass(frozen=True, kw_only=True)
class LandmarkTable:
    """The rows as they were read, and what they say."""

    names: list[str]  # of the columns
    rows: list[list[str]]  # B rows
    frame: Tensor  # (B,) int64, the first frame being 0
    identity: Tensor  # (B,) int64
    landmarks: Tensor  # (B, 68, 2) float64 pixels; NaN where a cell is empty

    def text(self, landmarks: Tensor, changed: Tensor) -> str:
        """The table with other landmarks (B, 68, 2) in the rows (B,) that changed; the rest is as it was."""
        places, written = [self.names.index(name) for name in COLUMNS], io.StringIO()
        lines = csv.writer(written, lineterminator="\n")
        lines.writerow(self.names)
        for row, other, points in zip(self.rows, changed.tolist(), landmarks, strict=True):
            cells = list(row)
            for place, value in zip(places, points.mT.flatten().tolist() if other else (), strict=other):
                cells[place] = f"{value:.3f}"
            lines.writerow(cells)
        return written.getvalue()


def read_table(path: Path) -> LandmarkTable:
    """A table with a column ``frame``, counted from 1, maybe ``face_id``, and ``x_0`` to ``x_67``, ``y_0`` to ``y_67``.

    Raises:
        TableError: A column is missing, or a cell holds no number; says which and where.
        OSError: It cannot be read.
    """
    with path.open(newline="", encoding="utf-8-sig") as file:
        lines = csv.reader(file)
        names = [name.strip() for name in next(lines, [])]
        rows = [row for row in lines if row]
    missing = [name for name in (FRAME, *COLUMNS) if name not in names]
    if missing:
        raise TableError(f"{path}: expected columns frame, x_0 to x_67 and y_0 to y_67, found no {missing[0]}")
    for number, row in enumerate(rows, start=2):
        if len(row) != len(names):
            raise TableError(f"{path}: row {number} has {len(row)} cells for {len(names)} columns")
    values = torch.tensor([_column(path, names, rows, name) for name in COLUMNS], dtype=torch.float64)
    frame = torch.tensor(_column(path, names, rows, FRAME), dtype=torch.float64)
    identity = _column(path, names, rows, IDENTITY) if IDENTITY in names else [0.0] * len(rows)
    return LandmarkTable(
        names=names,
        rows=rows,
        frame=frame.nan_to_num(0).long() - 1,
        identity=torch.tensor(identity, dtype=torch.float64).nan_to_num(0).long(),
        landmarks=values.view(2, NUM_LANDMARKS, len(rows)).permute(2, 1, 0).contiguous(),
    )


def _column(path: Path, names: list[str], rows: list[list[str]], name: str) -> list[float]:
    """The numbers of a column; NaN for empty cells."""
    place, numbers = names.index(name), []
    for row, cells in enumerate(rows, start=2):
        try:
            numbers.append(float(cells[place].strip() or "nan"))
        except ValueError:
            raise TableError(f"{path}: row {row}, {name}: expected a number, found {cells[place]!r}") from None
    return numbers


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
    numerics: NumericsChoice = None,
    device: Device = "cpu",
    batch: BatchSize = 16,
) -> None:
    """Repair the landmarks of another method. Only poor faces are fitted again."""
    with failures_exit_with(1), finishing_first() as stop_if_asked:
        where = device_named(device)
        try:
            table = read_table(landmarks)
            source = open_video(video, notice)
        except (TableError, VideoError) as error:
            complain(error)
            raise typer.Exit(1) from None
        settings = _Settings(preset=preset.value, multi_view=multi_view, keep_inliers=keep_good)
        repairer = _Repairer(load(model, where, numerics=numerics), settings, table)
        frames = ahead(source)
        with contextlib.closing(frames), counting_bar(source.count, "frames", stop_if_asked) as done:
            while some := list(islice(frames, batch)):
                repairer(some)
                done(len(some))
        _write(csv, table.text(repairer.repaired, repairer.refitted))
        for line in str(repairer.statistics).splitlines():
            notice(line)
        if source.problem:
            complain(source.problem)
            raise typer.Exit(1)


class _Settings(TypedDict):
    """Arguments of `repair_landmarks` that are the same for all frames."""

    preset: str
    multi_view: bool
    keep_inliers: bool


class _Repairer:
    """Repairs the rows of a table, frames after frames.

    Args:
        detector: Fits.
        settings: Of the fits.
        table: The rows.
    """

    def __init__(self, detector: LandmarkDetector, settings: _Settings, table: LandmarkTable) -> None:
        self.detector, self.settings, self.table = detector, settings, table
        self.repaired, self.refitted = table.landmarks.clone(), torch.zeros(len(table.rows), dtype=torch.bool)
        self.statistics = RepairStatistics()
        self._previous, self._following = adjacent_frames(table.landmarks, table.frame, table.identity)
        self._first = 0

    def __call__(self, frames: list[Frame]) -> None:
        """Repairs the rows of the next frames; those of damaged ones stay as they are."""
        first, self._first = self._first, self._first + len(frames)
        valid = [number for number, frame in enumerate(frames) if frame.image is not None]
        place = torch.full((len(frames),), -1)
        place[valid] = torch.arange(len(valid))
        inside = (self.table.frame >= first) & (self.table.frame < self._first)
        index = torch.where(inside, place[(self.table.frame - first).clamp(0, len(frames) - 1)], -1)
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
        self.repaired[rows], self.refitted[rows] = done.landmarks, done.refitted.cpu()
        self.statistics += done.statistics


def _write(path: Path, text: str) -> None:
    """Writes a file, or to stdout."""
    if path == STDOUT:
        typer.echo(text, nl=False)
        return
    with write_atomically(path, keep_partial=True) as file:
        file.write(text.encode("utf-8"))
