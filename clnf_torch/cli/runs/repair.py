"""``clnf-torch repair``: another method's landmarks of a video, with poor faces fitted again."""

import contextlib
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, TypedDict

import torch
import typer
from torch import Tensor

from clnf_torch.cli.console import complain, failures_exit_with, finishing_first, notice
from clnf_torch.cli.manifest import Task, file_hash
from clnf_torch.cli.options import (
    STDOUT,
    NumericsName,
    PrecisionName,
    Preset,
    device_named,
)
from clnf_torch.cli.progress import counting_bar
from clnf_torch.cli.repair_resume import RepairJob, check_repair
from clnf_torch.cli.tables.landmarks import COLUMNS_FROM_1, LandmarkTable, read_table
from clnf_torch.files.growing import GrowingFile
from clnf_torch.files.table_text import TableError, repetition
from clnf_torch.media.video import open_video
from clnf_torch.media.video_frames import Frame, VideoError, ahead
from clnf_torch.pipeline import LandmarkDetector, load
from clnf_torch.quality import RepairStatistics, repair_landmarks
from clnf_torch.quality.repair import adjacent_frames

# What became of a row: no image of it, good as it was, fitted again, or poor without a better fit
OUTCOMES = ("no image", "kept", "refitted", "not repaired")
UNSEEN, KEPT, REFITTED, UNREPAIRED = range(len(OUTCOMES))


def repair(
    *,
    video: Path,
    model: Path,
    landmarks: Path,
    csv: Path,
    preset: Preset,
    multi_view: bool,
    keep_good: bool,
    first_frame: int | None,
    resume: bool,
    numerics: NumericsName | None,
    device: str,
    precision: PrecisionName,
    batch: int,
) -> None:
    """Repair the landmarks of another method. Only poor faces are fitted again."""
    check_repair([video, landmarks, model], csv)
    with failures_exit_with(1), finishing_first() as stop_if_asked:
        where = device_named(device)
        try:
            with counting_bar(None, "rows", stop_if_asked) as read:
                table = read_table(landmarks, read)
            source = open_video(video, notice)
        except (TableError, VideoError) as error:
            complain(error)
            raise typer.Exit(1) from None
        settings = _Settings(preset=preset.value, multi_view=multi_view, keep_inliers=keep_good)
        first = _first_frame(table, landmarks) if first_frame is None else first_frame
        used = {
            **settings,
            "first_frame": first,
            "numerics": numerics and numerics.value,
            "device": where.type,
            "precision": precision.value,
        }
        used |= {"batch": batch, "landmarks": file_hash(landmarks)}
        outputs = {} if csv == STDOUT else {"--csv": csv}
        job = RepairJob(csv, Task.of(video, file_hash(model), used, outputs), landmarks)
        if resume and (other := job.other_input()):
            complain(f"{csv}: was made of {other}; give another name, or leave out --resume to replace it")
            raise typer.Exit(1)
        if resume and job.finished():
            notice(f"{csv}: finished by an earlier run; skipped")
            return
        job.task = job.task.with_content()
        repairer = _Repairer(load(model, where, numerics=numerics, precision=precision.value), settings, table, first)
        saved = job.load() if resume else None
        if saved is not None:
            repairer.restore(saved)
        frames = ahead(source)
        with (
            job.growing(None if saved is None else saved["position"]) as file,
            contextlib.closing(frames),
            counting_bar(source.count, "frames", stop_if_asked) as done,
        ):
            done(sum(1 for _ in islice(frames, repairer.done)))
            while some := list(islice(frames, batch)):
                repairer(some)
                if job.due():
                    repairer.write(file)
                    job.save({**repairer.saved(), "position": file.position})
                done(len(some))
            repairer.write(file, at_end=True)
        job.finish({"frames": repairer.done, "faces": repairer.statistics.faces, "problem": source.problem})
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
    if again := repetition("frame", zip(table.frame.tolist(), table.identity.tolist(), strict=True)):
        notice(f"{path}: {again}")
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
        self.outcome = torch.full((len(table),), UNSEEN, dtype=torch.int64, device="cpu")
        self.statistics = RepairStatistics()
        self._previous, self._following = adjacent_frames(table.landmarks, table.frame, table.identity)
        self._frame = table.frame - first
        self._rows: Iterator[tuple[int, list[str]]] = enumerate(table.rows)
        self.done, self._written = 0, 0

    @property
    def outcomes(self) -> list[str]:
        """What became of each row."""
        return [OUTCOMES[number] for number in self.outcome.tolist()]

    def write(self, file: GrowingFile, at_end: bool = False) -> None:
        """Writes the rows up to the first of a frame that is still to come, or all at the end."""
        later = (self._frame >= self.done).nonzero().flatten()
        end = int(later[0]) if len(later) and not at_end else len(self.table)
        rows = islice(self._rows, end - self._written)
        text = self.table.text(rows, self.repaired, self.outcome == REFITTED, self.outcomes)
        file.write(((self.table.head() if not file.position else "") + text).encode("utf-8"))
        self._written = end

    def saved(self) -> dict[str, Any]:
        """What it needs to go on behind the frames that it has seen: plain values and tensors."""
        rows = (self.outcome == REFITTED).nonzero().flatten()
        repaired = {"rows": rows, "landmarks": self.repaired[rows], "outcome": self.outcome}
        return {"done": self.done, "written": self._written, "statistics": vars(self.statistics), **repaired}

    def restore(self, saved: dict[str, Any]) -> None:
        """Goes back to what was saved."""
        self.done, self._written, self.outcome = saved["done"], saved["written"], saved["outcome"]
        self.repaired[saved["rows"]] = saved["landmarks"]
        self._rows = islice(self._rows, self._written, None)
        self.statistics = RepairStatistics(**saved["statistics"])

    def rows_outside(self, path: Path) -> list[str]:
        """A line about the rows of frames that the video does not have, if there are any."""
        outside = self.table.frame[(self._frame < 0) | (self._frame >= self.done)]
        if not len(outside):
            return []
        low, high, last = int(outside.min()), int(outside.max()), self.first + self.done - 1
        found = f"{len(outside)} of {len(self.table)} rows are of frames {low} to {high}"
        return [f"{path}: {found}, but the video has frames {self.first} to {last}; these rows stay as they are"]

    def __call__(self, frames: list[Frame]) -> None:
        """Repairs the rows of the next frames; those of damaged ones stay as they are."""
        first, self.done = self.done, self.done + len(frames)
        valid = [number for number, frame in enumerate(frames) if frame.image is not None]
        place = torch.full((len(frames),), -1, device="cpu")
        place[valid] = torch.arange(len(valid), device="cpu")
        inside = (self._frame >= first) & (self._frame < self.done)
        index = torch.where(inside, place[(self._frame - first).clamp(0, len(frames) - 1)], -1)
        rows = (index >= 0).nonzero().squeeze(1)
        if len(rows):
            self._repair(torch.stack([one.image for one in frames if one.image is not None]), rows, index[rows])

    def _repair(self, images: Tensor, rows: Tensor, image_index: Tensor) -> None:
        """Repairs some rows in their images."""
        done = repair_landmarks(
            self.table.landmarks[rows],
            self.detector,
            images,
            image_index,
            previous=self._previous[rows],
            following=self._following[rows],
            **self.settings,
        )
        self.repaired[rows] = done.landmarks
        refitted, failed = done.refitted.cpu(), done.unrepaired.cpu()
        self.outcome[rows] = KEPT + (REFITTED - KEPT) * refitted + (UNREPAIRED - KEPT) * failed
        self.statistics += done.statistics
