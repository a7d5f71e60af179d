"""Whether Triton's programs can run on a card, and how they are started there."""

from contextlib import nullcontext
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

# Of Triton; earlier ones do not know tuples
LEAST_VERSION = (3, 3)
# Triton multiplies matrices whose sides are at least so long
LEAST_SIDE = 16


def works(device: torch.device) -> bool:
    """Whether programs can be compiled and started on a device: Triton needs a C compiler, and a card that it knows."""
    if tuple(map(int, triton.__version__.split(".")[:2])) < LEAST_VERSION:
        return False
    try:
        _trial[(1,)](torch.zeros(1, device=device), enable_fp_fusion=True)
    # Compilers and drivers have errors of their own; whatever they are, the torch forms run
    except Exception:
        return False
    return True


@triton.jit
def _trial(number: Any) -> None:
    """Stores a number."""
    tl.store(number, 1.0)


def whole(*tensors: Tensor) -> tuple[Tensor, ...]:
    """The tensors in contiguous memory, without a copy where they are."""
    return tuple(tensor.detach().contiguous() for tensor in tensors)


def on_device_of(tensor: Tensor) -> Any:
    """Starts programs on the device of a tensor, which need not be the current one."""
    return torch.cuda.device(tensor.device) if tensor.is_cuda else nullcontext()
