"""Part 3, why: what a call asks of the card, counted from torch's profiler."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch.autograd import DeviceType
from torch.autograd.profiler_util import FunctionEvent
from torch.profiler import ProfilerActivity, profile

from benchmarks.gpu.calls import Calls, in_torch
from benchmarks.gpu.recorder import Recorder
from benchmarks.gpu.timing import time_call, wait

PART, TABLE = "why", "calls under the profiler"
LONGEST = 10
LAUNCHES = ("cudaLaunchKernel", "cuLaunchKernel", "cudaLaunchCooperativeKernel", "cudaGraphLaunch")
WAITS = ("cudaStreamSynchronize", "cudaEventSynchronize", "cuStreamSynchronize", "cuEventSynchronize")
DEVICE_WAITS = ("cudaDeviceSynchronize", "cuCtxSynchronize")


@dataclass(frozen=True, kw_only=True)
class Event:
    """Something that took time, on the card or on the host."""

    name: str
    on_card: bool
    start_us: float
    end_us: float
    own_us: float  # without what it called


@dataclass(frozen=True, kw_only=True)
class Activity:
    """What a call asks of the card."""

    kernels: int
    launches: int  # by the host; a graph's is one
    to_card: int  # copies from host to device
    to_host: int  # copies from device to host
    on_card: int  # copies within the device
    fills: int
    waits: int  # of the host for a stream or an event, as a read needs one
    device_waits: int  # of the host for the whole card; the measurement itself asks for one or two
    kernel_ms: float  # in which a kernel ran
    longest: tuple[dict[str, Any], ...]  # the ten kernels, or the CPU's operators, that took longest, by name


def measure_activity(recorder: Recorder, calls: Calls) -> None:
    """Records four calls."""
    few, faces, videos = (calls.material.quick, *((2, 1) if calls.material.quick else (64, 16)))
    rows: dict[str, Callable[[], Callable[[], object]]] = {
        f"default model, main fit, {faces} faces": lambda: calls.main_fit(calls.default, faces),
        f"default model, main fit, {faces} faces, torch forms": lambda: in_torch(calls.main_fit(calls.default, faces)),
        f"{calls.material.published_name}, main fit, {faces} faces": lambda: calls.main_fit(calls.published, faces),
        f"tracker step, 720p, {videos} videos": lambda: calls.tracker_step("720p", videos),
    }
    for name, prepare in rows.items():
        repeats = 1 if few else 5
        recorder.measure(PART, TABLE, name, lambda prepare=prepare, n=repeats: profiled(prepare(), calls.device, n))


def profiled(run: Callable[[], object], device: torch.device, repeats: int) -> dict[str, Any]:
    """The values of a row: a call's time without the profiler, and what the profiler saw of one more."""
    timing = time_call(run, device, repeats)
    activity = count_activity(record_events(run, device))
    idle = max(0.0, 1 - activity.kernel_ms / timing.ms) if activity.kernels else None
    return {"call_ms": timing.ms, "idle_share": idle, **asdict(activity)}


def record_events(run: Callable[[], object], device: torch.device) -> list[Event]:
    """The events of one call."""
    kinds = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if device.type == "cuda" else [])]
    wait(device)
    with profile(activities=kinds) as profiler:
        run()
        wait(device)
    return [_event(event) for event in profiler.events() if not getattr(event, "is_user_annotation", False)]


def _event(event: FunctionEvent) -> Event:
    """One of torch's events. Kernels and copies of the card call nothing."""
    on_card, span = event.device_type == DeviceType.CUDA, event.time_range
    own = span.end - span.start if on_card else event.self_cpu_time_total
    return Event(name=event.name, on_card=on_card, start_us=span.start, end_us=span.end, own_us=own)


def count_activity(events: Iterable[Event]) -> Activity:
    """What events amount to."""
    events = list(events)
    card = [event for event in events if event.on_card]
    copies = Counter(_copy(event.name) for event in card)
    kernels = [event for event in card if _copy(event.name) is None]
    host = Counter(event.name for event in events if not event.on_card)
    return Activity(
        kernels=len(kernels),
        launches=_beginning(host, LAUNCHES),
        to_card=copies["HtoD"],
        to_host=copies["DtoH"],
        on_card=copies["DtoD"],
        fills=copies["fill"],
        waits=_beginning(host, WAITS),
        device_waits=_beginning(host, DEVICE_WAITS),
        kernel_ms=covered(kernels) / 1e3,
        longest=longest(kernels or [event for event in events if not event.on_card]),
    )


def _beginning(counts: Counter[str], words: tuple[str, ...]) -> int:
    """How often names were seen that begin with one of some words; versions may follow them."""
    return sum(count for name, count in counts.items() if name.startswith(words))


def covered(events: Sequence[Event]) -> float:
    """Microseconds in which at least one of the events was under way."""
    total, until = 0.0, float("-inf")
    for event in sorted(events, key=lambda event: event.start_us):
        total += max(0.0, event.end_us - max(event.start_us, until))
        until = max(until, event.end_us)
    return total


def longest(events: Iterable[Event]) -> tuple[dict[str, Any], ...]:
    """The names that took longest in all: milliseconds, and how often."""
    spent: dict[str, float] = defaultdict(float)
    times: Counter[str] = Counter()
    for event in events:
        spent[event.name] += event.own_us
        times[event.name] += 1
    names = sorted(spent, key=lambda name: -spent[name])[:LONGEST]
    return tuple({"ms": spent[name] / 1e3, "times": times[name], "name": name[:160]} for name in names)


def _copy(name: str) -> str | None:
    """Which way something on the card copies, "fill" for memory that is set; None for a kernel."""
    if name.startswith("Memset"):
        return "fill"
    return name.split()[1] if name.startswith("Memcpy ") else None
