"""Results of an evaluation: the table on the screen, JSON, a CSV of all faces, and cumulative error curves.

The one file that imports matplotlib, when it is needed.
"""

import csv
import importlib.util
import io
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import typer
from rich.box import SIMPLE_HEAD
from rich.table import Table
from torch import Tensor

from clnf_torch.cli.options import STDOUT
from clnf_torch.export.csv import text_cell
from clnf_torch.files.names import escaped_name, escaped_names, printable
from clnf_torch.files.writing import write_atomically
from clnf_torch.geometry.landmarks68 import ALL_POINTS, INNER_POINTS
from clnf_torch.training.data.annotations import Annotations
from clnf_torch.training.evaluation.annotated import FoundFaces
from clnf_torch.training.evaluation.metrics import (
    FAILED,
    FAR_OFF,
    Scores,
    cumulative_curve,
    face_errors,
    score,
)

# With and without the jaw
POINTS = {"68": ALL_POINTS, "51": INNER_POINTS}
ROWS = {
    "mean": "mean NME",
    "median": "median NME",
    "percentile_90": "90th percentile",
    "failure_rate_008": "failure rate 0.08",
    "failure_rate_010": "failure rate 0.10",
    "auc_008": "AUC 0.08",
}
RATES = ("failure_rate_008", "failure_rate_010")
# Failures that are listed on the screen
WORST = 10


@dataclass(frozen=True, kw_only=True)
class Run:
    """One pass over the faces."""

    name: str  # "unmarked" or "marked"
    found: FoundFaces
    errors: dict[str, Tensor]  # (F,) by the keys of POINTS
    scores: dict[str, Scores]

    @staticmethod
    def of(name: str, found: FoundFaces, truth: Tensor) -> "Run":
        """The errors of landmarks whose true positions are (F, 68, 2)."""
        errors = {key: face_errors(found.landmarks, truth, points) for key, points in POINTS.items()}
        return Run(name=name, found=found, errors=errors, scores={key: score(some) for key, some in errors.items()})


def score_table(runs: Sequence[Run]) -> Table:
    """The scores side by side; of two runs their ratio too."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("", no_wrap=True)
    for key in POINTS:
        for run in runs:
            table.add_column(f"{key} points" if run is runs[0] else run.name, justify="right")
        if len(runs) > 1:
            table.add_column("ratio", justify="right")
    for field, label in ROWS.items():
        table.add_row(label, *_cells(runs, field))
    return table


def _cells(runs: Sequence[Run], field: str) -> Iterator[str]:
    """The cells of a row."""
    for key in POINTS:
        values = [getattr(run.scores[key], field) for run in runs]
        yield from (f"{value:.1%}" if field in RATES else f"{value:.4f}" for value in values)
        if len(values) > 1:
            yield f"{values[1] / values[0]:.2f}" if values[0] else "-"


def group_table(runs: Sequence[Run], groups: Mapping[str, Tensor]) -> Table:
    """Mean and median error (68 points) of each group of faces, by the masks (F,) of `face_groups`."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    # Where a terminal is narrow, names take two lines, and numbers stay whole
    table.add_column("68 points")
    table.add_column("faces", justify="right", no_wrap=True, min_width=5)
    for run in runs:
        for what in ("mean", "median"):
            table.add_column(what if run is runs[0] else f"{run.name} {what}", justify="right", min_width=6)
    for name, rows in groups.items():
        scores = [score(run.errors["68"][rows]) for run in runs]
        table.add_row(name, str(int(rows.sum())), *(f"{n:.4f}" for each in scores for n in (each.mean, each.median)))
    return table


def failures(run: Run, faces: Annotations) -> Iterator[str]:
    """Lines on the faces whose fit failed, the worst first."""
    errors = run.errors["68"]
    worst = [row for row in errors.argsort(descending=True).tolist() if errors[row] > FAR_OFF]
    if not worst:
        return
    yield f"{run.name}: {len(worst)} of {len(faces)} faces failed at {FAR_OFF:.2f}, the worst first"
    for row in worst[:WORST]:
        yield f"  {'not found' if errors[row].isinf() else f'{errors[row]:9.4f}'}  {faces.images[row]}"
    if len(worst) > WORST:
        yield f"  and {len(worst) - WORST} more; --errors FILE.csv lists every face"


