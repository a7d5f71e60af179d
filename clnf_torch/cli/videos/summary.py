"""The numbers of many videos: a closing table on the screen, and ``summary.csv`` beside their files."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from clnf_torch.cli.console import complain
from clnf_torch.cli.manifest import Manifest
from clnf_torch.export.csv import text_cell
from clnf_torch.files.locks import locked_folder
from clnf_torch.files.names import escaped_name, printable
from clnf_torch.files.writing import shared_partial_of, write_atomically

COLUMNS = (
    "input", "frames", "frames_with_face", "longest_gap", "mean_confidence", "frames_per_second", "problem", "outputs",
)  # fmt: skip
HEAD = ("video", "frames", "with a face", "longest gap", "confidence", "frames/s", "outputs")
# Characters of a line where it goes to no terminal
FILE_WIDTH = 160


class VideoSummary:
    """Takes the entries of a manifest.

    Args:
        path: Of the table; None: there is a single video, which the line about it describes.
        manifest: Of the folder, with the videos of earlier runs.
        inputs: The videos of this run, in the order of the rows; those of earlier ones follow.
    """

    def __init__(self, path: Path | None, manifest: Path | None, inputs: Sequence[Path]) -> None:
        self.path, self._manifest, self._rows = path, manifest, list[dict[str, Any]]()
        self._order = {escaped_name(str(given.resolve())): place for place, given in enumerate(inputs)}

    def add(self, entry: Mapping[str, Any]) -> None:
        """Takes a finished video."""
        self._rows.append(_row(entry))

    def finish(self) -> None:
        """Writes the table of all videos whose outputs are there, and prints that of this run."""
        if self.path is None or not self._rows:
            return
        with locked_folder(self.path.parent) as locked:
            # Others may have finished some since. Repairs have no rate
            rows = [_row(entry) for entry in Manifest(self._manifest).complete() if "seconds" in entry]
            with write_atomically(self.path, shared_partial_of(self.path, locked)) as file:
                file.write(_text(self._sorted(rows)).encode("utf-8"))
        show_table(str(self.path), HEAD, list(map(_cells, self._sorted(self._rows))))

    def _sorted(self, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return sorted(rows, key=lambda row: self._order.get(row["input"], len(self._order)))


def require_summary(path: Path | None) -> None:
    """Refuses a place for a summary that another file has.

    Raises:
        typer.Exit: With code 2, after a line on stderr.
    """
    if path is None or not path.is_file() or is_summary(path):
        return
    complain(f"{path}: expected a summary of clnf-torch, found another file; move it, or write elsewhere")
    raise typer.Exit(2)


def is_summary(path: Path) -> bool:
    """Whether a file is a summary, from this program or an older one."""
    try:
        with path.open("rb") as file:
            return file.read(13) == b"input,frames,"
    except OSError:
        return False


def _row(entry: Mapping[str, Any]) -> dict[str, Any]:
    """What is written of a finished video."""
    rate = entry["frames"] / entry["seconds"] if entry["seconds"] else None
    row = {**{name: entry.get(name) for name in COLUMNS}, "frames_per_second": rate and round(rate, 1)}
    return {**row, "outputs": [Path(path).name for path in entry["outputs"].values()]}


def _text(rows: Sequence[Mapping[str, Any]]) -> str:
    """The table as CSV."""
    lines = csv.writer(text := io.StringIO(), lineterminator="\n")
    lines.writerow(COLUMNS)
    for row in rows:
        cells = {**row, "outputs": "; ".join(row["outputs"])}.values()
        lines.writerow([text_cell(cell) if isinstance(cell, str) else cell for cell in cells])
    return text.getvalue()


def _cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    """A row as it is shown."""
    share = row["frames_with_face"] / row["frames"] if row["frames"] else 0.0
    cells = Path(row["input"]).name, str(row["frames"]), f"{share:.1%}", formatted(row["longest_gap"], "{} frames")
    measured = formatted(row["mean_confidence"], "{:.2f}"), formatted(row["frames_per_second"], "{:.1f}")
    return *cells, *measured, ", ".join(row["outputs"])


def show_table(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Prints a table.

    Args:
        title: Above it.
        head: Names of the columns; the first and the last one hold words, the others numbers.
        rows: Their cells.
    """
    table = Table(box=SIMPLE_HEAD, title=escape(printable(title)), title_justify="left")
    for name in head:
        table.add_column(name, justify="left" if name in {head[0], head[-1]} else "right", overflow="fold")
    for row in rows:
        # What cannot be shown has no width either, by which columns are aligned
        table.add_row(*(escape(printable(cell)) for cell in row))
    screen = Console(highlight=False)
    Console(highlight=False, width=None if screen.is_terminal else FILE_WIDTH).print(table)


def formatted(value: float | None, form: str) -> str:
    """A number as it is shown; what is not known is a dash."""
    return "-" if value is None else form.format(value)
