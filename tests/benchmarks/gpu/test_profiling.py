"""What a call asks of the card, counted on made-up events that are named as torch's profiler names them."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch.autograd import DeviceType

from benchmarks.gpu.profiling import Event, _event, count_activity, covered, longest, record_events


def event(name: str, start: float, end: float, on_card: bool = True) -> Event:
    return Event(name=name, on_card=on_card, start_us=start, end_us=end, own_us=end - start)


def host(*names: str) -> list[Event]:
    return [event(name, k, k + 0.5, on_card=False) for k, name in enumerate(names)]


CARD = [
    event("void at::native::elementwise_kernel<128, 4>", 0, 30),
    event("ampere_sgemm_128x64_nn", 20, 100),  # begins before the first has ended
    event("ampere_sgemm_128x64_nn", 150, 250),
    event("Memcpy HtoD (Pageable -> Device)", 100, 110),
    event("Memcpy DtoH (Device -> Pageable)", 110, 115),
    event("Memcpy DtoH (Device -> Pinned)", 115, 120),
    event("Memcpy DtoD (Device -> Device)", 120, 121),
    event("Memset (Device)", 121, 122),
]
HOST = host(
    "aten::add", "cudaLaunchKernel", "cudaLaunchKernelExC", "cuLaunchKernel", "cudaMemcpyAsync", "cudaMemsetAsync",
    "cudaStreamSynchronize", "cudaStreamSynchronize", "cudaEventSynchronize", "cudaDeviceSynchronize",
    "cudaStreamWaitEvent", "cudaStreamIsCapturing",
)  # fmt: skip


def test_everything_is_counted_once():
    activity = count_activity(CARD + HOST)
    assert (activity.kernels, activity.launches) == (3, 3)
    assert (activity.to_card, activity.to_host, activity.on_card, activity.fills) == (1, 2, 1, 1)
    assert (activity.waits, activity.device_waits) == (3, 1)
    assert activity.kernel_ms == pytest.approx(0.2)  # 0 to 100 and 150 to 250


def test_the_longest_kernels_come_first_and_copies_are_none():
    kernels = count_activity(CARD + HOST).longest
    assert [(one["name"][:12], one["times"]) for one in kernels] == [("ampere_sgemm", 2), ("void at::nat", 1)]
    assert kernels[0]["ms"] == pytest.approx(0.18)
    many = [event(f"kernel {k}", 0, k) for k in range(30)]
    assert [one["name"] for one in longest(many)] == [f"kernel {k}" for k in range(29, 19, -1)]


def test_without_a_card_operators_are_listed():
    activity = count_activity(host("aten::mm", "aten::mm", "aten::add"))
    assert activity.kernels == 0 and activity.longest[0]["name"] == "aten::mm"
    assert count_activity([]).longest == ()


def test_time_that_is_covered_twice_counts_once():
    assert covered([event("a", 5, 9), event("b", 0, 10), event("c", 10, 11), event("d", 20, 21)]) == 12
    assert covered([]) == 0


def test_what_ran_on_a_card_is_told_from_what_ran_on_the_host():
    span = SimpleNamespace(start=10.0, end=14.0)
    kernel = SimpleNamespace(name="k", device_type=DeviceType.CUDA, time_range=span, self_cpu_time_total=0.0)
    call = SimpleNamespace(name="aten::mm", device_type=DeviceType.CPU, time_range=span, self_cpu_time_total=1.5)
    assert _event(kernel) == Event(name="k", on_card=True, start_us=10.0, end_us=14.0, own_us=4.0)
    assert _event(call) == Event(name="aten::mm", on_card=False, start_us=10.0, end_us=14.0, own_us=1.5)


def test_torchs_events_are_read():
    square = torch.ones(64, 64)
    events = record_events(lambda: square @ square, torch.device("cpu"))
    (product,) = (one for one in events if one.name == "aten::mm")
    assert not product.on_card and 0 < product.own_us <= product.end_us - product.start_us + 1
