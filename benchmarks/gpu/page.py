"""A report as a Markdown page."""

from collections.abc import Iterable, Sequence
from typing import Any

from benchmarks.gpu.records import FAILED, NO_MEMORY, OFF, OK, Report, Row

HIDDEN = ("count", "within")  # the row's name and its outcome say the same
TITLES = {"right": "Is it right?", "fast": "How fast?", "why": "Why?"}
NOTES = {
    "right": (
        "Distances between what the CPU and what the card finds from the same inputs, pixels. The outcome is *off* "
        "beyond the bound beside it: float64's say that the program is right, float32's also depend on rounding."
    ),
    "fast": (
        "Medians of calls after a warm-up, images already on the device. *peak MiB* is what torch had allocated at "
        "most, *above MiB* what of it the call added. On the CPU the peak is the process's, since its start."
    ),
    "why": (
        "One call under torch's profiler. *call ms* is measured without it; *idle share* is the part of that in which "
        "no kernel ran."
    ),
}


def to_markdown(report: Report) -> str:
    """The page."""
    about = report.about
    lines = [f"# {about.get('device', 'device')}, {about.get('date', '')}", ""]
    lines += [f"- {key}: {value}" for key, value in about.items() if key not in ("device", "date")]
    lines += ["", _summary(report)]
    for part, title in TITLES.items():
        rows = [row for row in report.rows if row.part == part]
        if rows:
            lines += ["", f"## {title}", "", NOTES[part]]
        for table in dict.fromkeys(row.table for row in rows):
            lines += ["", f"### {table[:1].upper()}{table[1:]}", ""]
            lines += _table([row for row in rows if row.table == table])
    if report.skipped:
        lines += ["", "## Skipped", ""]
        lines += [f"- {one.part}: {one.table}: {one.name}: {one.reason}" for one in report.skipped]
    return "\n".join(lines) + "\n"


def _summary(report: Report) -> str:
    """A sentence or two."""
    count = {outcome: sum(row.outcome == outcome for row in report.rows) for outcome in (OK, OFF, FAILED, NO_MEMORY)}
    state = "The run is complete" if report.complete else "**The run was cut off, or is not over**"
    summary = (
        f"{state}: {count[OK]} rows are fine, {count[OFF]} beyond their bounds, {count[FAILED]} failed, "
        f"{count[NO_MEMORY]} ran out of memory; {len(report.skipped)} skipped."
    )
    if report.under_way:
        summary = f"{summary} Under way: {report.under_way}."
    wrong = "; ".join(f"{row.table}: {row.name}" for row in report.wrong)
    return f"{summary} Wrong: {wrong}." if wrong else summary


def _table(rows: Sequence[Row]) -> Iterable[str]:
    """Rows that have the same values, more or less, by their counts; lists of values follow below."""
    rows = sorted(rows, key=lambda row: row.values.get("count") or 0)
    keys = dict.fromkeys(key for row in rows for key in row.values if key not in HIDDEN)
    columns = [key for key in keys if not _is_list(rows, key)]
    yield "| " + " | ".join(["", *(column.replace("_", " ") for column in columns), "outcome"]) + " |"
    yield "| --- |" + " ---: |" * len(columns) + " --- |"
    for row in rows:
        cells = [row.name, *(_cell(row.values.get(column)) for column in columns), row.outcome]
        yield "| " + " | ".join(cell.replace("|", "/").replace("\n", " ") for cell in cells) + " |"
    for row in rows:
        for key, value in row.values.items():
            if isinstance(value, (list, tuple)) and value:
                yield ""
                yield f"{row.name}, {key.replace('_', ' ')}:"
                yield ""
                yield from (f"1. {_item(one)}" for one in value)


def _is_list(rows: Sequence[Row], key: str) -> bool:
    """Whether a value is a list in any row."""
    return any(isinstance(row.values.get(key), (list, tuple)) for row in rows)


def _item(value: Any) -> str:
    """One of a list."""
    if isinstance(value, dict):
        return ", ".join(f"{key.replace('_', ' ')} {_cell(one)}" for key, one in value.items())
    return _cell(value)


def _cell(value: Any) -> str:
    """A value in few characters."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) else str(value)
