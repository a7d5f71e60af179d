"""Times are medians of calls after the warm-up."""

from __future__ import annotations

import time

import pytest
import torch

from benchmarks.gpu.machine import describe, file_stem, tf32, threads
from benchmarks.gpu.timing import time_call


def test_the_warm_up_does_not_count():
    pauses = iter([0.2, 0.02, 0.001, 0.02])
    timing = time_call(lambda: time.sleep(next(pauses)), torch.device("cpu"), repeats=3)
    assert timing.repeats == 3 and 20 <= timing.ms < 100
    assert 1 <= timing.least_ms <= timing.mean_ms < 100 and timing.peak_mib > 50 and timing.above_mib is None


class FakeCard:
    """Stands in for ``torch.cuda``: keeps the order of what is asked of it; its clock ticks with every event."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.clock = 0.0

    def Event(self, enable_timing: bool) -> FakeEvent:
        assert enable_timing
        return FakeEvent(self)

    def __getattr__(self, name: str):
        answers = {"memory_allocated": 3 * 2**20, "max_memory_allocated": 10 * 2**20}
        return lambda *_: self.asked.append(name) or answers.get(name)


class FakeEvent:
    def __init__(self, card: FakeCard) -> None:
        self.card, self.at = card, None

    def record(self) -> None:
        self.card.asked.append("record")
        self.at = self.card.clock

    def synchronize(self) -> None:
        assert self.at is not None
        self.card.asked.append("wait")

    def elapsed_time(self, end: FakeEvent) -> float:
        assert self.card.asked[-1] == "wait"
        return end.at - self.at


def test_a_cards_events_enclose_the_call(monkeypatch):
    card = FakeCard()
    monkeypatch.setattr(torch, "cuda", card)
    pauses = iter([100.0, 5.0, 1.0, 9.0])

    def run() -> None:
        card.asked.append("run")
        card.clock += next(pauses)

    timing = time_call(run, torch.device("cuda"), repeats=3)
    assert (timing.ms, timing.mean_ms, timing.least_ms) == (5.0, 5.0, 1.0)
    assert (timing.peak_mib, timing.above_mib) == (10.0, 7.0)
    start = ["run", "synchronize", "reset_peak_memory_stats", "memory_allocated"]
    once = ["synchronize", "record", "run", "record", "wait"]
    assert card.asked == [*start, *once, *once, *once, "max_memory_allocated"]


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine")
def test_a_cards_time_and_memory_are_the_calls():
    square = torch.rand(2048, 2048, device="cuda")
    timing = time_call(lambda: square @ square, square.device, repeats=5)
    assert 0 < timing.least_ms <= timing.ms < 1000
    assert timing.above_mib == pytest.approx(16, abs=4)


def test_tf32_is_as_it_was_afterwards():
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    for allowed in (True, False):
        with tf32(allowed):
            assert torch.backends.cudnn.allow_tf32 is allowed
            assert (torch.get_float32_matmul_precision() == "high") is allowed
    assert (torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32) == before


def test_threads_are_as_many_as_before_afterwards():
    before = torch.get_num_threads()
    with threads(1):
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == before


def test_a_run_is_named_by_card_and_day():
    assert file_stem({"device": "NVIDIA H100 80GB HBM3", "date": "2026-11-28"}) == "nvidia-h100-80gb-hbm3_2026-11-28"
    about = describe(torch.device("cpu"), commit="abc")
    assert about["commit"] == "abc" and about["device"] == "CPU" and file_stem(about) == f"cpu_{about['date']}"
    assert describe(torch.device("cpu"))["commit"]
