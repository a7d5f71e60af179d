"""Which card, driver, versions and commit a run belongs to; and what is set of torch while it runs."""

import os
import platform
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import torch

import clnf_torch
from benchmarks import machine
from clnf_torch.compilation import conditions
from clnf_torch.fitting import compiled as searching


def describe(device: torch.device, commit: str | None = None) -> dict[str, Any]:
    """What a reader must know about the machine, by name."""
    about: dict[str, Any] = {"device": device_name(device), "date": time.strftime("%Y-%m-%d")}
    if device.type == "cuda":
        about |= _describe_card(device)
    return about | {
        "processor": f"{machine.processor()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads",
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "clnf_torch": clnf_torch.__version__,
        "commit": commit or machine.commit() or "not known",
    }


def device_name(device: torch.device) -> str:
    """The card's name, or the processor's."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"


def file_stem(about: dict[str, Any]) -> str:
    """CARD_DATE in small letters, digits, dashes and an underscore."""
    return f"{re.sub('[^a-z0-9]+', '-', about['device'].lower()).strip('-')}_{about['date']}"


@contextmanager
def tf32(allowed: bool) -> Iterator[None]:
    """TF32 in products of matrices and in convolutions, allowed or not while the context lasts."""
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    torch.set_float32_matmul_precision("high" if allowed else "highest")
    torch.backends.cudnn.allow_tf32 = allowed
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before[0])
        torch.backends.cudnn.allow_tf32 = before[1]


@contextmanager
def threads(count: int | None) -> Iterator[None]:
    """So many threads of the CPU while the context lasts; None: as many as there are."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def torch_forms_on_cpu(wanted: bool) -> Iterator[None]:
    """The processor's results are those of torch's operations while the context lasts, where that is wanted.

    They define what loops and cards compute; and loops would be compiled for minutes while a card waits.
    """
    if not wanted:
        yield
        return
    loaded = conditions._loaded

    def unless_cpu(module: str) -> tuple[Any, str]:
        return (None, "the torch forms are wanted") if ".cpu" in module else loaded(module)

    searching.kernels.cache_clear()
    try:
        with patch.object(conditions, "_loaded", unless_cpu):
            yield
    finally:
        searching.kernels.cache_clear()


def _describe_card(device: torch.device) -> dict[str, Any]:
    """Memory, driver and libraries of a card."""
    properties = torch.cuda.get_device_properties(device)
    query = machine.printed("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader")
    return {
        "memory": f"{properties.total_memory / 2**30:.0f} GiB",
        "multiprocessors": properties.multi_processor_count,
        "capability": f"{properties.major}.{properties.minor}",
        "driver": query.splitlines()[0] if query else "not known",
        "CUDA": torch.version.cuda,
        "cuDNN": torch.backends.cudnn.version(),
    }
