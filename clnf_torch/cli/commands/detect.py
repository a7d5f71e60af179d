"""``clnf-torch detect``, and ``fit``: landmarks, head pose and gaze of the faces in images."""

import functools
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from clnf_torch.cli.cluster_jobs import Cluster, run_on_cluster
from clnf_torch.cli.console import Complaints, failures_exit_with, finishing_first, notice
from clnf_torch.cli.image_run import ImageRun, manifest_of
from clnf_torch.cli.manifest import file_hash, require_manifest
from clnf_torch.cli.options import (
    ActorCount,
    BatchSize,
    CameraOptions,
    CenterX,
    CenterY,
    CSVFile,
    Device,
    FocalX,
    FocalY,
    GivenBox,
    GivenBoxes,
    JSONFile,
    Likelihoods,
    Model,
    MultiView,
    NumericsChoice,
    ParquetFile,
    PrecisionChoice,
    PrecisionName,
    Preset,
    PresetName,
    RayAddress,
    Rounded,
    boxes_from,
    boxes_in,
    device_named,
)
from clnf_torch.cli.output_check import Input, Output, check_outputs
from clnf_torch.cli.outputs import Targets, image_outputs
from clnf_torch.cli.progress import counting_bar
from clnf_torch.detection import FaceDetector, load_face_detector
from clnf_torch.media.batches import MAX_FRAMES, Complain, Job, find_faces, in_batches, read_all, read_jobs
from clnf_torch.media.boxes import Box
from clnf_torch.media.image_faces import FitOptions, fit_batch
from clnf_torch.pipeline import load


def detect(
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE", help="Images.")],
    model: Model,
    box: GivenBox = None,
    boxes: GivenBoxes = None,
    preset: PresetName = Preset.default,
    multi_view: MultiView = None,
    numerics: NumericsChoice = None,
    device: Device = "cpu",
    precision: PrecisionChoice = PrecisionName.float32,
    batch: BatchSize = MAX_FRAMES,
    json: JSONFile = None,
    csv: CSVFile = None,
    parquet: ParquetFile = None,
    likelihoods: Likelihoods = False,
    openface_precision: Rounded = False,
    ray: RayAddress = None,
    actors: ActorCount = None,
    draw: Annotated[Path | None, typer.Option(metavar="DIR", help="Draw into DIR/NAME_landmarks.png.")] = None,
    fx: FocalX = None,
    fy: FocalY = None,
    cx: CenterX = None,
    cy: CenterY = None,
) -> None:
    """Find faces in images, and their landmarks, head pose and gaze. Prints JSON if no output is given."""
    if box is not None and boxes is not None:
        raise typer.BadParameter("give --box X Y W H or --boxes FILE.json, not both")
    camera = CameraOptions(fx, fy, cx, cy)
    targets = Targets(csv=csv, parquet=parquet, json=json, draw=draw, openface_precision=openface_precision)
    if ray is not None:
        return run_on_cluster(
            "images",
            images,
            Cluster(targets, ray, actors, device),
            model=model,
            camera=camera,
            preset=preset,
            multi_view=multi_view,
            numerics=numerics,
            precision=precision,
            likelihoods=likelihoods,
            batch=batch,
            box=box,
            boxes=None if boxes is None else boxes_in(boxes),
        )
    inputs, manifest = [*images, model, *([boxes] if boxes else [])], manifest_of(targets, images)
    beside = [Output("the manifest", manifest)] if manifest else []
    check_outputs(list(map(Input, inputs)), [*targets.image_outputs(images), *beside])
    require_manifest(manifest)
    run = ImageRun(images, targets, Complaints())
    with failures_exit_with(1), finishing_first() as stop_if_asked:
        where = device_named(device)
        jobs = _jobs(images, box, boxes, model, where, batch, run.complain)
        detector = load(model, where, numerics=numerics, precision=precision.value)
        bar = counting_bar(len(images), "images", stop_if_asked)
        with image_outputs(targets, model, images) as outputs, bar as done:
            fit_options = FitOptions(preset.value, multi_view, camera.behind, likelihoods)
            for some in in_batches(jobs, batch):
                result, table = fit_batch(detector, some, fit_options)
                outputs.append(some, result, table)
                run.add(some)
                done(len(some.jobs))
        settings: dict[str, Any] = {"preset": preset.value, "multi_view": multi_view, "device": where.type}
        settings |= {"box": box, "boxes": boxes and file_hash(boxes), "likelihoods": likelihoods}
        settings |= {"numerics": numerics and numerics.value}
        run.finish(model, {**settings, "openface_precision": openface_precision, **asdict(camera)})
    if run.complaints.any:
        raise typer.Exit(1)


@functools.wraps(detect)
def fit(**options: Any) -> None:
    """Alias of detect that needs --box or --boxes."""
    if options["box"] is None and options["boxes"] is None:
        raise typer.BadParameter("give --box X Y W H or --boxes FILE.json; clnf-torch detect finds the faces itself")
    detect(**options)


def _jobs(
    images: list[Path],
    box: Box | None,
    boxes: Path | None,
    model: Path,
    device: torch.device,
    batch: int,
    complain: Complain,
) -> Iterator[Job]:
    """Images with the faces to fit: in given boxes, or where the face detector finds them."""
    if box is not None or boxes is not None:
        return read_jobs(images, boxes_from(box, boxes), complain, notice)
    return _found(load_face_detector(model, device), images, batch, complain)


def _found(finder: FaceDetector, images: list[Path], batch: int, complain: Complain) -> Iterator[Job]:
    """Images with the faces that were found; names those without."""
    for job in find_faces(finder, in_batches(read_all(images, complain, notice), batch)):
        if not job.boxes:
            notice(f"no face found: {job.path}")
        yield job
