"""Whether Triton's programs can run on a card, and how they are started there."""

from contextlib import nullcontext
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from clnf_torch.compilation.conditions import in_a_line, warn_once

# Of Triton; earlier ones do not know tuples
LEAST_VERSION = (3, 3)
# Of NVIDIA's cards with TF32 and bfloat16: those since 2020
LEAST_CAPABILITY = (8, 0)
# Triton multiplies matrices whose sides are at least so long
LEAST_SIDE = 16


def works(device: torch.device) -> bool:
    """Whether programs can be compiled and started on a device; a warning is logged once where they cannot."""
    if reason := obstacle(device):
        warn_once(f"Triton's programs do not start on {device}, and slower operations of torch run instead: {reason}")
    return not reason


def obstacle(device: torch.device) -> str:
    """Why programs cannot be compiled and started on a device, in one line; empty where they can.

    Triton needs a C compiler, and a card that it knows.
    """
    if tuple(map(int, triton.__version__.split(".")[:2])) < LEAST_VERSION:
        return f"Triton {triton.__version__} is older than {'.'.join(map(str, LEAST_VERSION))}"
    try:
        number = torch.zeros(1, device=device, dtype=torch.float32)
        with on_device_of(number):
            _trial[(1,)](number, enable_fp_fusion=True)
    # Compilers and drivers have errors of their own; whatever they are, the torch forms run
    except Exception as error:
        return in_a_line(error)
    return ""


def has_tensor_cores(device: torch.device, shared: int) -> bool:
    """Whether a card multiplies TF32 and bfloat16, and gives a program so many bytes of shared memory.

    Triton compiles for cards that lack either, and raises when the program is to be started.
    """
    if torch.cuda.get_device_capability(device) < LEAST_CAPABILITY:
        return False
    return bool(shared_memory(device) >= shared)


def shared_memory(device: torch.device) -> int:
    """Bytes of shared memory that a card gives a program at most."""
    number = torch.cuda.current_device() if device.index is None else device.index
    return int(triton.runtime.driver.active.utils.get_device_properties(number)["max_shared_mem"])


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
