"""``clnf-torch fit``: landmarks of the faces in images, as JSON and drawn."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from clnf_torch.cli.batches import Batch, in_batches, read_jobs
from clnf_torch.cli.console import Complaints, failures_exit_with
from clnf_torch.cli.drawing import Drawing
from clnf_torch.cli.options import (
    STDOUT,
    Device,
    Drawn,
    GivenBox,
    GivenBoxes,
    Model,
    MultiView,
    NumericsChoice,
    Preset,
    PresetName,
    boxes_from,
    device_named,
)
from clnf_torch.cli.output import face_record, write_json
from clnf_torch.pipeline import FitResult, LandmarkDetector, load


def fit(
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE", help="Images with faces.")],
    model: Model,
    box: GivenBox = None,
    boxes: GivenBoxes = None,
    preset: PresetName = Preset.default,
    multi_view: MultiView = None,
    numerics: NumericsChoice = None,
    device: Device = "cpu",
    json: Annotated[
        Path | None, typer.Option(metavar="FILE|-", help="Write JSON; - is stdout, as is neither --json nor --draw.")
    ] = None,
    draw: Drawn = None,
) -> None:
    """Fit landmarks to the faces in images. What cannot be used is named on stderr; all else is still done."""
    if (box is None) == (boxes is None):
        raise typer.BadParameter("give either --box X Y W H or --boxes FILE.json")
    complaints = Complaints()
    faces: list[dict[str, Any]] = []
    with failures_exit_with(1):
        given = boxes_from(box, boxes)
        detector = load(model, device_named(device), numerics=numerics)
        drawing = Drawing(draw) if draw else None
        for batch in in_batches(read_jobs(images, given, complaints)):
            result = _fit_batch(detector, batch, preset.value, multi_view)
            faces += _records(batch, result)
            if drawing:
                drawing.draw(batch, result)
        if json is not None or draw is None:
            write_json(json or STDOUT, model, faces)
    if complaints.any:
        raise typer.Exit(1)


def _fit_batch(detector: LandmarkDetector, batch: Batch, preset: str, multi_view: bool | None) -> FitResult:
    """Fits a batch in one pass."""
    frames, boxes, frame = batch.tensors()
    with torch.inference_mode():
        return detector.fit(frames, boxes, frame, preset=preset, multi_view=multi_view)


def _records(batch: Batch, result: FitResult) -> Iterator[dict[str, Any]]:
    """Every face of a batch as plain values, in order."""
    for job, rows in batch.rows():
        for box, row in zip(job.boxes, range(rows.start, rows.stop), strict=True):
            yield face_record(job.path, box, result, row)
