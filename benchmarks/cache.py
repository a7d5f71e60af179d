"""Compiled loops in processes that compile them, in two orders, and in one that finds them: seconds, and bits."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import torch
from rich.table import Table
from torch import Tensor

import clnf_torch
from benchmarks.material import BOX, boxes, photograph
from benchmarks.shared import MODELS
from benchmarks.tables import table
from clnf_torch.export.decimals import nine_digit_texts
from clnf_torch.models.bundle import default_bundle
from clnf_torch.pipeline.result import FitResult

# Of faces that are fitted together: a single one, and as many as two threads share
FACES = (1, 9)
# What a process is called, the cache that it uses, and whether it takes things in the opposite order
PROCESSES = (
    ("that compiles", "cache", False),
    ("that finds all on disk", "cache", False),
    ("that compiles in the opposite order", "other", True),
)


def report() -> list[Table]:
    """The tables of this benchmark."""
    with tempfile.TemporaryDirectory() as folder:
        runs = [_run(Path(folder), cache, opposite) for _, cache, opposite in PROCESSES]
        kernels = sum(1 for _ in (Path(folder) / "cache").rglob("*.nbc"))
    first = runs[0][1]
    seconds = [(name, f"{spent:.1f}") for (name, _, _), (spent, _) in zip(PROCESSES, runs, strict=True)]
    differing = [name for name in first if not all(_same(first[name], found[name]) for _, found in runs[1:])]
    bits = [("kinds of numbers that are compared", str(len(first))), ("that differ", ", ".join(differing) or "none")]
    return [
        table(f"{kernels} kernels, seconds of the processor", ("process", "seconds"), seconds),
        table("Bits of the processes", ("what", ""), bits),
    ]


def _run(folder: Path, cache: str, opposite: bool) -> tuple[float, dict[str, Tensor]]:
    """Seconds of the processor that a process takes with a cache in a folder, and its numbers."""
    path = folder / "numbers.pt"
    environment = os.environ | {"NUMBA_CACHE_DIR": str(folder / cache)}
    command = [sys.executable, "-m", "benchmarks.cache", str(path), *(["opposite"] if opposite else [])]
    subprocess.run(command, env=environment, check=True)
    saved = torch.load(path)
    return saved["seconds"], saved["numbers"]


def _same(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors are equal to the last bit; NaNs are."""
    return torch.equal(one.contiguous().view(torch.uint8), other.contiguous().view(torch.uint8))


@torch.inference_mode()
def _numbers(opposite: bool) -> dict[str, Tensor]:
    """Numbers of all that loops take part in, by name; of the last first where the order is the opposite one."""
    kinds = [*(partial(_fits, name) for name in MODELS), _tracked, _detected, _written]
    return {name: values.clone() for kind in (kinds[::-1] if opposite else kinds) for name, values in kind()}


def _fits(name: str) -> Iterator[tuple[str, Tensor]]:
    """Of faces that are fitted with a model, from a box and from their last parameters."""
    frames, detector = photograph(), clnf_torch.load(MODELS[name]() or default_bundle())
    for count in FACES:
        fits = detector.fit(frames, boxes(count), multi_view=count == 1)
        yield from _fields(f"{name}, {count} faces", fits)
        again = detector.fit_from_params(frames, fits.params, preset="tracking")
        yield from _fields(f"{name}, {count} faces, tracked", again)


def _tracked() -> Iterator[tuple[str, Tensor]]:
    """Of a tracked face."""
    frames, tracker = photograph(), clnf_torch.VideoTracker(clnf_torch.load())
    state = tracker.place(tracker.begin(), torch.tensor([BOX]))
    for _ in range(2):
        state, _result = tracker.step(state, frames)
    yield "appearance", state.tracks.appearance


def _detected() -> Iterator[tuple[str, Tensor]]:
    """Of faces that are looked for."""
    yield "detected faces", clnf_torch.load_face_detector(default_bundle()).detect(photograph()).boxes


def _written() -> Iterator[tuple[str, Tensor]]:
    """Of numbers that are written."""
    numbers = torch.linspace(-1e3, 1e7, 1001)[None]
    text = " ".join(nine_digit_texts([numbers])[0])
    yield "text of numbers", torch.frombuffer(bytearray(text, "ascii"), dtype=torch.uint8)


def _fields(name: str, fits: FitResult) -> Iterator[tuple[str, Tensor]]:
    """What fits hold."""
    yield f"{name}: landmarks", fits.landmarks
    yield f"{name}: shape", fits.params.local
    yield f"{name}: likelihoods", fits.landmark_likelihoods
    yield f"{name}: confidence", fits.confidence
    for part, own in fits.parts.items():
        yield f"{name}: {part}", own.landmarks


if __name__ == "__main__":
    torch.set_num_threads(2)
    numbers = _numbers(opposite=len(sys.argv) > 2)
    torch.save({"seconds": time.process_time(), "numbers": numbers}, sys.argv[1])
