"""The report as one HTML page that needs no network: styles, script, charts' numbers and frames are in it."""

import base64
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from html import escape
from importlib import resources
from typing import Any

import numpy as np

from clnf_torch.report.frames import BEST, EVEN, LONGEST_SIDE, MOST_FRAMES, MOST_IN_ALL, WORST, ShownFrame
from clnf_torch.report.records import FaceLog
from clnf_torch.report.signals import charts, thinned
from clnf_torch.report.sources import Entry
from clnf_torch.report.summary import Summary, axis_places, summarise

# Identities of one table that have charts, those with the most frames
MOST_FACES = 12
# Digits of the numbers of charts
DIGITS = 4
# Nothing is loaded, whatever a name may hold
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
COLUMNS = ("file", "frames", "with a face", "faces", "confidence", "longest gap", "length")
# Titles, and the order of frames
GROUPS: dict[str, tuple[str, Callable[[ShownFrame], float]]] = {
    WORST: ("Least sure", lambda frame: frame.score),
    BEST: ("Surest", lambda frame: -frame.score),
    EVEN: ("Along the recording", lambda frame: frame.number),
}


@dataclass(frozen=True)
class Part:
    """What a page has of one table: a row of its table of files, and a section."""

    row: str
    section: str


def part_of(number: int, entry: Entry, frames: Sequence[ShownFrame]) -> Part:
    """The part of a page about one table.

    Args:
        number: Of the table on the page.
        entry: The table.
        frames: The frames that are shown.
    """
    summary = None if entry.log is None else summarise(entry.log)
    link = f'<td data-value="{escape(entry.name)}"><a href="#file{number}">{escape(entry.name)}</a></td>'
    row = f"<tr>{link}{''.join(_cells(summary, entry.problem))}</tr>\n"
    return Part(row, "".join(_section(number, entry, summary, frames)))


def page_of(title: str, parts: Sequence[Part], writer: str) -> Iterator[str]:
    """The page, piece by piece.

    Args:
        title: Of the page.
        parts: Of the tables.
        writer: What wrote the page, and when.
    """
    files = resources.files("clnf_torch.report")
    style, script = (files.joinpath(name).read_text(encoding="utf-8") for name in ("report.css", "report.js"))
    yield f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{escape(title)}</title>\n'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
    yield f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
    yield f"<style>\n{style}</style>\n</head>\n<body>\n<header><h1>{escape(title)}</h1></header>\n<main>\n"
    if parts:
        heads = (f'<th scope="col"><button type="button">{name}</button></th>' for name in COLUMNS)
        yield f'<table id="files">\n<thead><tr>{"".join(heads)}</tr></thead>\n<tbody>\n'
        yield from (part.row for part in parts)
        yield "</tbody>\n</table>\n"
    else:
        yield '<p class="empty">No tables of faces were found.</p>\n'
    yield from (part.section for part in parts)
    yield f"</main>\n<footer>{escape(writer)}. {escape(_bounds())}</footer>\n"
    yield f"<script>\n{script}</script>\n</body>\n</html>\n"


def _bounds() -> str:
    return (
        f"Frames are samples: at most {MOST_FRAMES} of a file and {MOST_IN_ALL} in all, {LONGEST_SIDE} pixels long. "
        "Lines keep the lowest and the highest value of what one point of a chart stands for."
    )


def _cells(summary: Summary | None, problem: str | None) -> Iterator[str]:
    """The cells of a table behind its name."""
    if summary is None:
        yield f'<td class="problem" colspan="{len(COLUMNS) - 1}">{escape(problem or "")}</td>'
        return
    share = summary.found / summary.frames if summary.frames else None
    yield _cell(summary.frames, f"{summary.frames}")
    yield _cell(share, "" if share is None else f"{share:.1%}", bar=share)
    yield _cell(summary.faces, f"{summary.faces}")
    yield _cell(summary.confidence, "" if summary.confidence is None else f"{summary.confidence:.2f}")
    yield _cell(summary.longest_gap, f"{summary.longest_gap} frames" if summary.longest_gap else "none")
    yield _cell(summary.seconds, "" if summary.seconds is None else f"{summary.seconds:.1f} s")


def _cell(value: float | None, text: str, bar: float | None = None) -> str:
    """A cell that is sorted by a number."""
    style = "" if bar is None else f' class="share" style="--share:{bar:.3f}"'
    return f'<td data-value="{"" if value is None else value}"{style}>{text}</td>'


