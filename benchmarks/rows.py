"""What a row of each kind of file costs the processor: text of CSV and JSON, without measuring or fitting a face."""

import io
import time
from collections.abc import Callable
from dataclasses import replace

import torch
from rich.table import Table

from benchmarks.tables import table
from clnf_torch.export.csv import CSVForm, CSVRows
from clnf_torch.export.face_table import FaceTable
from clnf_torch.export.json import JSONDocument, face_lines
from clnf_torch.models.pdm import ShapeParams
from clnf_torch.pipeline.result import FitResult

# Faces that are written together: a single one, and the frames of a second
ROWS = (1, 30)
LANDMARKS, MODES, EYES = 68, 34, 56


class Memory(io.BytesIO):
    """A growing file that stays in memory."""

    position = 0


def report(repeats: int) -> list[Table]:
    """The table of milliseconds per row."""
    rows = [
        (name, *(f"{_milliseconds(write, count, repeats):.2f}" for count in ROWS)) for name, write in WRITERS.items()
    ]
    return [table("Text of files, ms per row", ("file", *(f"{count} together" for count in ROWS)), rows)]


def made_up(count: int) -> tuple[FaceTable, FitResult]:
    """Faces in numbers of many digits."""
    rng = torch.Generator().manual_seed(68)

    def numbers(*shape: int) -> torch.Tensor:
        return 100 * torch.randn(count, *shape, generator=rng)

    whole, never = torch.arange(count), torch.zeros(count, dtype=torch.bool)
    params = ShapeParams(numbers(), numbers(3), numbers(2), numbers(MODES))
    likelihoods = numbers(LANDMARKS)
    measured = FaceTable(
        frame=whole, face_id=whole, timestamp=whole.double() / 30, confidence=numbers().sigmoid(), success=~never,
        gaze=numbers(2, 3), gaze_angle=numbers(2), eye_landmarks=numbers(EYES, 2), eye_points=numbers(EYES, 3),
        pose=numbers(6), landmarks=numbers(LANDMARKS, 2), points=numbers(LANDMARKS, 3),
        params_global=params.globals, params_local=params.local,
    )  # fmt: skip
    fits = FitResult(
        landmarks=numbers(LANDMARKS, 2), params=params, likelihood=numbers(), landmark_likelihoods=likelihoods,
        view=whole, visible=likelihoods > 0, hypothesis=whole, confidence=numbers().sigmoid(), success=~never, parts={},
    )  # fmt: skip
    return measured, fits


def _csv(faces: FaceTable, fits: FitResult) -> bytes:
    """The rows as CSV in full."""
    file = Memory()
    CSVRows(file).append(faces)  # type: ignore[arg-type]
    return file.getvalue()


def _rounded_csv(faces: FaceTable, fits: FitResult) -> bytes:
    """The rows as CSV with OpenFace's digits."""
    file = Memory()
    CSVRows(file, form=CSVForm(openface_precision=True)).append(faces)  # type: ignore[arg-type]
    return file.getvalue()


def _json(faces: FaceTable, fits: FitResult) -> bytes:
    """The rows as JSON."""
    file = io.BytesIO()
    heads = [{"frame": frame} for frame in faces.frame.tolist()]
    JSONDocument(file, {}).append(face_lines(heads, fits, faces))
    return file.getvalue()


Writer = Callable[[FaceTable, FitResult], bytes]
WRITERS: dict[str, Writer] = {"CSV": _csv, "CSV, OpenFace's digits": _rounded_csv, "JSON": _json}


def _milliseconds(write: Writer, count: int, repeats: int) -> float:
    """The least of several runs, of the processor's time for a row."""
    faces, fits = made_up(count)
    write(replace(faces), fits)
    times = []
    for _ in range(repeats):
        start = time.process_time()
        write(faces, fits)
        times.append(time.process_time() - start)
    return 1e3 * min(times) / count
