"""The work on a batch of images as plain callables on Arrow tables: decode the files, and find and fit the faces."""

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from clnf_torch.distributed.inputs import InputFile
from clnf_torch.distributed.settings import JobSettings
from clnf_torch.distributed.storage import is_local, may_pass, opened
from clnf_torch.export.parquet import arrow_table
from clnf_torch.files.names import one_line
from clnf_torch.media.batches import MAX_FRAMES, Job, find_faces, image_problem, in_batches, with_boxes
from clnf_torch.media.boxes import boxes_of
from clnf_torch.media.image_faces import FitOptions, fit_batch
from clnf_torch.media.images import BYTES_PER_PIXEL, ImageError, decode_image, max_pixels, read_image

# Decoded bytes of a batch beyond which its other images wait as files: an image may unpack to 2 GB
MOST_DECODED = 2**28
IMAGES = pa.schema(
    [
        # As the tables name it
        ("image", pa.string()),
        # RGB (3, H, W); null where the image waits as a file, or cannot be read
        ("pixels", pa.large_binary()),
        ("height", pa.int32()),
        ("width", pa.int32()),
        ("url", pa.string()),
        ("bytes", pa.int64()),
        ("problem", pa.string()),
        ("notes", pa.list_(pa.string())),
    ]
)


@dataclass(frozen=True, kw_only=True)
class DetectSettings(JobSettings):
    """All that decides the faces of an image; the options of ``clnf-torch detect``.

    Attributes:
        multi_view: Try eleven head rotations; None: as the preset says.
        boxes: Bounding boxes by the name of the image, as in the file of ``--boxes``.
        batch: Images, and four times as many faces, that are computed together.
    """

    multi_view: bool | None = None
    boxes: Mapping[str, Sequence[Any]] | None = None
    batch: int = MAX_FRAMES

    def needs_boxes(self) -> bool:
        """Whether faces are detected."""
        return self.box is None and self.boxes is None

    def boxes_of(self, image: Path) -> list[Any] | None:
        """The boxes that were given for an image, None where faces are detected.

        Raises:
            BoxError: There are boxes, but none for this one.
        """
        if self.boxes is not None:
            return boxes_of(image, self.boxes)
        return None if self.box is None else [self.box]


def decode_images(inputs: Iterable[InputFile]) -> pa.Table:
    """Decodes image files; what cannot be read is a row that says why.

    Args:
        inputs: The files.

    Returns:
        A row for each, with the columns of `IMAGES`.
    """
    rows, decoded = [], 0
    for each in inputs:
        waits = decoded > MOST_DECODED
        row = _waiting(each) if waits else _decoded(each)
        decoded += len(row["pixels"] or b"")
        rows.append(row)
    return pa.Table.from_pylist(rows, IMAGES)


def _waiting(each: InputFile) -> dict[str, Any]:
    """An image that is not decoded yet."""
    return {"image": each.name, "url": each.url, "bytes": each.bytes, "pixels": None, "problem": None, "notes": []}


def _decoded(each: InputFile) -> dict[str, Any]:
    """An image, or why there is none."""
    notes: list[str] = []
    try:
        image = _read(each, notes)
    except Exception as error:
        if may_pass(error, opened(each.url)[0]):
            raise
        problem = one_line(image_problem(Path(each.name), error).replace(each.url, each.name))
        return {**_waiting(each), "problem": problem, "notes": notes}
    height, width = image.shape[1:]
    return {**_waiting(each), "pixels": image.numpy().tobytes(), "height": height, "width": width, "notes": notes}


def _read(each: InputFile, notes: list[str]) -> Tensor:
    """The pixels of an image file of any place."""
    files, path = opened(each.url)
    if is_local(files):
        return read_image(Path(path), lambda line: notes.append(line.replace(path, each.name)))
    limit = max_pixels() * BYTES_PER_PIXEL
    if each.bytes > limit:
        raise ImageError(f"{each.name}: {each.bytes} bytes are more than {limit}")
    return decode_image(files.cat_file(path), Path(each.name), notes.append)


class DetectFaces:
    """Finds and fits the faces of decoded images: a callable that keeps its model.

    Args:
        model: The bundle; None: the one that is installed.
        settings: How.
        device: Where to compute.
        threads: Threads of the processor; None: as torch has it.
    """

    def __init__(
        self,
        model: Path | None = None,
        settings: DetectSettings | None = None,
        device: str = "cpu",
        threads: int | None = None,
    ) -> None:
        self.settings = settings = settings or DetectSettings()
        self.detector, self.finder = settings.models(model, device, threads)
        self.options = FitOptions(
            settings.preset,
            settings.multi_view,
            settings.camera,
            settings.likelihoods,
            eraser=settings.eraser(device),
        )

    def __call__(self, images: pa.Table) -> tuple[pa.Table | None, list[str | None]]:
        """The faces of images, whose sizes may differ.

        Args:
            images: From `decode_images`.

        Returns:
            The faces in the order of the images, in the columns of ``clnf-torch detect --parquet``, None where there
            are none; and what is wrong with each image, or None.
        """
        names = images["image"].to_pylist()
        found = [self._job(images.slice(row, 1), name) for row, name in enumerate(names)]
        jobs = [job for job, _ in found if job is not None]
        return self._faces(jobs, {Path(name): number for number, name in enumerate(names)}, names), [
            problem for _, problem in found
        ]

    def _faces(self, jobs: list[Job], places: dict[Path, int], names: list[str]) -> pa.Table | None:
        """The faces of images in the order of their places; images of one size are computed together."""
        jobs = sorted(jobs, key=lambda job: job.image.shape)
        if self.finder is not None:
            jobs = list(find_faces(self.finder, in_batches(jobs, self.settings.batch)))
        found: list[tuple[int, pa.Table]] = []
        for batch in in_batches((job for job in jobs if job.boxes), self.settings.batch):
            _, table = fit_batch(self.detector, batch, self.options)
            # A URL is no Path
            table = replace(table, image=tuple(names[places[job.path]] for job in batch.jobs for _ in job.boxes))
            rows = arrow_table(table, image_mode=True)
            found += [(places[job.path], rows[own]) for job, own in batch.rows()]
        found.sort(key=lambda each: each[0])
        return pa.concat_tables([rows for _, rows in found]) if found else None

    def _job(self, image: pa.Table, name: str) -> tuple[Job | None, str | None]:
        """An image with the boxes that were given for it, and what is wrong."""
        (row,) = image.drop_columns("pixels").to_pylist()
        if row["problem"] is None and image["pixels"].null_count:
            image = decode_images([InputFile(row["image"], row["url"], row["bytes"], "")])
            (row,) = image.drop_columns("pixels").to_pylist()
        if row["problem"] is not None:
            return None, row["problem"]
        complaints: list[str] = []
        job = Job(Path(name), _pixels(image["pixels"][0], row["height"], row["width"]), [])
        try:
            given = self.settings.boxes_of(job.path)
        except ValueError as error:
            return None, one_line(str(error))
        if given is not None:
            job = with_boxes(job, given, complaints.append)
        return job, one_line("; ".join(complaints)) if complaints else None


def _pixels(value: pa.LargeBinaryScalar, height: int, width: int) -> Tensor:
    """Pixels (3, H, W) where they lie, without a copy."""
    return shared_array(np.frombuffer(value.as_buffer(), np.uint8)).view(3, height, width)


def shared_array(values: np.ndarray) -> Tensor:
    """A tensor of memory that others share: it is not written."""
    with warnings.catch_warnings():
        # Such memory is marked as one that cannot be written
        warnings.simplefilter("ignore")
        return torch.from_numpy(values)
