"""What the machine is, and how fast it multiplies: the measure for everything else."""

import os
import platform
import re
import statistics
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import torch

import clnf_torch


def describe(device: str) -> str:
    """One line: processor, threads, versions, commit."""
    where = f"{processor()}, {os.cpu_count()} cores"
    if device != "cpu":
        where = f"{torch.cuda.get_device_name(device)} ({where})"
    versions = f"python {platform.python_version()}, torch {torch.__version__}, clnf_torch {clnf_torch.__version__}"
    day = time.strftime("%Y-%m-%d")
    return f"{where}; {torch.get_num_threads()} threads; {versions} at {commit() or 'no commit'}; {day}"


def processor() -> str:
    """The processor's name."""
    cpuinfo = Path("/proc/cpuinfo")
    text = cpuinfo.read_text() if cpuinfo.exists() else ""
    names = re.findall(r"^model name\s*: (.+)$", text, re.MULTILINE)
    return names[0] if names else platform.processor() or platform.machine()


def commit() -> str:
    """The commit of the checkout, and whether files differ from it; nothing where git does not know it."""
    return printed("git", "-C", str(Path(__file__).resolve().parent), "describe", "--always", "--dirty")


def printed(*command: str) -> str:
    """What a program prints; nothing where it is missing or fails."""
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=30).stdout.strip()
    except (OSError, subprocess.TimeoutExpired):
        return ""


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