def write_scores(
    path: Path, runs: Sequence[Run], head: Mapping[str, Any], groups: Mapping[str, Tensor] | None = None
) -> None:
    """Writes all scores as JSON, or prints them if the path is "-"; those that are not finite are null.

    Args:
        path: Where to.
        runs: The runs.
        head: What else to say.
        groups: Faces (F,) whose scores (68 points) are given apart, by name.
    """
    numbers: dict[str, Any] = {run.name: {key: _plain(scores) for key, scores in run.scores.items()} for run in runs}
    if groups:
        for run in runs:
            numbers[run.name]["groups"] = {name: _plain(score(run.errors["68"][rows])) for name, rows in groups.items()}
    text = json.dumps({**escaped_names(head), "runs": numbers}, indent=1, allow_nan=False)
    if path == STDOUT:
        typer.echo(text)
        return
    with write_atomically(path) as file:
        file.write(text.encode("ascii") + b"\n")


def _plain(scores: Scores) -> dict[str, float | int | None]:
    """Scores by name."""
    return {name: value if math.isfinite(value) else None for name, value in asdict(scores).items()}


def error_lines(runs: Sequence[Run], faces: Annotations, rows: range) -> bytes:
    """A line for each of some faces: its image and, for each run, errors and success; "inf" where it was not found.

    Args:
        runs: Of these faces alone.
        faces: All faces.
        rows: Which of them; the header stands before the first one.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    names = [f"{run.name}_{what}" for run in runs for what in (*(f"error_{key}" for key in POINTS), "success")]
    if not rows.start:
        writer.writerow(["image", "split", *names])
    images, splits = faces.images[rows.start : rows.stop], faces.split[rows.start : rows.stop]
    for row, (image, split) in enumerate(zip(images, splits, strict=True)):
        values = [
            value
            for run in runs
            for value in (*(f"{errors[row]:.6f}" for errors in run.errors.values()), int(run.found.success[row]))
        ]
        writer.writerow([text_cell(escaped_name(str(image))), text_cell(escaped_name(split)), *values])
    return text.getvalue().encode("utf-8")


KINDS = (".png", ".svg", ".pdf")
# The largest error of a drawn curve
UPTO = 0.15


def check_plots(option: str, path: Path) -> None:
    """Refuses to draw curves where that would fail in the end.

    Raises:
        typer.BadParameter: matplotlib is not installed, or the file is of no kind that it writes here.
    """
    if importlib.util.find_spec("matplotlib") is None:
        raise typer.BadParameter(f"{option} needs matplotlib: pip install 'clnf-torch[training]'")
    if path.suffix.lower() not in KINDS:
        raise typer.BadParameter(f"{option} {path}: give a name that ends with {', '.join(KINDS)}")


def draw_curves(path: Path, curves: Mapping[str, Tensor], title: str) -> None:
    """Draws cumulative error curves: the share of the faces below every error.

    Args:
        path: The file to write; its suffix is one of `KINDS`.
        curves: Errors (B,) by what the curve is called.
        title: Above the curves.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.2), layout="constrained")
    axes = figure.add_subplot()
    for name, errors in curves.items():
        axes.plot(*cumulative_curve(errors, UPTO), label=name)
    axes.axvline(FAILED, color="0.7", linewidth=0.8, linestyle=":")
    # Names of files are no formulas
    axes.set_title(printable(title), parse_math=False)
    axes.set(xlim=(0, UPTO), ylim=(0, 1))
    axes.set(xlabel="NME by the distance of the outer eye corners", ylabel="share of the faces")
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")
    image = io.BytesIO()
    figure.savefig(image, format=path.suffix[1:].lower(), dpi=150)
    with write_atomically(path) as file:
        file.write(image.getvalue())
