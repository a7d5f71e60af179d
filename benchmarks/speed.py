"""Time per face of the main fit: how it falls with the batch, where it goes, how it grows with the work."""

import time

import torch
from rich.table import Table

import clnf_torch
from benchmarks.machine import gemm_peak, seconds
from benchmarks.material import boxes, photograph, real_size_bundle
from benchmarks.stages import STAGES, stopwatch
from benchmarks.tables import table
from clnf_torch.geometry.gray import to_gray

MULTIPLY_ADDS = 0.93e9  # of the experts, per face and fit from one hypothesis with default windows
MAIN_FIT = {"parts": False, "validate": False}


def report(device: str, repeats: int) -> list[Table]:
    """The tables of this benchmark."""
    detector = clnf_torch.load(real_size_bundle(), device)
    frames = to_gray(photograph()).to(device)  # as OpenFace's main fit is given it
    with torch.inference_mode():
        tables = [_by_batch(detector, frames, device, repeats), _by_work(detector, frames, device, repeats)]
        return tables if device != "cpu" else [*tables, _by_stage(detector, frames)]


def _by_batch(detector: clnf_torch.LandmarkDetector, frames: torch.Tensor, device: str, repeats: int) -> Table:
    """Faces of one image in one call."""
    rows = []
    for count in (1, 8, 32, 64, 128):
        before = gemm_peak(device)
        each = seconds(lambda count=count: detector.fit(frames, boxes(count), **MAIN_FIT), repeats, device) / count
        peak = (before + gemm_peak(device)) / 2  # measured beside each row: a shared machine is not always equally fast
        share = 2 * MULTIPLY_ADDS / each / peak
        rate = f"{2e-9 * MULTIPLY_ADDS / each:.0f}"
        rows.append((str(count), f"{1e3 * each:.1f}", rate, f"{peak / 1e9:.0f}", f"{share:.0%}"))
    columns = ("faces", "ms per face", "GFLOP/s", "GEMM beside it", "share")
    return table("Faces in one image, one call", columns, rows)


def _by_work(detector: clnf_torch.LandmarkDetector, frames: torch.Tensor, device: str, repeats: int) -> Table:
    """Sixteen faces, spread over more frames, or fitted from more hypotheses and with larger windows."""
    many, count = frames.expand(16, -1, -1), 16
    cases = {
        "16 faces in 1 frame": lambda: detector.fit(frames, boxes(count), **MAIN_FIT),
        "16 faces in 16 frames": lambda: detector.fit(many, boxes(count), **MAIN_FIT),
        "16 faces, tracking windows": lambda: detector.fit(frames, boxes(count), preset="tracking", **MAIN_FIT),
        "16 faces, multi-view": lambda: detector.fit(frames, boxes(count), multi_view=True, **MAIN_FIT),
        "16 faces, exact numerics (dense)": lambda: _exact(detector).fit(frames, boxes(count), **MAIN_FIT),
        "4 faces, wild preset": lambda: detector.fit(frames, boxes(4), preset="wild", **MAIN_FIT),
    }
    rows = []
    for name, run in cases.items():
        faces = int(name.split()[0])
        rows.append((name, f"{1e3 * seconds(run, repeats, device) / faces:.1f}"))
    return table("Growth with frames, windows and hypotheses", ("what", "ms per face"), rows)


def _by_stage(detector: clnf_torch.LandmarkDetector, frames: torch.Tensor) -> Table:
    """Share of each stage, for one face and for many."""
    columns = {}
    for count, runs in ((1, 20), (64, 3)):
        detector.fit(frames, boxes(count), **MAIN_FIT)
        with stopwatch() as spent:
            begin = time.perf_counter()
            for _ in range(runs):
                detector.fit(frames, boxes(count), **MAIN_FIT)
            total = time.perf_counter() - begin
        each = {stage: spent[stage] for stage in STAGES} | {"everything else": total - sum(spent.values())}
        columns[count] = {stage: 1e3 * value / runs / count for stage, value in each.items()}
    rows = [(stage, *(f"{columns[count][stage]:.2f}" for count in columns)) for stage in columns[1]]
    return table("Where the time goes, ms per face", ("stage", *(f"{count} faces" for count in columns)), rows)


def _exact(detector: clnf_torch.LandmarkDetector) -> clnf_torch.LandmarkDetector:
    """The same model with exact numerics."""
    return clnf_torch.LandmarkDetector(detector.model, clnf_torch.EXACT)
