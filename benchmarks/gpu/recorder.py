"""Measures row by row within a time budget; a row that fails is a row, and the files are whole after each."""

import gc
import time
import traceback
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from itertools import accumulate
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu.page import to_markdown
from benchmarks.gpu.records import FAILED, NO_MEMORY, OFF, OK, Report, Row, Skipped, to_json
from clnf_torch.files.writing import write_atomically

SHARES = {"right": 0.45, "fast": 0.45, "why": 0.1}  # of the time budget, in the order of the parts
NO_TIME = "time budget used up"
MEMORY_WORDS = ("out of memory", "alloc_failed", "can't allocate memory")


class Recorder:
    """Collects the rows of a run.

    Args:
        path: The two files to write, without their suffixes.
        about: Card, versions, settings.
        device: Where rows are measured.
        minutes: The time budget. A row that has begun is finished.
        say: Told what is done.
        parts: Which are measured, and share the budget.
    """

    def __init__(
        self,
        path: Path,
        about: Mapping[str, Any],
        device: torch.device,
        minutes: float,
        say: Callable[[str], None] = print,
        parts: Collection[str] = tuple(SHARES),
    ) -> None:
        self.report = Report(about=about)
        self._path, self._device, self._say = path, device, say
        self._begin = time.monotonic()
        chosen = {part: share for part, share in SHARES.items() if part in parts}
        ends = accumulate(60 * minutes * share / sum(chosen.values()) for share in chosen.values())
        self._ends = dict(zip(chosen, ends, strict=True))  # seconds after the beginning
        self._lost: str | None = None  # why the device answers no more
        self._write()

    def left(self, part: str) -> float:
        """Seconds that are left to a part."""
        return self._begin + self._ends[part] - time.monotonic()

    def measure(
        self, part: str, table: str, name: str, run: Callable[[], Mapping[str, Any]], needs: float = 0.0
    ) -> Row | None:
        """Measures a row, or skips it.

        Args:
            part: "right", "fast" or "why".
            table: The table of the row.
            name: The row's name in it.
            run: Measures; gives the row's values. "within" among them says whether they are within bounds.
            needs: Seconds that it will take, as far as that is known.

        Returns:
            The row; None where it was skipped.
        """
        if self._lost or self.left(part) <= needs:
            self.skip(part, table, name, self._lost or NO_TIME)
            return None
        self._say(f"{part}: {table}: {name} ...")
        # A row that takes the process or the machine with it is named in what is left
        self.report = replace(self.report, under_way=f"{part}: {table}: {name}")
        self._write()
        begin = time.monotonic()
        outcome, values = self._attempt(run)
        took = round(time.monotonic() - begin, 3)
        row = Row(part=part, table=table, name=name, outcome=outcome, values=values, seconds=took)
        self._say(f"    {outcome}, {row.seconds:.1f} s  {values.get('error', '')}")
        self.report = replace(self.report, rows=(*self.report.rows, row), under_way=None)
        self._write()
        return row

    def skip(self, part: str, table: str, name: str, reason: str) -> None:
        """Notes a row that is not tried."""
        self._say(f"{part}: {table}: {name}: skipped, {reason}")
        skipped = Skipped(part=part, table=table, name=name, reason=reason)
        self.report = replace(self.report, skipped=(*self.report.skipped, skipped))
        self._write()

    def finish(self) -> Report:
        """The report, complete."""
        self.report = replace(self.report, complete=True)
        self._write()
        return self.report

    def _attempt(self, run: Callable[[], Mapping[str, Any]]) -> tuple[str, Mapping[str, Any]]:
        """Outcome and values of a row; whatever goes wrong in it stays in it."""
        try:
            values = run()
            return (OK if values.get("within", True) else OFF), values
        except Exception as error:
            words = f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else ''}"
            place = traceback.extract_tb(error.__traceback__)[-1]
            values = {"error": f"{words[:300]} ({Path(place.filename).name}:{place.lineno})"}
            outcome = NO_MEMORY if is_out_of_memory(error) else FAILED
        gc.collect()  # the error held on to the row's tensors until here
        self._lost = _lost(self._device)
        return outcome, values

    def _write(self) -> None:
        """Both files."""
        for suffix, text in ((".json", to_json(self.report)), (".md", to_markdown(self.report))):
            with write_atomically(self._path.with_name(f"{self._path.name}{suffix}")) as file:
                file.write(text.encode())


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory was short; libraries of CUDA say so in other words than torch."""
    if isinstance(error, (MemoryError, torch.cuda.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(word in str(error).lower() for word in MEMORY_WORDS)


def _lost(device: torch.device) -> str | None:
    """Why a device does nothing any more after an error, or None: some errors of CUDA end its process's use of it."""
    if device.type != "cuda":
        return None
    try:
        torch.cuda.empty_cache()
        torch.zeros(1, device=device).add_(1).item()
        torch.cuda.synchronize(device)
    except RuntimeError as error:
        return f"the card answers no more since the last failed row: {str(error).splitlines()[0]}"
    return None
