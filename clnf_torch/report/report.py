"""A report about a batch: reads its tables and videos, and writes the page."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import clnf_torch
from clnf_torch.files.writing import write_atomically
from clnf_torch.report.frames import frames_each, needs_rows, shown_frames
from clnf_torch.report.page import Part, page_of, part_of
from clnf_torch.report.sources import Entry, find_tables, read_entries


def write_report(
    paths: Sequence[Path],
    output: Path,
    *,
    videos: Path | None = None,
    title: str | None = None,
    note: Callable[[str], None] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[Entry]:
    """Writes a report about tables of faces as one HTML page, which needs nothing else.

    Args:
        paths: Tables (CSV, Parquet, JSON), and folders of them.
        output: The page, replaced if it exists.
        videos: A folder with the videos by the names of the tables, or the images by their own; by default they are
            looked for where the tables or their manifest say, and drawn videos beside the tables.
        title: Of the page; by default the names of `paths`.
        note: Told in a line of each table that is read.
        progress: Called with the bytes of tables that are read so far, and the bytes in all.

    Returns:
        The tables, in order, without what they hold. Those that cannot be read have a `problem`, and are in the page
        too.
    """
    tables = list(find_tables(paths))
    parts, entries, each = list[Part](), list[Entry](), frames_each(len(tables))
    read = _ReadBytes(sum(table.stat().st_size for table in tables), progress)
    for number, entry in enumerate(read_entries(tables, paths, videos, read)):
        if needs_rows(entry):
            read.total += entry.path.stat().st_size
        frames, problem = shown_frames(entry, each, read)
        entry = replace(entry, problem=entry.problem or problem)
        parts.append(part_of(number, entry, frames))
        if note is not None:
            note(entry.problem or f"read: {entry.path}")
            if entry.log is not None and (left_out := entry.log.left_out()):
                note(f"{entry.path}: {left_out}")
        # Its numbers are on the page now
        entries.append(replace(entry, log=None))
    heading = title or f"Faces in {', '.join(path.resolve().name for path in paths)}"
    writer = f"Written by clnf-torch {clnf_torch.__version__} on {datetime.now():%Y-%m-%d %H:%M}"
    with write_atomically(output) as file:
        for part in page_of(heading, parts, writer):
            file.write(part.encode("utf-8", "replace"))
    return entries


class _ReadBytes:
    """Adds up what is read of tables.

    Args:
        total: Bytes in all, as far as is known.
        progress: See `write_report`.
    """

    def __init__(self, total: int, progress: Callable[[int, int], None] | None) -> None:
        self.done, self.total, self.progress = 0, total, progress

    def __call__(self, count: int) -> None:
        """So many bytes more are read."""
        self.done += count
        if self.progress is not None:
            self.progress(self.done, self.total)