def _section(number: int, entry: Entry, summary: Summary | None, frames: Sequence[ShownFrame]) -> Iterator[str]:
    """All about one table."""
    opened = " open" if number == 0 else ""
    yield f'<details class="file" id="file{number}"{opened}>\n<summary>{escape(entry.name)}</summary>\n'
    yield f'<p class="path">{escape(str(entry.path))}</p>\n'
    if entry.problem:
        yield f'<p class="problem">{escape(entry.problem)}</p>\n'
    if entry.log is not None and summary is not None and len(entry.log):
        places = axis_places(entry.log, np.array([frame.number for frame in frames], dtype=np.int64))
        scores = _captions(entry.log, frames)
        if left_out := entry.log.left_out():
            yield f'<p class="hint">{escape(left_out)}</p>\n'
        yield '<div class="panes"><div class="charts"></div><div class="view"></div></div>\n'
        yield from _thumbnails(frames, places.tolist(), scores)
        if not frames and not entry.problem:
            yield '<p class="hint">Its video, or its images, were not found; give their folder with --videos.</p>\n'
        yield f'<script type="application/json">{_json(_numbers(entry.log, summary))}</script>\n'
    elif entry.log is not None:
        yield '<p class="empty">The table has no rows.</p>\n'
    yield "</details>\n"


def _captions(log: FaceLog, frames: Sequence[ShownFrame]) -> list[str]:
    """What is written under frames: their number or image, and the confidence of their faces."""
    found = [log.confidence[log.rows_of(frame.number)] for frame in frames]
    names = [f"frame {f.number}" if log.images is None else log.images[f.number - 1] for f in frames]
    said = [", ".join(f"{value:.2f}" for value in values) if len(values) else "no face" for values in found]
    return [f"{name}: {text}" for name, text in zip(names, said, strict=True)]


def _thumbnails(frames: Sequence[ShownFrame], places: Sequence[float], captions: Sequence[str]) -> Iterator[str]:
    """The frames in their groups; each is in the page once."""
    known = {frame.number: (place, text) for frame, place, text in zip(frames, places, captions, strict=True)}
    for kind, (title, order) in GROUPS.items():
        chosen = sorted((frame for frame in frames if frame.kind == kind), key=order)
        if not chosen:
            continue
        yield f'<h3>{title}</h3>\n<div class="strip {kind}">\n'
        for frame in chosen:
            place, caption = known[frame.number]
            source = base64.b64encode(frame.content).decode("ascii")
            size = f'width="{frame.width}" height="{frame.height}"'
            yield (
                f'<button type="button" class="frame" data-place="{_place(place)}" data-score="{frame.score:.3g}">'
                f'<img alt="{escape(caption)}" {size} src="data:image/jpeg;base64,{source}">'
                f"<span>{escape(caption)}</span></button>\n"
            )
        yield "</div>\n"


def _numbers(log: FaceLog, summary: Summary) -> dict[str, Any]:
    """What the script draws charts of."""
    faces, counts = np.unique(log.face[log.success], return_counts=True)
    kept = faces[np.argsort(-counts, kind="stable")][:MOST_FACES]
    everything = axis_places(log, np.unique(log.frame))
    finite = everything[np.isfinite(everything)]
    return {
        "unit": "s" if log.time is not None else "frame" if log.images is None else "image",
        "range": [float(finite.min()), float(finite.max())] if len(finite) else [0, 1],
        "gaps": [[_place(first), _place(last)] for first, last in summary.gaps],
        "left_out": len(faces) - len(kept),
        "faces": [{"face": int(face), "charts": _charts(log, log.of_face(int(face)))} for face in kept],
    }


def _charts(log: FaceLog, rows: np.ndarray) -> list[dict[str, Any]]:
    """The charts of one face, with a break in each line where frames are missing."""
    times = log.frame[rows].astype(float) if log.time is None else log.time[rows]
    breaks = np.flatnonzero(np.diff(log.frame[rows]) > log.step()) + 1
    places = np.insert(times, breaks, times[breaks - 1] if len(breaks) else [])
    return [
        {
            "title": chart.title,
            "unit": chart.unit,
            "bounds": chart.bounds,
            "lines": [_line(name, places, np.insert(values, breaks, np.nan)) for name, values in chart.lines.items()],
        }
        for chart in charts(log, rows)
    ]


def _line(name: str, places: np.ndarray, values: np.ndarray) -> dict[str, Any]:
    """One line: places on the axis of time, and values, null where it breaks."""
    kept, values = thinned(values)
    return {"name": name, "x": [_place(x) for x in places[kept]], "y": [_rounded(y) for y in values]}


def _rounded(value: float) -> float | None:
    """A number with few digits; None where it is not finite."""
    return float(f"{value:.{DIGITS}g}") if np.isfinite(value) else None


def _place(place: float) -> float | None:
    """A place on the axis of time to the millisecond, however long a recording is; None where it is not known."""
    return round(float(place), 3) if np.isfinite(place) else None


def _json(content: Any) -> str:
    """JSON inside a script element, which a text in it cannot end."""
    return json.dumps(content, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
