"""One face on a shared machine: how long a fit takes beside other processes, for both ways in which OpenMP waits."""

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from rich.table import Table

import clnf_torch
from benchmarks.material import boxes, clnf_bundle, photograph, real_size_bundle
from benchmarks.tables import table

MODELS = {"default": lambda: None, "CE-CLM": real_size_bundle, "CLNF": clnf_bundle}
POLICIES = ("passive", "active")
# Competing processes
BUSY = (0, 1, 2)
SPIN = "while True: pass"
# Fits before the measured ones: loops are read from disk, and weights into memory
WARM = 3


def report(repeats: int) -> list[Table]:
    """The tables of this benchmark: one for each number of threads up to that of torch."""
    return [_of_threads(threads, repeats) for threads in sorted({1, torch.get_num_threads()})]


def _of_threads(threads: int, repeats: int) -> Table:
    """Every model beside so many processes that never wait, in processes of its own, one policy after the other."""
    rows = []
    for name in MODELS:
        for count in BUSY:
            with _competing(count):
                found = [_measured(name, threads, policy, repeats) for policy in POLICIES]
            cells = (f"{median:.0f} ({longest:.0f})" for median, longest in found)
            rows.append((name, str(count), *cells))
    title = f"One face, {threads} threads, median ms (longest)"
    return table(title, ("model", "busy processes", *POLICIES), rows)


@contextmanager
def _competing(count: int) -> Iterator[None]:
    """So many processes that use a core each for as long as the context lasts."""
    others = [subprocess.Popen([sys.executable, "-c", SPIN]) for _ in range(count)]
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()


def _measured(model: str, threads: int, policy: str, repeats: int) -> tuple[float, float]:
    """Median and longest milliseconds of a fit in a process that waits so."""
    command = [sys.executable, "-m", "benchmarks.shared", model, str(threads), str(repeats)]
    environment = {**os.environ, "OMP_WAIT_POLICY": policy}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    times = json.loads(done.stdout.splitlines()[-1])
    return statistics.median(times), max(times)


def _times(model: str, threads: int, repeats: int) -> list[float]:
    """Milliseconds of the fits of one face."""
    torch.set_num_threads(threads)
    detector, frames, times = clnf_torch.load(MODELS[model]()), photograph(), []
    with torch.inference_mode():
        for _ in range(WARM + repeats):
            begin = time.perf_counter()
            detector.fit(frames, boxes(1))
            times.append(1e3 * (time.perf_counter() - begin))
    return times[WARM:]


if __name__ == "__main__":
    print(json.dumps(_times(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))))
