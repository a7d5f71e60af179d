"""``clnf-torch detect``, and ``fit``: landmarks, head pose and gaze of the faces in images."""

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import typer

from clnf_torch.cli.cluster_jobs import Cluster, run_on_cluster
from clnf_torch.cli.console import Complaints, failures_exit_with, finishing_first, mention_terms, notice
from clnf_torch.cli.drawing import drawn_files
from clnf_torch.cli.images.run import ImageRun, images_left, made_of_others, manifest_of, manifest_place
from clnf_torch.cli.input_files import image_inputs, require_some
from clnf_torch.cli.manifest import KEEP_OR_REPLACE, file_hash
from clnf_torch.cli.options import (
    CameraOptions,
    NumericsName,
    PrecisionName,
    Preset,
    boxes_from,
    boxes_in,
    device_named,
)
from clnf_torch.cli.output_check import Input, Output, check_outputs
from clnf_torch.cli.outputs import Targets, image_outputs
from clnf_torch.cli.progress import counting_bar
from clnf_torch.detection import FaceDetector
from clnf_torch.export.csv import CSVForm
from clnf_torch.media.batches import Complain, Job, find_faces, in_batches, read_all, read_jobs
from clnf_torch.media.boxes import Box
from clnf_torch.media.image_faces import FitOptions, fit_batch
from clnf_torch.pen_marks import load_pen_mark_eraser
from clnf_torch.pipeline import load, load_face_detector_for


def detect(
    *,
    images: list[Path],
    model: Path,
    box: Box | None,
    boxes: Path | None,
    face_detector: str | None,
    preset: Preset,
    multi_view: bool | None,
    numerics: NumericsName | None,
    device: str,
    threads: int | None,
    precision: PrecisionName,
    batch: int,
    json: Path | None,
    csv: Path | None,
    parquet: Path | None,
    likelihoods: bool,
    erase_marks: bool,
    openface_precision: bool,
    header_blanks: bool,
    skip_existing: bool,
    ray: str | None,
    actors: int | None,
    draw: Path | None,
    fx: float | None,
    fy: float | None,
    cx: float | None,
    cy: float | None,
) -> None:
    """Find faces in images, and their landmarks, head pose and gaze. Prints JSON if no output is given."""
    if box is not None and boxes is not None:
        raise typer.BadParameter("give --box X Y W H or --boxes FILE.json, not both")
    camera = CameraOptions(fx, fy, cx, cy)
    form = CSVForm(openface_precision=openface_precision, header_blanks=header_blanks)
    targets = Targets(csv=csv, parquet=parquet, json=json, draw=draw, form=form)
    if ray is not None:
        return run_on_cluster(
            "images",
            images,
            Cluster(targets, ray, actors, device, face_detector, threads),
            model=model,
            camera=camera,
            preset=preset,
            multi_view=multi_view,
            numerics=numerics,
            precision=precision,
            likelihoods=likelihoods,
            erase_marks=erase_marks,
            batch=batch,
            box=box,
            boxes=None if boxes is None else boxes_in(boxes),
        )
    images = image_inputs(images, manifest_place(targets))
    inputs, manifest = [*images, model, *([boxes] if boxes else [])], manifest_of(targets, images, skip_existing)
    beside = [Output("the manifest", manifest.path)] if manifest and manifest.path else []
    check_outputs(list(map(Input, inputs)), [*targets.image_outputs(images), *beside])
    require_some(images)
    drawings, complaints = drawn_files(images), Complaints()
    if skip_existing:
        left = images_left(targets, images, drawings)
        if skipped := len(images) - len(left):
            notice(f"{skipped} of {len(images)} images have their outputs; skipped")
            numbers = sorted({*range(len(images))}.difference(left))
            there = [images[number] for number in numbers], [drawings[number] for number in numbers]
            if manifest and (others := list(made_of_others(targets, *there, manifest))):
                complaints(
                    f"{others[0]}: skipped, though its outputs were made of other images, or of it before it changed "
                    f"({len(others)} of {skipped} are so); {KEEP_OR_REPLACE}"
                )
        if not left:
            if complaints.any:
                raise typer.Exit(1)
            return
        images, drawings = [images[number] for number in left], [drawings[number] for number in left]
    run = ImageRun(images, drawings, targets, complaints, manifest)
    with failures_exit_with(1), finishing_first() as stop_if_asked:
        where = device_named(device)
        detector = load(model, where, numerics=numerics, precision=precision.value)
        if box is not None or boxes is not None:
            jobs = read_jobs(images, boxes_from(box, boxes), run.complain, notice)
        else:
            finder = load_face_detector_for(detector, model, face_detector)
            jobs = _found(finder, images, batch, run.complain)
        mention_terms(model, detector.origin.get("licence", ""))
        bar = counting_bar(len(images), "images", stop_if_asked)
        with image_outputs(targets, model, images, drawings, likelihoods) as outputs, bar as done:
            eraser = load_pen_mark_eraser(device=where) if erase_marks else None
            fit_options = FitOptions(preset.value, multi_view, camera.behind, likelihoods, eraser=eraser)
            for some in in_batches(jobs, batch):
                result, table = fit_batch(detector, some, fit_options)
                outputs.append(some, result, table)
                run.add(some, table)
                done(len(some.jobs))
        settings: dict[str, Any] = {"preset": preset.value, "multi_view": multi_view, "device": where.type}
        settings |= {"box": box, "boxes": boxes and file_hash(boxes), "likelihoods": likelihoods}
        settings |= {"numerics": numerics and numerics.value}
        settings |= {"detector": face_detector} if face_detector else {}
        settings |= {"erase_marks": True} if erase_marks else {}
        settings |= {"openface_precision": openface_precision, "header_blanks": header_blanks}
        run.finish(model, {**settings, **asdict(camera)})
    if complaints.any:
        raise typer.Exit(1)


def _found(finder: FaceDetector, images: list[Path], batch: int, complain: Complain) -> Iterator[Job]:
    """Images with the faces that were found; names those without."""
    for job in find_faces(finder, in_batches(read_all(images, complain, notice), batch)):
        if not job.boxes:
            notice(f"no face found: {job.path}")
        yield job
