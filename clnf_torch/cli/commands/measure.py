"""``clnf-torch measure``: distances and angles of the faces in tables."""

from pathlib import Path
from typing import Annotated

import typer

from clnf_torch.cli.commands.command import run_by

OUT_HELP = "Write the measures; a folder for several tables; - is stdout."
REST_HELP = "Frames in which the faces are at rest: excursions from there are measured too."


@run_by(
    "clnf_torch.cli.runs.measure",
    "clnf-torch measure interview.csv --out interview_measures.csv --rest 1:25",
    "clnf-torch measure tables/*.csv --out measures",
)
def measure(
    tables: Annotated[list[Path], typer.Argument(metavar="TABLE.csv", help="Tables from track, detect or OpenFace.")],
    out: Annotated[Path, typer.Option(metavar="FILE|DIR|-", help=OUT_HELP)],
    rest: Annotated[str | None, typer.Option(metavar="FIRST:LAST", help=REST_HELP)] = None,
) -> None:
    """Measure faces in millimetres and degrees: eyelids, brows, mouth, and how both sides differ."""
