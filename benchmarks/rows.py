"""What a face costs the processor beside its fit: a row of each kind of file, a step of the tracker, its detection."""

import io
import time
from collections.abc import Callable
from typing import Any

import torch
from rich.table import Table

import clnf_torch
from benchmarks.material import BOX, photograph, picture
from benchmarks.tables import table
from clnf_torch.export.csv import CSVForm, CSVRows
from clnf_torch.export.face_table import FaceTable
from clnf_torch.export.json import JSONDocument, face_lines
from clnf_torch.models.bundle import default_bundle
from clnf_torch.models.pdm import ShapeParams
from clnf_torch.pipeline.result import FitResult

# Faces that are written together: a single one, and the frames of a second
ROWS = (1, 30)
LANDMARKS, MODES, EYES = 68, 34, 56
Writer = Callable[[FaceTable, FitResult], None]


class Memory(io.BytesIO):
    """A growing file that stays in memory."""

    position = 0


def report(repeats: int) -> list[Table]:
    """The tables of milliseconds of the processor."""
    rows = [
        (name, *(f"{_milliseconds(begin(), count, repeats):.2f}" for count in ROWS)) for name, begin in WRITERS.items()
    ]
    texts = table("Text of files, ms per row", ("file", *(f"{count} together" for count in ROWS)), rows)
    with torch.inference_mode():
        frame = picture()
        face_detector = clnf_torch.load_face_detector(default_bundle())
        found = _least(lambda: face_detector.detect(frame), repeats)
        others = [("a step of the tracker, one face, without its fit", f"{_tracker_step(repeats):.2f}")]
    others.append(("MTCNN of the default model, 1280 x 720", f"{found:.0f}"))
    return [texts, table("Around a fit, ms", ("what", "ms"), others)]


def _tracker_step(repeats: int) -> float:
    """Milliseconds of steps with one face, less those of its fits."""
    detector, spent = clnf_torch.load(default_bundle()), [0.0]
    fit = detector.fit_from_params

    def timed(*args: Any, **kwargs: Any) -> FitResult:
        start = time.process_time()
        result = fit(*args, **kwargs)
        spent[0] += time.process_time() - start
        return result

    detector.fit_from_params = timed  # type: ignore[method-assign]
    tracker, frame = clnf_torch.VideoTracker(detector), photograph()
    state = tracker.place(tracker.begin(), torch.tensor([BOX]))
    times = []
    for _ in range(repeats + 2):
        spent[0], start = 0.0, time.process_time()
        state, _ = tracker.step(state, frame)
        times.append(time.process_time() - start - spent[0])
    return 1e3 * min(times[2:])


def _least(run: Callable[[], object], repeats: int) -> float:
    """The least of several runs, milliseconds of the processor."""
    times = []
    for _ in range(repeats + 1):
        start = time.process_time()
        run()
        times.append(time.process_time() - start)
    return 1e3 * min(times)


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


def _csv(form: CSVForm) -> Writer:
    """Writes rows to a CSV file that has its header."""
    file = Memory()
    rows = CSVRows(file, form=form)  # type: ignore[arg-type]
    rows.append(made_up(1)[0])

    def write(faces: FaceTable, fits: FitResult) -> None:
        file.seek(0)
        rows.append(faces)

    return write


def _json() -> Writer:
    """Writes rows to a JSON document that has begun."""
    file = io.BytesIO()
    document = JSONDocument(file, {})

    def write(faces: FaceTable, fits: FitResult) -> None:
        file.seek(0)
        heads = [{"frame": frame} for frame in faces.frame.tolist()]
        document.append(face_lines(heads, fits, faces))

    return write


WRITERS: dict[str, Callable[[], Writer]] = {
    "CSV": lambda: _csv(CSVForm()),
    "CSV, OpenFace's digits": lambda: _csv(CSVForm(openface_precision=True)),
    "JSON": _json,
}


def _milliseconds(write: Writer, count: int, repeats: int) -> float:
    """The least of several runs, of the processor's time for a row."""
    faces, fits = made_up(count)
    return _least(lambda: write(faces, fits), repeats) / count
