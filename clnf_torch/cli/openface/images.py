"""Photographs as FaceLandmarkImg takes them: every image has a table, a drawing and a description of its own."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from clnf_torch.cli.console import Complaints, failures_exit_with, finishing_first, mention_terms, notice
from clnf_torch.cli.images.run import (
    entered_image,
    images_without_face,
    is_made_of_another,
    run_entry,
    written_names,
)
from clnf_torch.cli.images.summary import ImageSummary
from clnf_torch.cli.manifest import IMAGES, KEEP_OR_REPLACE, Manifest
from clnf_torch.cli.openface.aligned_files import SUFFIX, AlignedFiles
from clnf_torch.cli.openface.outputs import measured_groups, write_details
from clnf_torch.cli.options import device_named
from clnf_torch.cli.outputs import Targets
from clnf_torch.cli.progress import counting_bar
from clnf_torch.drawing import DrawnFaces, draw_faces
from clnf_torch.export.csv import csv_file
from clnf_torch.export.face_table import FaceTable
from clnf_torch.media.batches import Batch, find_faces, in_batches, read_all
from clnf_torch.media.image_faces import FitOptions, fit_batch
from clnf_torch.media.images import write_image
from clnf_torch.pen_marks import load_pen_mark_eraser
from clnf_torch.pipeline import LandmarkDetector, load, load_face_detector_for


@dataclass(frozen=True, kw_only=True)
class ImageOptions:
    """How photographs are fitted."""

    model: Path
    device: str
    batch: int
    fit: FitOptions
    skip_existing: bool
    erase_marks: bool
    settings: Mapping[str, Any]
    """By option, for the manifest."""
    manifest: Manifest | None
    """From `manifest_at`; None: the run is not entered."""


def fit_photographs(images: Sequence[Path], outputs: Sequence[Targets], options: ImageOptions) -> bool:
    """Finds the faces of photographs, and writes the outputs of each.

    Args:
        images: The photographs.
        outputs: Those of each, from `outputs_of`.
        options: How.

    Returns:
        Whether all could be read, and what is skipped was made of them; what was wrong is on stderr.

    Raises:
        typer.Exit: Something else could not be done.
    """
    complaints = Complaints()
    with failures_exit_with(1), finishing_first() as stop_if_asked:
        wanted = list(range(len(images)))
        if options.skip_existing:
            wanted = _left(images, outputs, options, complaints)
            if not wanted:
                return not complaints.any
        where = device_named(options.device)
        detector = load(options.model, where)
        finder = load_face_detector_for(detector, options.model)
        eraser = load_pen_mark_eraser(device=where) if options.erase_marks else None
        fit = replace(options.fit, eraser=eraser)
        mention_terms(options.model, detector.origin.get("licence", ""))
        summary = ImageSummary([images[number] for number in wanted])
        problems: dict[int, str] = {}

        def complain_of(number: int, line: str) -> None:
            complaints(line)
            problems[number] = line

        read = read_all(summary.images, complain_of, notice)
        entered = _entered(summary, [outputs[number] for number in wanted], problems, options)
        with counting_bar(len(wanted), "images", stop_if_asked) as done, entered:
            for job in find_faces(finder, in_batches(read, options.batch)):
                if job.boxes:
                    batch = Batch([job])
                    summary.add(batch, _write(batch, outputs[wanted[job.number]], detector, fit))
                else:
                    summary.add_empty(job.number)
                    notice(f"no face found: {job.path}")
                done(1)
        summary.show([next(iter(outputs[0].given().values())).parent])
    return not complaints.any


def _left(images: Sequence[Path], outputs: Sequence[Targets], options: ImageOptions, complain: Complaints) -> list[int]:
    """The numbers of photographs that are not skipped; arguments as of `fit_photographs`."""
    manifest = options.manifest
    without_face = images_without_face(images, manifest, options.model, options.settings)
    there = [number for number, files in enumerate(outputs) if files.are_there()]
    if skipped := len(without_face.union(there)):
        notice(f"{skipped} images have their outputs; skipped")
        if none := len(without_face.difference(there)):
            notice(f"in {none} of them an earlier run found no face; leave out --skip-existing to look again")
    made = manifest.images_by_output() if manifest else {}
    if others := [images[number] for number in there if is_made_of_another(outputs[number], images[number], made)]:
        complain(
            f"{others[0]}: skipped, though its outputs were made of another image, or of it before it changed "
            f"({len(others)} of {skipped} are so); {KEEP_OR_REPLACE}"
        )
    return sorted(set(range(len(images))).difference(without_face, there))


@contextlib.contextmanager
def _entered(
    summary: ImageSummary, outputs: Sequence[Targets], problems: Mapping[int, str], options: ImageOptions
) -> Iterator[None]:
    """Enters what became of the photographs in the manifest, whatever ends the block: each is complete by itself.

    Args:
        summary: Of those that are read.
        outputs: Of each of them.
        problems: What is wrong with some, by their number.
        options: How they are fitted.
    """
    try:
        yield
    finally:
        if options.manifest is not None:
            inputs = [
                {
                    **entered_image(image),
                    "faces": summary.faces.get(number),
                    "outputs": written_names(files) if summary.faces.get(number) else {},
                    "problem": problems.get(number),
                }
                for number, (image, files) in enumerate(zip(summary.images, outputs, strict=True))
            ]
            options.manifest.enter(IMAGES, run_entry(summary, options.model, options.settings, {}, inputs))


def _write(batch: Batch, targets: Targets, detector: LandmarkDetector, options: FitOptions) -> FaceTable:
    """Fits the faces of one photograph, and writes its outputs; gives what was measured."""
    (job,) = batch.jobs
    result, table = fit_batch(detector, batch, options)
    if targets.csv is not None:
        with csv_file(targets.csv, image_mode=True, form=targets.form) as rows:
            rows.append(table.without("image"))
    if targets.draw is not None:
        write_image(targets.draw, draw_faces(job.image, DrawnFaces.of(result, table=table)))
    if targets.aligned is not None:
        files = AlignedFiles(targets.aligned, detector.model.pdm, targets.alignment)
        faces = result.success.nonzero().squeeze(1)
        files.write_photograph(job.image, result.landmarks[faces], faces.tolist())
    write_details(job.path, options.camera(*batch.size), targets, measured_groups(detector.model))
    return table


def outputs_of(targets: Targets, name: str) -> Targets:
    """The outputs of a photograph in the folders of all, by what it is called."""
    csv, draw = targets.csv, targets.draw
    aligned = targets.aligned and targets.aligned / f"{name}{SUFFIX}"
    return replace(targets, csv=csv and csv / f"{name}.csv", draw=draw and draw / f"{name}.png", aligned=aligned)
