"""What is written down: rows, what was skipped, and the report they make, as JSON."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

FORMAT = 1
OK, OFF, NO_MEMORY, FAILED = "ok", "off", "out of memory", "failed"
"""Outcomes of a row: measured; measured and beyond its bounds; not measured for want of memory; not measured."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One measurement."""

    part: str  # "right", "fast" or "why"
    table: str  # rows of one table have the same values
    name: str
    outcome: str  # see above
    values: Mapping[str, Any]  # numbers, words, lists of them; "error" of rows that were not measured
    seconds: float  # that it took, preparations included


@dataclass(frozen=True, kw_only=True)
class Skipped:
    """A row that was not tried."""

    part: str
    table: str
    name: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Report:
    """A whole run, or as much of it as there is so far."""

    about: Mapping[str, Any]  # card, versions, settings
    rows: tuple[Row, ...] = ()
    skipped: tuple[Skipped, ...] = ()
    complete: bool = False
    under_way: str | None = None  # the row that has begun and not ended

    @property
    def wrong(self) -> tuple[Row, ...]:
        """Rows that are beyond their bounds, or failed."""
        return tuple(row for row in self.rows if row.outcome in (OFF, FAILED))


def to_json(report: Report) -> str:
    """The report as JSON; numbers that are not finite are null."""
    return json.dumps({"format": FORMAT, **_plain(asdict(report))}, indent=1, allow_nan=False) + "\n"


def _plain(value: Any) -> Any:
    """Values that JSON knows."""
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
