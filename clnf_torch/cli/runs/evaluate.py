"""``clnf-torch evaluate``: errors of a model's landmarks on annotated faces."""

from collections.abc import Callable
from functools import lru_cache, partial
from pathlib import Path

import torch
import typer
from rich.console import Console
from torch import Tensor

from clnf_torch.cli.annotated_faces import annotation_files
from clnf_torch.cli.console import complain, failures_exit_with, finishing_first, say
from clnf_torch.cli.evaluation.boxes import DETECTED, detected_boxes, known_boxes
from clnf_torch.cli.evaluation.resume import EvaluationRun, evaluation_task, state_of
from clnf_torch.cli.evaluation.tables import (
    Run,
    check_plots,
    draw_curves,
    error_lines,
    failures,
    group_table,
    score_table,
    write_scores,
)
from clnf_torch.cli.manifest import file_hash
from clnf_torch.cli.options import (
    STDOUT,
    NumericsName,
    PrecisionName,
    Preset,
    device_named,
)
from clnf_torch.cli.output_check import Input, Output, check_outputs
from clnf_torch.cli.outputs import keep_earlier
from clnf_torch.cli.progress import counting_bar
from clnf_torch.cli.streams import require_stdout
from clnf_torch.geometry.landmarks68 import NUM_LANDMARKS
from clnf_torch.media.images import read_image
from clnf_torch.pipeline import LandmarkDetector, load, load_face_detector_for
from clnf_torch.training.data.annotations import Annotations, read_annotations
from clnf_torch.training.evaluation.annotated import FoundFaces, Reader, find_landmarks, with_pen_marks
from clnf_torch.training.evaluation.face_groups import face_groups
from clnf_torch.training.evaluation.skin_tone import skin_angles

Done = Callable[[int], None]
"""Called with how many more images are done."""
Boxes = Callable[[Reader, range, Done], Tensor]
"""Gives the boxes (len(rows), 4) of some of the faces, whose images a reader reads."""


def evaluate(
    *,
    model: Path,
    data: Path,
    split: list[str] | None,
    boxes: str,
    seed: int,
    marked: int | None,
    preset: Preset,
    multi_view: bool | None,
    numerics: NumericsName | None,
    device: str,
    precision: PrecisionName,
    batch: int,
    json: Path | None,
    curve: Path | None,
    errors: Path | None,
    resume: bool,
) -> None:
    """Evaluate a model on annotated faces. Prints its normalised mean errors (NME) and failure rates."""
    if curve is not None:
        check_plots("--curve", curve)
    if json == STDOUT or json is curve is errors is None:
        require_stdout("give --json a file")
    given = {"--json": None if json == STDOUT else json, "--curve": curve, "--errors": errors}
    given["the state of the run"] = state = state_of(list(given.values()))
    inputs = [Input(model), Input(data, annotation_files), Input(Path(boxes))]
    check_outputs(inputs, [Output(option, path) for option, path in given.items() if path is not None])
    with failures_exit_with(1), finishing_first() as stop_if_asked:
        where = device_named(device)
        faces = read_annotations(data)
        faces = faces.of_split(*split) if split else faces
        detector = load(model, where, numerics=numerics, precision=precision.value)
        _check_landmarks(detector, model)
        evaluation_boxes = _evaluation_boxes(boxes, faces, data, seed, detector, model)
        fit = partial(find_landmarks, detector, batch=batch, preset=preset.value, multi_view=multi_view)
        readers = _readers(faces, marked, batch)
        settings = {"boxes": boxes, "seed": seed, "marked": marked, "preset": preset.value, "multi_view": multi_view}
        file = Path(boxes)
        settings |= {"boxes_file": file_hash(file) if file.is_file() else None}
        settings |= {"numerics": numerics and numerics.value, "device": where.type, "batch": batch}
        run = EvaluationRun(state, evaluation_task(faces, data, model, settings, errors), list(readers))
        if resume:
            run.load(errors)
        if run.position is None:
            keep_earlier(path for path in (errors, json) if path is not None)
        steps = len(faces) * len(readers) * (2 if boxes == DETECTED else 1)
        with run.kept(errors) as table, counting_bar(steps, "images", stop_if_asked) as done:
            done(run.done * (steps // max(len(faces), 1)))
            while len(rows := range(run.done, min(run.done + batch, len(faces)))):
                found = {name: _found(fit, evaluation_boxes, read, rows, done) for name, read in readers.items()}
                truth = faces.landmarks[rows.start : rows.stop]
                if table is not None:
                    table.write(error_lines([Run.of(*one, truth) for one in found.items()], faces, rows))
                skin = skin_angles(map(readers["unmarked"], rows), truth)
                run.add(found, skin, table.position if table is not None else 0)
                done(len(rows) * len(readers))
        runs = [Run.of(name, run.faces(name), faces.landmarks) for name in readers]
        groups = face_groups(detector.model.pdm, faces.landmarks, torch.cat(run.skin))
        if curve is not None:
            draw_curves(curve, _curves(runs), f"{len(faces)} faces of {data}")
        if json is not None:
            head = {"data": str(data), "split": split, "model": str(model), "boxes": boxes, "seed": seed}
            write_scores(json, runs, {**head, "marked": marked, "faces": len(faces)}, groups)
        run.remove()
        if json != STDOUT:
            _print(runs, groups, faces, data)


def _found(
    fit: Callable[[Reader, Tensor], FoundFaces], boxes: Boxes, read: Reader, rows: range, done: Done
) -> FoundFaces:
    """The landmarks of some faces."""
    return fit(lambda row: read(rows[row]), boxes(read, rows, done))


def _check_landmarks(detector: LandmarkDetector, model: Path) -> None:
    """Refuses models of other landmarks."""
    if (count := detector.model.pdm.num_landmarks) != NUM_LANDMARKS:
        complain(f"{model}: it has {count} landmarks; {NUM_LANDMARKS} can be evaluated")
        raise typer.Exit(1)


def _evaluation_boxes(
    boxes: str, faces: Annotations, data: Path, seed: int, detector: LandmarkDetector, model: Path
) -> Boxes:
    """Gives the boxes (len(rows), 4) of some faces in their images."""
    if boxes == DETECTED:
        return partial(detected_boxes, load_face_detector_for(detector, model), faces)
    known = known_boxes(boxes, faces, data, seed)
    return lambda _read, rows, _done: known[rows.start : rows.stop]


def _readers(faces: Annotations, marked: int | None, batch: int) -> dict[str, Reader]:
    """What gives the images of each run, by the run's name; those of a batch are read once, by whoever asks first."""
    read_once = lru_cache(batch)(read_image)

    def read(row: int) -> Tensor:
        return read_once(faces.images[row])

    plain: dict[str, Reader] = {"unmarked": read}
    return plain if marked is None else {**plain, "marked": with_pen_marks(read, faces.landmarks, marked)}


def _curves(runs: list[Run]) -> dict[str, Tensor]:
    """The errors of all runs by what their curves are called."""
    named = len(runs) > 1
    return {
        f"{key} points{f', {run.name}' if named else ''}": errors for run in runs for key, errors in run.errors.items()
    }


def _print(runs: list[Run], groups: dict[str, Tensor], faces: Annotations, data: Path) -> None:
    """Prints the tables and the failures."""
    say(f"{len(faces)} faces of {data}, NME by the distance of the outer eye corners")
    for table in (score_table(runs), group_table(runs, groups)):
        Console(highlight=False).print(table)
    for run in runs:
        for line in failures(run, faces):
            say(line)
