"""``clnf-torch detect``: finds the faces in images, and says where their landmarks are and where they look."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from clnf_torch.cli.batches import MAX_FRAMES, Batch, Job, find_faces, in_batches, read_all, read_jobs
from clnf_torch.cli.console import Complaints, failures_exit_with, finishing_first, notice
from clnf_torch.cli.drawing import Drawing
from clnf_torch.cli.options import (
    STDOUT,
    CameraOptions,
    CenterX,
    CenterY,
    Device,
    Drawn,
    FocalX,
    FocalY,
    GivenBox,
    GivenBoxes,
    Likelihoods,
    Model,
    MultiView,
    NumericsChoice,
    Preset,
    PresetName,
    Rounded,
    boxes_from,
    device_named,
)
from clnf_torch.cli.outputs import FaceRows, Targets, face_files, face_table
from clnf_torch.cli.progress import counting_bar
from clnf_torch.detection import FaceDetector, load_face_detector
from clnf_torch.pipeline import FitResult, load


def detect(
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE", help="ImageBatch.")],
    model: Model,
    box: GivenBox = None,
    boxes: GivenBoxes = None,
    preset: PresetName = Preset.default,
    multi_view: MultiView = None,
    numerics: NumericsChoice = None,
    device: Device = "cpu",
    batch: Annotated[int, typer.Option(min=1, help="Images of one size that are worked on together.")] = MAX_FRAMES,
    json: Annotated[
        Path | None, typer.Option(metavar="FILE|-", help="Write JSON; - is stdout, as is no output at all.")
    ] = None,
    csv: Annotated[Path | None, typer.Option(metavar="FILE", help="Write a table in OpenFace's columns.")] = None,
    parquet: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the same table as Parquet.")] = None,
    likelihoods: Likelihoods = False,
    openface_precision: Rounded = False,
    draw: Drawn = None,
    fx: FocalX = None,
    fy: FocalY = None,
    cx: CenterX = None,
    cy: CenterY = None,
) -> None:
    """Find the faces in images. Gives landmarks and head pose, and gaze where the model has eyes."""
    if box is not None and boxes is not None:
        raise typer.BadParameter("give --box X Y W H or --boxes FILE.json, not both")
    camera = CameraOptions(fx, fy, cx, cy)
    targets = Targets(csv=csv, parquet=parquet, json=json, image_mode=True, openface_precision=openface_precision)
    if not targets and draw is None:
        targets = replace(targets, json=STDOUT)
    complaints = Complaints()
    with failures_exit_with(1), finishing_first() as stop_if_asked:
        where = device_named(device)
        given = boxes_from(box, boxes) if box or boxes else None
        detector = load(model, where, numerics=numerics)
        if given:
            jobs = read_jobs(images, given, complaints)
        else:
            jobs = _found(load_face_detector(model, where), images, batch, complaints)
        drawing = Drawing(draw) if draw else None
        bar = counting_bar(len(images), "images", stop_if_asked)
        with face_files(targets, {"model": str(model)}) as files, bar as done:
            for some in in_batches(jobs, batch):
                frames, places, frame = some.tensors()
                with torch.inference_mode():
                    result = detector.fit(frames, places, frame, preset=preset.value, multi_view=multi_view)
                    table = face_table(_rows(some, result), detector, camera.behind(*some.size), likelihoods)
                files.append(replace(table, image=_names(some)), result, _heads(some))
                if drawing:
                    drawing.draw(some, result)
                done(len(some.jobs))
    if complaints.any:
        raise typer.Exit(1)


def _found(finder: FaceDetector, images: list[Path], batch: int, complain: Complaints) -> Iterator[Job]:
    """Images with the faces that were found; names those without."""
    for job in find_faces(finder, in_batches(read_all(images, complain), batch)):
        if not job.boxes:
            notice(f"no face found: {job.path}")
        yield job


def _rows(batch: Batch, result: FitResult) -> FaceRows:
    """The faces of a batch, numbered in each image."""
    numbers = [number for job in batch.jobs for number in range(len(job.boxes))]
    face_id = torch.tensor(numbers, dtype=torch.int64)
    ones = torch.ones_like(face_id)
    return FaceRows(faces=result, success=result.success, frame=ones, face_id=face_id, timestamp=0.0 * ones)


def _names(batch: Batch) -> tuple[str, ...]:
    """The image of every face."""
    return tuple(str(job.path) for job in batch.jobs for _ in job.boxes)


def _heads(batch: Batch) -> list[dict[str, Any]]:
    """What the JSON record of every face begins with."""
    return [{"image": str(job.path), "box": list(box)} for job in batch.jobs for box in job.boxes]
