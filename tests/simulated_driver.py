"""What torch asks a card's driver for, on cards that the processor simulates: names, memory, streams, events, graphs.

Beside `tests.simulated_cuda.simulated_cards`: the processor has done everything when a call returns, so that nothing
waits for anything; the clock of events is the processor's.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import torch

from tests.simulated_cuda import SimulatedCards

NAME = "Simulated Card"
MEMORY = 1 << 34
ALLOCATED, PEAK = 3 << 20, 10 << 20


class Event:
    """A time of the processor's clock."""

    def __init__(self, enable_timing: bool = False) -> None:
        self.at = 0.0

    def record(self, stream: Any = None) -> None:
        self.at = time.perf_counter()

    def synchronize(self) -> None:
        if not self.at:
            raise RuntimeError("the event was not recorded")

    def elapsed_time(self, end: Event) -> float:
        return 1e3 * (end.at - self.at)


class Stream:
    """A stream in whose order everything is done anyway."""

    def __init__(self, device: Any = None) -> None:
        self.device = device

    def wait_stream(self, other: Stream) -> None:
        pass

    def wait_event(self, event: Event) -> None:
        event.synchronize()

    def record_event(self) -> Event:
        event = Event()
        event.record(self)
        return event


class Graph:
    """Stands in for a CUDA graph, which would do again what was captured."""

    def replay(self) -> None:
        pass

    def pool(self) -> None:
        return None


@contextmanager
def simulated_driver(cards: int = 1) -> Iterator[None]:
    """So many cards while the context lasts, which ``torch.cuda`` says are there."""
    card = SimpleNamespace(total_memory=MEMORY, major=9, minor=0, multi_processor_count=1, name=NAME)
    memory = {"pin_memory": lambda values, *_: values, "record_stream": lambda values, stream: None}
    stand_ins = {
        "is_available": lambda: True,
        "device_count": lambda: cards,
        "current_device": lambda: 0,
        "set_device": lambda device: None,
        "synchronize": lambda device=None: None,
        "empty_cache": lambda: None,
        "get_device_name": lambda device=None: NAME,
        "get_device_capability": lambda device=None: (9, 0),
        "get_device_properties": lambda device=None: card,
        "memory_allocated": lambda device=None: ALLOCATED,
        "max_memory_allocated": lambda device=None: PEAK,
        "reset_peak_memory_stats": lambda device=None: None,
        "Event": Event,
        "Stream": Stream,
        "current_stream": Stream,
        # Threads that copy beside the fit have no cards of their own
        "stream": lambda stream: SimulatedCards(),
        "CUDAGraph": Graph,
        "graph": lambda graph, **_: nullcontext(),
    }
    with patch.multiple(torch.cuda, **stand_ins), patch.multiple(torch.Tensor, **memory):
        yield
