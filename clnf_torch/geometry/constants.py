"""Fixed numbers as tensors that are sent to a device once, and found there by every later call."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

# Far more than a program has models, devices and sizes of images in use
MOST_KEPT = 1024
# What is in use, where somebody wants to hold it
_HELD: ContextVar[list[Tensor] | None] = ContextVar("held", default=None)


def constant(values: Any, like: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """Numbers, or nested tuples of them, in the number type and on the device of a tensor; not to be changed in place.

    They outlive the call, so that only the first one sends them. While a compiler traces they are made anew, and become
    a part of its program.
    """
    dtype = like.dtype if dtype is None else dtype
    if torch.compiler.is_compiling():
        return torch.tensor(values, dtype=dtype, device=like.device)
    return hold(_kept(values, dtype, like.device))


def select_landmarks(points: Tensor, numbers: Any) -> Tensor:
    """``points[..., numbers, :]`` of points (..., N, D) for landmarks known beforehand, a tuple that may be nested.

    torch would send the tuple to a card in every call, and wait for that.
    """
    return points[..., constant(numbers, points, torch.int64), :]


@contextmanager
def holding() -> Iterator[list[Tensor]]:
    """Collects the kept tensors that are used within: who holds them may go on reading their memory.

    What is kept makes room for others after a while. A CUDA graph reads the memory that it was captured with.
    """
    held: list[Tensor] = []
    token = _HELD.set(held)
    try:
        yield held
    finally:
        _HELD.reset(token)


def hold(kept: Tensor) -> Tensor:
    """Says that a tensor that is kept for later calls is in use; returns it. See `holding`."""
    held = _HELD.get()
    if held is not None:
        held.append(kept)
    return kept


@lru_cache(MOST_KEPT)
def _kept(values: Any, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Of use in any later call, one with gradients too."""
    with torch.inference_mode(False):
        return torch.tensor(values, dtype=dtype, device=device)
