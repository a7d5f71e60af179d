"""When compiled kernels may stand in for torch operations, which define what is computed, and in how many threads."""

import logging
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from importlib import import_module
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

# Set to 0 for the torch forms everywhere
SWITCH = "CLNF_TORCH_COMPILED"
# What compiles kernels; that one of them is not there is nothing to warn of
COMPILERS = ("numba", "triton")
# What names of the package's own threads begin with
OWN_THREADS = "clnf_torch"
# How many threads loops use where torch itself is told to use fewer
_LOOPS: ContextVar[int | None] = ContextVar("loops", default=None)


def load_kernels(module: str) -> Any:
    """A module of kernels by its name; None where what compiles them is not installed, or they are not wanted."""
    return _loaded(module)[0]


def why_not_loaded(module: str) -> str:
    """Why `load_kernels` gives None for a module, in one line; empty where it does not."""
    return _loaded(module)[1]


@cache
def _loaded(module: str) -> tuple[Any, str]:
    """A module of kernels, or None and why."""
    if os.environ.get(SWITCH) == "0":
        return None, f"{SWITCH} is 0"
    try:
        return import_module(module), ""
    # A library that is not found, in one that is
    except (ImportError, OSError) as error:
        if isinstance(error, ModuleNotFoundError) and error.name in COMPILERS:
            return None, f"{error.name} is not installed"
        reason = in_a_line(error)
        warn_once(f"compiled loops cannot be loaded, and slower operations of torch take their place: {reason}")
        return None, reason


def in_a_line(error: Exception) -> str:
    """What kind of error it is, and the first line of what it says."""
    return f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')}".removesuffix(": ")


@cache
def warn_once(message: str) -> None:
    """Logs a warning, once in a process."""
    logging.getLogger("clnf_torch").warning(message)


def transformed() -> bool:
    """Whether something traces or transforms operations: `torch.compile`, `torch.func`, forward-mode gradients."""
    traced = torch.compiler.is_compiling() or torch._C._functorch.peek_interpreter_stack() is not None
    return traced or forward_ad._current_level >= 0


def recorded(*tensors: Tensor) -> bool:
    """Whether gradients of any of these tensors are recorded."""
    return torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)


def plain_numbers(*tensors: Tensor, dtype: torch.dtype = torch.float32) -> bool:
    """Whether tensors are of a type on one device, and nothing records, traces or transforms operations on them.

    What does so: gradients, `torch.compile`, `torch.func`.
    """
    if transformed() or recorded(*tensors):
        return False
    device = tensors[0].device
    return all(tensor.device == device and tensor.dtype == dtype for tensor in tensors)


def alone() -> bool:
    """Whether no thread but this one may come to use torch for the first time, and take over its number of threads.

    Those of the package and of progress bars do not.
    """
    own = threading.current_thread()
    return all(
        thread is own or thread.name.startswith(OWN_THREADS) or type(thread).__module__.startswith("rich.")
        for thread in threading.enumerate()
    )


@contextmanager
def loops_in(threads: int) -> Iterator[None]:
    """Within it loops use so many threads, whatever torch uses."""
    token = _LOOPS.set(threads)
    try:
        yield
    finally:
        _LOOPS.reset(token)


def loop_threads() -> int:
    """How many threads loops use: as many as torch, unless `loops_in` says otherwise."""
    return _LOOPS.get() or torch.get_num_threads()
