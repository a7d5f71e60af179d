"""``clnf-torch measure``: distances and angles of the faces in tables."""

import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import typer
from torch import Tensor

from clnf_torch.cli.commands.measure import Smoother
from clnf_torch.cli.console import Complaints, failures_exit_with, notice
from clnf_torch.cli.options import STDOUT
from clnf_torch.cli.output_check import Input, Output, check_outputs
from clnf_torch.cli.progress import counting_bar
from clnf_torch.cli.streams import require_stdout
from clnf_torch.cli.tables.measures import MeasureTable, PointTable, measure_table
from clnf_torch.cli.tables.smoothing import one_euro, savitzky_golay
from clnf_torch.cli.videos.outputs import SUMMARY
from clnf_torch.files.table_text import TableError
from clnf_torch.files.writing import write_atomically

SUFFIX = "_measures.csv"


def measure(
    *,
    tables: list[Path],
    out: Path,
    rest: str | None,
    smooth: Smoother | None,
    window: int,
) -> None:
    """Writes the measures of each table; one that cannot be used is a line on stderr, and the others are done.

    Args:
        tables: CSV files, or folders of them.
        out: A file for one table; a folder, for files NAME_measures.csv, or "-".
        rest: Frames at rest, "FIRST:LAST".
        smooth: How the points are smoothed first.
        window: Frames that they are smoothed over.
    """
    frames = frames_named(rest)
    if window % 2 == 0:
        raise typer.BadParameter(f"--window {window}: give an odd number of frames")
    smoothers: dict[Smoother, Callable[[PointTable], Tensor]] = {
        Smoother.savgol: partial(savitzky_golay, window=window),
        Smoother.one_euro: one_euro,
    }
    smoother = None if smooth is None else smoothers[smooth]
    if out == STDOUT:
        require_stdout("give --out a file")
    tables = list(_tables(tables))
    places = list(_places(tables, out))
    folders = [Output("--out", out, folder=True)] if out not in places else []
    check_outputs([*map(Input, tables)], [*folders, *(Output("--out", place) for place in places if place != STDOUT)])
    complaints = Complaints()
    with failures_exit_with(1):
        if folders:
            out.mkdir(parents=True, exist_ok=True)
        for table, place in zip(tables, places, strict=True):
            try:
                with counting_bar(None, "rows", lambda: None) as read:
                    measured = measure_table(table, frames, smoother, read)
            except TableError as error:
                complaints(str(error))
                continue
            except OSError as error:
                complaints(f"{table}: {error.strerror or error}")
                continue
            _write(measured, place)
            for line in _described(measured):
                notice(f"{table if place == STDOUT else place}: {line}")
    if complaints.any:
        raise typer.Exit(1)


def frames_named(text: str | None) -> tuple[int, int] | None:
    """First and last frame of "FIRST:LAST"; refuses anything else."""
    if text is None:
        return None
    if not (found := re.fullmatch(r"(\d+):(\d+)", text)) or int(found[1]) > int(found[2]):
        raise typer.BadParameter(f"--rest {text!r}: give the first and the last frame at rest, such as 1:25")
    return int(found[1]), int(found[2])


def _tables(paths: list[Path]) -> Iterator[Path]:
    """The tables, those of a folder by name; what the program says there about all of them, and measures, are none."""
    for path in paths:
        found = sorted(filter(_is_table, path.glob("*.csv"))) if path.is_dir() else [path]
        if not found:
            raise typer.BadParameter(f"{path}: expected a folder with tables, found no .csv in it")
        yield from found


def _is_table(path: Path) -> bool:
    """Whether a CSV file of a folder may be a table of faces by its name."""
    return path.name != SUMMARY and not path.name.endswith(SUFFIX)


def _places(tables: list[Path], out: Path) -> Iterator[Path]:
    """Where the measures of each table go."""
    if out == STDOUT and len(tables) > 1:
        raise typer.BadParameter(f"--out -: {len(tables)} tables do not fit into one; give a folder")
    one_file = out == STDOUT or (len(tables) == 1 and out.suffix and not out.is_dir())
    return (out if one_file else out / f"{table.stem}{SUFFIX}" for table in tables)


def _write(measured: MeasureTable, place: Path) -> None:
    """Writes a table."""
    if place == STDOUT:
        # In UTF-8 as in a file, whatever the terminal has
        for text in measured.texts():
            typer.echo(text.encode("utf-8"), nl=False)
        return
    with write_atomically(place) as file:
        for text in measured.texts():
            file.write(text.encode("utf-8"))


def _described(measured: MeasureTable) -> Iterator[str]:
    """What is in a table, and which of its rows count."""
    known = int(measured.measures.mouth_width.isfinite().sum())
    rejected = f"; {measured.rejected} with success 0 are not measured" if measured.rejected else ""
    yield f"{len(measured.cells)} rows, {known} with a face{rejected}"
    yield from measured.notes
    if measured.rejected is None and measured.cells:
        yield "no column success says which fits were rejected: all are measured; compare their confidence"
