"""Batches of images: read one after the other with their bounding boxes, and grouped where they have one size."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from clnf_torch.detection import FaceDetector
from clnf_torch.media.boxes import Box, BoxError, check_box
from clnf_torch.media.images import ImageError, read_image

# Images of a batch; beyond this a batch only takes memory
MAX_FRAMES = 16
# Faces of a batch, unless one image alone has more
MAX_FACES = 64
# Pixels of the images of a batch, unless one alone has more: 32 of 1920 x 1080. A batch exists up to three times
MAX_BATCH_PIXELS = 1 << 26

Complain = Callable[[int, str], None]
"""Told the number of an image among those that were given, and a line about it."""


@dataclass(frozen=True)
class Job:
    """An image and the boxes to fit in it."""

    path: Path
    image: Tensor  # (3, H, W) RGB, uint8
    boxes: list[Box]
    number: int = 0  # among the images that were given


@dataclass(frozen=True)
class Batch:
    """Jobs whose images have one size."""

    jobs: list[Job]

    @property
    def faces(self) -> int:
        """Number of boxes in all."""
        return sum(len(job.boxes) for job in self.jobs)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the images."""
        return self.jobs[0].image.shape[2], self.jobs[0].image.shape[1]

    def takes(self, job: Job, most: int) -> bool:
        """Whether another job may join, where a batch has at most so many images."""
        same_size = self.jobs[0].image.shape == job.image.shape
        pixels = (len(self.jobs) + 1) * job.image[0].numel()
        few_images = len(self.jobs) < most and pixels <= MAX_BATCH_PIXELS
        return same_size and few_images and self.faces + len(job.boxes) <= MAX_FACES

    def frames(self) -> Tensor:
        """The images, (F, 3, H, W); in memory, channels are last."""
        rows = [job.image.movedim(0, -1) for job in self.jobs]
        # One alone need not be copied
        return (torch.stack(rows) if len(rows) > 1 else rows[0][None]).movedim(-1, 1)

    def tensors(self) -> tuple[Tensor, Tensor, Tensor]:
        """Frames (F, 3, H, W), boxes (B, 4) and the index of each box's image (B,)."""
        boxes = [box for job in self.jobs for box in job.boxes]
        image_index = [number for number, job in enumerate(self.jobs) for _ in job.boxes]
        boxes_tensor = torch.tensor(boxes, dtype=torch.float64, device="cpu").view(-1, 4)
        return self.frames(), boxes_tensor, torch.tensor(image_index, dtype=torch.int64, device="cpu")

    def rows(self) -> Iterator[tuple[Job, slice]]:
        """Every job with its rows among the boxes."""
        start = 0
        for job in self.jobs:
            yield job, slice(start, start + len(job.boxes))
            start += len(job.boxes)


def read_all(paths: Iterable[Path], complain: Complain, note: Callable[[str], None] | None = None) -> Iterator[Job]:
    """Reads images without boxes.

    Args:
        paths: The images.
        complain: Told about each image that is left out.
        note: As for `read_image`.

    Yields:
        Every image that can be read, without boxes.
    """
    for number, path in enumerate(paths):
        try:
            image = read_image(path, note)
        except Exception as error:
            complain(number, image_problem(path, error))
            continue
        yield Job(path, image, [], number)


def find_faces(finder: FaceDetector, batches: Iterable[Batch]) -> Iterator[Job]:
    """Finds the faces of images, which keep their order; those without faces too have a job."""
    for batch in batches:
        with torch.inference_mode():
            faces = finder.detect(batch.frames())
        boxes, image_index = faces.boxes.cpu(), faces.image_index.cpu()
        for number, job in enumerate(batch.jobs):
            yield replace(job, boxes=[_box(row) for row in boxes[image_index == number].tolist()])


def _box(row: list[float]) -> Box:
    x, y, width, height = row
    return x, y, width, height


def read_jobs(
    paths: Iterable[Path],
    boxes_of: Callable[[Path], list[Any]],
    complain: Complain,
    note: Callable[[str], None] | None = None,
) -> Iterator[Job]:
    """Reads images and checks their boxes, one image at a time.

    Args:
        paths: The images.
        boxes_of: What was given as boxes of an image; may raise `BoxError`.
        complain: Told about each image or box that is left out.
        note: As for `read_image`.

    Yields:
        Every image that can be read and has at least one good box.
    """
    for number, path in enumerate(paths):
        try:
            given, image = boxes_of(path), read_image(path, note)
        except Exception as error:
            complain(number, image_problem(path, error))
            continue
        if (job := with_boxes(Job(path, image, [], number), given, partial(complain, number))).boxes:
            yield job


def with_boxes(job: Job, given: Iterable[Any], complain: Callable[[str], None]) -> Job:
    """An image with those of the boxes given for it that can be used; names the others."""
    boxes: list[Box] = []
    for value in given:
        try:
            boxes.append(check_box(value, width=job.image.shape[2], height=job.image.shape[1]))
        except BoxError as error:
            complain(f"{job.path}: {error}")
    return replace(job, boxes=boxes)


def image_problem(path: Path, error: Exception) -> str:
    """What is wrong with an image, in a line; whatever a decoder raises concerns this image alone."""
    return str(error) if isinstance(error, BoxError | ImageError) else f"{path}: {type(error).__name__}: {error}"


def in_batches(jobs: Iterable[Job], most: int = MAX_FRAMES) -> Iterator[Batch]:
    """Groups neighbours of one size, at most so many images together, keeping their order."""
    batch: Batch | None = None
    for job in jobs:
        if batch is not None and batch.takes(job, most):
            batch.jobs.append(job)
            continue
        if batch is not None:
            yield batch
        batch = Batch([job])
    if batch is not None:
        yield batch
