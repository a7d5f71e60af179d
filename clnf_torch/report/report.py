"""A report about a batch: reads its tables and videos, and writes the page."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import clnf_torch
from clnf_torch.files.writing import write_atomically
from clnf_torch.report.frames import frames_each, shown_frames
from clnf_torch.report.page import Part, page_of, part_of
from clnf_torch.report.sources import Entry, find_tables, read_entries


def write_report(
    paths: Sequence[Path],
    output: Path,
    *,
    videos: Path | None = None,
    title: str | None = None,
    note: Callable[[str], None] | None = None,
) -> list[Entry]:
    """Writes a report about tables of faces as one HTML page, which needs nothing else.

    Args:
        paths: Tables (CSV, Parquet, JSON), and folders of them.
        output: The page, replaced if it exists.
        videos: A folder with the videos by the names of the tables, or the images by their own; by default they are
            looked for where the tables or their manifest say, and drawn videos beside the tables.
        title: Of the page; by default the names of `paths`.
        note: Told in a line of each table that is read.

    Returns:
        The tables, in order, without what they hold. Those that cannot be read have a `problem`, and are in the page
        too.
    """
    parts, entries, each = list[Part](), list[Entry](), frames_each(len(list(find_tables(paths))))
    for number, entry in enumerate(read_entries(paths, videos)):
        frames, problem = shown_frames(entry, each)
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
