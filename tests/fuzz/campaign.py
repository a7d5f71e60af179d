"""A campaign: processes that use damaged files, the counts of what came of them, and the files that are faults."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.fuzz.cases import Bench
from tests.fuzz.formats import Format

ROOT = Path(__file__).resolve().parents[2]
# Characters of what a process said before it died
LAST_WORDS = 3000


@dataclass
class Tally:
    """What came of a format's damaged files so far."""

    verdicts: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0  # of CPU time, the most for one file
    megabytes: float = 0.0  # likewise
    message: int = 0  # characters of the longest refusal
    faults: dict[int, str] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """Files used."""
        return sum(self.verdicts.values())

    def add(self, number: int, outcome: dict[str, Any]) -> None:
        """Counts one more."""
        self.verdicts[outcome["verdict"]] += 1
        self.seconds = max(self.seconds, outcome.get("seconds", 0))
        self.megabytes = max(self.megabytes, outcome.get("megabytes", 0))
        if outcome["verdict"] == "refused":
            self.message = max(self.message, len(outcome["message"]))
        if outcome["verdict"] == "fault":
            self.faults[number] = outcome["message"]

    def row(self, name: str) -> str:
        """A line of the table."""
        counts = " ".join(f"{self.verdicts[verdict]:>9}" for verdict in ("refused", "accepted", "fault"))
        return f"{name:<22} {self.count:>9} {counts} {self.message:>8} {self.seconds:>7.2f} {self.megabytes:>7.0f}"


HEADER = (
    f"{'format':<22} {'files':>9} {'refused':>9} {'accepted':>9} {'faults':>9} {'message':>8} {'CPU s':>7} {'MB':>7}"
)


class Campaign:
    """Runs one format after the other in processes of their own.

    Args:
        seed: Of the random numbers; the same files for the same seed, however many processes there are.
        processes: How many at once.
        out: A folder for the files that are faults.
    """

    def __init__(self, seed: int, processes: int, out: Path) -> None:
        self.seed, self.processes, self.out = seed, processes, out

    def run(self, chosen: Format, seconds: float, count: int | None) -> Tally:
        """The tally of a format after so many seconds, or so many files if that is sooner."""
        tally, ends = Tally(), time.monotonic() + seconds
        lock = threading.Lock()
        with ThreadPoolExecutor(self.processes) as pool:
            lanes = [pool.submit(self._serve, chosen, lane, ends, count, tally, lock) for lane in range(self.processes)]
            for lane in lanes:
                lane.result()
        self._keep(chosen, tally)
        return tally

    def _serve(
        self, chosen: Format, lane: int, ends: float, count: int | None, tally: Tally, lock: threading.Lock
    ) -> None:
        """Keeps one process running: a new one takes over behind a file that ended the one before."""
        number = lane
        last = float("inf") if count is None else count
        while time.monotonic() < ends and number < last:
            with tempfile.TemporaryFile() as stderr, self._start(chosen, number, stderr) as process:
                pending = self._listen(process, ends, last, tally, lock)
                process.kill()
                process.wait()
                if pending is None:
                    return
                if pending < 0:
                    raise RuntimeError(f"{chosen.name}: the process did not start: {_last_words(stderr)}")
                with lock:
                    message = f"the process died with {process.returncode}: {_last_words(stderr)}"
                    tally.add(pending, {"verdict": "fault", "message": message})
                number = pending + self.processes

    def _start(self, chosen: Format, number: int, stderr: Any) -> subprocess.Popen[str]:
        words = [chosen.address, self.seed, number, self.processes]
        command = [sys.executable, "-m", "tests.fuzz.worker", *map(str, words)]
        one_thread = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1"}
        return subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=stderr, text=True, cwd=ROOT, env=os.environ | one_thread
        )

    def _listen(
        self,
        process: subprocess.Popen[str],
        ends: float,
        last: float,
        tally: Tally,
        lock: threading.Lock,
    ) -> int | None:
        """Counts outcomes; the number of the file that ended the process, -1 before the first, None if time is up."""
        pending, pipe = -1, process.stdout
        assert pipe is not None
        for line in pipe:
            said = json.loads(line)
            if "number" in said:
                pending = said["number"]
                if pending >= last or time.monotonic() > ends:
                    return None
            else:
                with lock:
                    tally.add(pending, said)
        process.wait()
        return pending

    def _keep(self, chosen: Format, tally: Tally) -> None:
        """Writes the files that are faults, and what was said about each beside it."""
        if not tally.faults:
            return
        folder = self.out / chosen.name
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="fuzz-") as scratch:
            bench = Bench(chosen, Path(scratch))
            for number, message in sorted(tally.faults.items()):
                (folder / f"{self.seed}-{number}.message").write_text(message, encoding="utf-8", errors="replace")
                path, content = bench.damaged(self.seed, number)
                (folder / f"{self.seed}-{number}-{path.name}").write_bytes(content)


def _last_words(stderr: Any) -> str:
    """The end of what a process wrote to its standard error."""
    stderr.seek(0)
    return str(stderr.read().decode(errors="replace")[-LAST_WORDS:])


def run_formats(campaign: Campaign, formats: Sequence[Format], seconds: float, count: int | None) -> dict[str, Tally]:
    """The tallies of formats that share the time, printed as they come."""
    shares = sum(one.share for one in formats)
    tallies = {}
    print(HEADER, flush=True)
    for one in formats:
        tallies[one.name] = campaign.run(one, seconds * one.share / shares, count)
        print(tallies[one.name].row(one.name), flush=True)
    return tallies
