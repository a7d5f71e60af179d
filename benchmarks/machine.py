"""What the machine is, and how fast it multiplies: the measure for everything else."""

import platform
import statistics
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import torch

import clnf_torch


def describe(device: str) -> str:
    """One line: processor, threads, versions, commit."""
    processor = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = cpuinfo.read_text().splitlines()
        names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
        processor = f"{names[0]}, {len(names)} cores" if names else processor
    if device != "cpu":
        processor = f"{torch.cuda.get_device_name(device)} ({processor})"
    command = ["git", "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    versions = f"python {platform.python_version()}, torch {torch.__version__}, clnf_torch {clnf_torch.__version__}"
    day = time.strftime("%Y-%m-%d")
    return f"{processor}; {torch.get_num_threads()} threads; {versions} at {commit or 'no commit'}; {day}"


def seconds(run: Callable[[], object], repeats: int, device: str = "cpu") -> float:
    """Median time of a call after one that is not counted; waits for the device."""
    run()
    times = []
    for _ in range(repeats):
        _wait(device)
        begin = time.perf_counter()
        run()
        _wait(device)
        times.append(time.perf_counter() - begin)
    return statistics.median(times)


def gemm_peak(device: str = "cpu", side: int = 2048) -> float:
    """Floating point operations per second of a large float32 matrix product."""
    a, b = torch.rand(side, side, device=device), torch.rand(side, side, device=device)
    return 2 * side**3 / seconds(lambda: a @ b, 15, device)


def _wait(device: str) -> None:
    """Until the device has finished."""
    if device != "cpu":
        torch.cuda.synchronize(device)
