"""Pictures with their boxes, read one after the other and fitted together where they have one size."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from clnf_torch.cli.boxes import Box, BoxError, check_box
from clnf_torch.cli.media import PictureError, read_picture

MAX_FRAMES = 16  # pictures of a batch; beyond this a batch only takes memory
MAX_FACES = 64  # faces of a batch, unless one picture alone has more


@dataclass(frozen=True)
class Job:
    """A picture and the boxes to fit in it."""

    path: Path
    picture: Tensor  # (3, H, W) RGB, uint8
    boxes: list[Box]


@dataclass(frozen=True)
class Batch:
    """Jobs whose pictures have one size."""

    jobs: list[Job]

    @property
    def faces(self) -> int:
        """Number of boxes in all."""
        return sum(len(job.boxes) for job in self.jobs)

    def takes(self, job: Job) -> bool:
        """Whether another job may join."""
        same_size = self.jobs[0].picture.shape == job.picture.shape
        return same_size and len(self.jobs) < MAX_FRAMES and self.faces + len(job.boxes) <= MAX_FACES

    def tensors(self) -> tuple[Tensor, Tensor, Tensor]:
        """Frames (F, 3, H, W), boxes (B, 4) and the frame of each box (B,)."""
        boxes = [box for job in self.jobs for box in job.boxes]
        frame = [number for number, job in enumerate(self.jobs) for _ in job.boxes]
        frames = torch.stack([job.picture for job in self.jobs])
        return frames, torch.tensor(boxes, dtype=torch.float64), torch.tensor(frame)

    def rows(self) -> Iterator[tuple[Job, slice]]:
        """Every job with its rows among the boxes."""
        start = 0
        for job in self.jobs:
            yield job, slice(start, start + len(job.boxes))
            start += len(job.boxes)


def read_jobs(
    paths: Iterable[Path], boxes_of: Callable[[Path], list[Any]], complain: Callable[[str], None]
) -> Iterator[Job]:
    """Reads pictures and checks their boxes, one picture at a time.

    Args:
        paths: The pictures.
        boxes_of: What was given as boxes of a picture; may raise `BoxError`.
        complain: Told in a line about each picture or box that is left out.

    Yields:
        Every picture that can be read and has at least one good box.
    """
    for path in paths:
        try:
            given, picture = boxes_of(path), read_picture(path)
        except (BoxError, PictureError) as error:
            complain(str(error))
            continue
        boxes: list[Box] = []
        for value in given:
            try:
                boxes.append(check_box(value, width=picture.shape[2], height=picture.shape[1]))
            except BoxError as error:
                complain(f"{path}: {error}")
        if boxes:
            yield Job(path, picture, boxes)


def in_batches(jobs: Iterable[Job]) -> Iterator[Batch]:
    """Groups neighbours of one size, keeping their order."""
    batch: Batch | None = None
    for job in jobs:
        if batch is not None and batch.takes(job):
            batch.jobs.append(job)
            continue
        if batch is not None:
            yield batch
        batch = Batch([job])
    if batch is not None:
        yield batch
