"""``clnf-torch report``: a page about a batch of tables."""

from pathlib import Path

import typer

from clnf_torch.cli.console import complain, failures_exit_with, notice, say
from clnf_torch.cli.output_check import Input, Output, check_outputs
from clnf_torch.cli.progress import bytes_bar
from clnf_torch.report import write_report
from clnf_torch.report.sources import find_tables

NAME = "report.html"


def report(*, tables: list[Path], out: Path | None, videos: Path | None, title: str | None) -> None:
    """Writes the page. The exit code is 1 where a table, or its video, cannot be read; they are on the page too."""
    for path in (*tables, *([] if videos is None else [videos])):
        if not path.exists():
            complain(f"{path}: there is no such file or folder")
            raise typer.Exit(2)
    if out is None:
        out = (tables[0] if tables[0].is_dir() else tables[0].parent) / NAME
    check_outputs([Input(path, lambda folder: find_tables([folder])) for path in tables], [Output("--output", out)])
    with failures_exit_with(2), bytes_bar("Reading") as read:
        entries = write_report(tables, out, videos=videos, title=title, note=notice, progress=read)
    if not entries:
        complain(f"{', '.join(map(str, tables))}: expected tables of faces, found none")
        raise typer.Exit(1)
    say(f"{out}: {len(entries)} table{'' if len(entries) == 1 else 's'}, {out.stat().st_size / 1e6:.1f} MB")
    if any(entry.problem for entry in entries):
        raise typer.Exit(1)
