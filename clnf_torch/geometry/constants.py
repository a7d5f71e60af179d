"""Fixed numbers as tensors that are sent to a device once, and found there by every later call."""

from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

# Far more than a program has models, devices and sizes of images in use
MOST_KEPT = 1024


def constant(values: Any, like: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """Numbers, or nested tuples of them, in the number type and on the device of a tensor; not to be changed in place.

    They outlive the call, so that only the first one sends them. While a compiler traces they are made anew, and become
    a part of its program.
    """
    dtype = like.dtype if dtype is None else dtype
    if torch.compiler.is_compiling():
        return torch.tensor(values, dtype=dtype, device=like.device)
    return _kept(values, dtype, like.device)


@lru_cache(MOST_KEPT)
def _kept(values: Any, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Of use in any later call, one with gradients too."""
    with torch.inference_mode(False):
        return torch.tensor(values, dtype=dtype, device=device)
