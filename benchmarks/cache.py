"""Compiled loops in the process that compiles them and in a later one: how long they take, and whether bits differ."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
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
PROCESSES = ("that compiles", "that finds all on disk")


def report() -> list[Table]:
    """The tables of this benchmark."""
    with tempfile.TemporaryDirectory() as folder:
        runs = [_run(Path(folder), number) for number in range(len(PROCESSES))]
        kernels = sum(1 for _ in Path(folder).rglob("*.nbc"))
    (_, first), (_, second) = runs
    seconds = [(name, f"{spent:.1f}") for name, (spent, _) in zip(PROCESSES, runs, strict=True)]
    differing = [name for name in first if not _same(first[name], second[name])]
    bits = [("kinds of numbers that are compared", str(len(first))), ("that differ", ", ".join(differing) or "none")]
    return [
        table(f"{kernels} kernels, seconds of the processor", ("process", "seconds"), seconds),
        table("Bits of both processes", ("what", ""), bits),
    ]


def _run(folder: Path, number: int) -> tuple[float, dict[str, Tensor]]:
    """Seconds of the processor that a process takes with a cache in a folder, and its numbers."""
    path = folder / f"{number}.pt"
    environment = os.environ | {"NUMBA_CACHE_DIR": str(folder / "cache")}
    command = [sys.executable, "-m", "benchmarks.cache", str(path)]
    subprocess.run(command, env=environment, check=True)
    saved = torch.load(path)
    return saved["seconds"], saved["numbers"]


def _same(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors are equal to the last bit; NaNs are."""
    return torch.equal(one.contiguous().view(torch.uint8), other.contiguous().view(torch.uint8))


@torch.inference_mode()
def _numbers() -> Iterator[tuple[str, Tensor]]:
    """Numbers of all that loops take part in, by name."""
    frames = photograph()
    for name, bundle in MODELS.items():
        detector = clnf_torch.load(bundle() or default_bundle())
        for count in FACES:
            fits = detector.fit(frames, boxes(count), multi_view=count == 1)
            yield from _fields(f"{name}, {count} faces", fits)
            again = detector.fit_from_params(frames, fits.params, preset="tracking")
            yield from _fields(f"{name}, {count} faces, tracked", again)
    tracker = clnf_torch.VideoTracker(detector)
    state = tracker.place(tracker.begin(), torch.tensor([BOX]))
    for _ in range(2):
        state, _result = tracker.step(state, frames)
    yield "appearance", state.tracks.appearance
    yield "detected faces", clnf_torch.load_face_detector(default_bundle()).detect(frames).boxes
    text = " ".join(nine_digit_texts([fits.landmarks])[0])
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
    numbers = {name: values.clone() for name, values in _numbers()}
    torch.save({"seconds": time.process_time(), "numbers": numbers}, sys.argv[1])
