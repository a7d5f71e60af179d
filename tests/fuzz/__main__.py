"""The command: ``python -m tests.fuzz --seconds 60 --formats bundle``; ``make fuzz SECONDS=60`` is short for it."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from tests.fuzz.campaign import ROOT, Campaign, run_formats
from tests.fuzz.formats import all_formats


def main() -> int:
    """Runs a campaign; the exit code is 1 if it found a fault."""
    known = all_formats()
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60, help="for all formats together")
    parser.add_argument("--count", type=int, help="files of each format, if they are done sooner")
    parser.add_argument(
        "--formats", nargs="+", choices=known, default=list(known), metavar="NAME", help=str(list(known))
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument(
        "--out", type=Path, default=ROOT / "build" / "fuzz", help="folder for the files that are faults"
    )
    options = parser.parse_args()
    campaign = Campaign(options.seed, options.processes, options.out)
    tallies = run_formats(campaign, [known[name] for name in options.formats], options.seconds, options.count)
    faults = sum(len(tally.faults) for tally in tallies.values())
    print(
        f"{sum(tally.count for tally in tallies.values())} files, {faults} faults" + f" in {options.out}" * (faults > 0)
    )
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
