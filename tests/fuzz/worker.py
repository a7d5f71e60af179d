"""A process that uses damaged files one after the other, and says on its standard output what came of each."""

from __future__ import annotations

import faulthandler
import json
import os
import resource
import sys
import tempfile
import warnings
from dataclasses import asdict
from pathlib import Path
from typing import TextIO

import torch

from tests.fuzz.cases import FACTOR, SECONDS, Bench, limit_cpu
from tests.fuzz.formats import format_at

# Seconds by the clock after which a process that waits for something is given up
PATIENCE = 60
# Bytes of address space above those of a process that has done nothing yet: the last line of defence
SPACE = FACTOR << 30


def main(address: str, seed: str, start: str, step: str) -> None:
    """Runs the cases start, start + step, ... until the process is ended."""
    with os.fdopen(os.dup(1), "w") as report, tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        # What libraries print is no report
        os.dup2(2, 1)
        warnings.simplefilter("ignore")
        torch.set_num_threads(1)
        bench = Bench(format_at(address), Path(folder))
        _warm_up(bench)
        _limit_space()
        number = int(start)
        while True:
            _run(bench, int(seed), number, report)
            number += int(step)


def _warm_up(bench: Bench) -> None:
    """Uses the intact files, so that what is loaded once is not counted."""
    for path, content in bench.files:
        outcome = bench.run(path, content)
        if outcome.verdict != "accepted":
            raise SystemExit(f"the intact {path.name} is not accepted: {outcome.message}")


def _run(bench: Bench, seed: int, number: int, report: TextIO) -> None:
    """One case, announced before it begins."""
    _say(report, number=number)
    path, content = bench.damaged(seed, number)
    limit_cpu(2 * SECONDS)
    faulthandler.dump_traceback_later(PATIENCE, exit=True)
    outcome = bench.run(path, content)
    faulthandler.cancel_dump_traceback_later()
    _say(report, **asdict(outcome))


def _limit_space() -> None:
    """No allocation goes far beyond what a case may take."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    space = pages * resource.getpagesize() + SPACE
    resource.setrlimit(resource.RLIMIT_AS, (space, space))


def _say(report: TextIO, **fields: object) -> None:
    report.write(json.dumps(fields) + "\n")
    report.flush()


if __name__ == "__main__":
    faulthandler.enable()
    main(*sys.argv[1:])
