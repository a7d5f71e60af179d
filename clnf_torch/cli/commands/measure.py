"""``clnf-torch measure``: distances and angles of the faces in tables."""

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from clnf_torch.cli.commands.command import run_by

OUT_HELP = "Write the measures; a folder for several tables; - is stdout."
SMOOTH_HELP = "Smooth the points over time: Savitzky-Golay, which needs SciPy, or one-euro, from earlier frames alone."
WINDOW_HELP = "With --smooth savgol: frames that a parabola is fitted to, an odd number."
# 0.2 to 0.5 seconds: shorter than a smile, not much longer than a blink
WINDOW = 7
REST_HELP = "Frames in which the faces are at rest: excursions from there are measured too."


class Smoother(str, Enum):
    """How a table is smoothed."""

    savgol = "savgol"
    one_euro = "one-euro"


@run_by(
    "clnf_torch.cli.runs.measure",
    "clnf-torch measure interview.csv --out interview_measures.csv --rest 1:25",
    "clnf-torch measure processed --out measures",
)
def measure(
    tables: Annotated[
        list[Path],
        typer.Argument(metavar="TABLE.csv|DIR", help="Tables from track, detect or OpenFace, or folders of them."),
    ],
    out: Annotated[Path, typer.Option(metavar="FILE|DIR|-", help=OUT_HELP)],
    rest: Annotated[str | None, typer.Option(metavar="FIRST:LAST", help=REST_HELP)] = None,
    smooth: Annotated[Smoother | None, typer.Option(help=SMOOTH_HELP)] = None,
    window: Annotated[int, typer.Option(min=3, metavar="FRAMES", help=WINDOW_HELP)] = WINDOW,
) -> None:
    """Measure faces in millimetres and degrees: eyelids, brows, mouth, and how both sides differ."""
