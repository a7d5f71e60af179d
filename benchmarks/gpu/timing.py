"""How long a call takes on a device, and how much memory it takes there."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from benchmarks.peak import peak

MIB = 2**20


@dataclass(frozen=True, kw_only=True)
class Timing:
    """Of several calls, after others that are not counted."""

    ms: float  # median
    mean_ms: float
    least_ms: float
    repeats: int
    peak_mib: float  # of the device's memory at most; on the CPU of the process, since it began
    above_mib: float | None  # of that, what was not there before the calls; on the CPU not known


def time_call(run: Callable[[], object], device: torch.device, repeats: int, warm_up: int = 1) -> Timing:
    """Times a call: by CUDA's events on a card, by the clock on the CPU.

    Args:
        run: The call; what it returns is dropped at once.
        device: Where its work is done.
        repeats: Calls that count.
        warm_up: Calls before them, which also choose and load kernels.
    """
    for _ in range(warm_up):
        run()
    before = _reset_peak(device)
    one = _time_on_card if device.type == "cuda" else _time_by_clock
    times = [one(run) for _ in range(repeats)]
    most = _peak(device)
    return Timing(
        ms=statistics.median(times),
        mean_ms=statistics.fmean(times),
        least_ms=min(times),
        repeats=repeats,
        peak_mib=most,
        above_mib=None if before is None else most - before,
    )


def wait(device: torch.device) -> None:
    """Until a device has finished."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _time_on_card(run: Callable[[], object]) -> float:
    """Milliseconds between two events on the current stream, the gaps in which the host is busy included."""
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize()
    start.record()
    run()
    end.record()
    end.synchronize()
    return start.elapsed_time(end)


def _time_by_clock(run: Callable[[], object]) -> float:
    """Milliseconds by the clock."""
    begin = time.perf_counter()
    run()
    return 1e3 * (time.perf_counter() - begin)


def _reset_peak(device: torch.device) -> float | None:
    """Begins to watch the memory; MiB that are taken now, None on the CPU."""
    if device.type != "cuda":
        return None
    torch.cuda.synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    return torch.cuda.memory_allocated(device) / MIB


def _peak(device: torch.device) -> float:
    """MiB at most, since `_reset_peak`."""
    return torch.cuda.max_memory_allocated(device) / MIB if device.type == "cuda" else peak()
