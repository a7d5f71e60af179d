"""``clnf-torch report``: a page about a batch of tables."""

from pathlib import Path
from typing import Annotated

import typer

from clnf_torch.cli.commands.command import run_by


@run_by(
    "clnf_torch.cli.runs.report",
    "clnf-torch report processed",
    "clnf-torch report interview.csv -o interview.html --videos recordings",
)
def report(
    tables: Annotated[
        list[Path], typer.Argument(metavar="TABLE|DIR...", help="Tables of detect or track, and folders of them.")
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="FILE.html", show_default="report.html beside the tables", help="The page."
        ),
    ] = None,
    videos: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Videos by the tables' names, or images, that are not where they were."),
    ] = None,
    title: Annotated[str | None, typer.Option(metavar="TEXT", help="The page's title.")] = None,
) -> None:
    """Show a batch of tables as one HTML page: timelines, and the best and the worst frames. It needs no network."""
