"""When compiled kernels may stand in for torch operations, which define what is computed."""

import os
from functools import cache
from importlib import import_module
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

# Set to 0 for the torch forms everywhere
SWITCH = "CLNF_TORCH_COMPILED"


@cache
def load_kernels(module: str) -> Any:
    """A module of kernels by its name; None where what compiles them is not installed, or they are not wanted."""
    if os.environ.get(SWITCH) == "0":
        return None
    try:
        return import_module(module)
    except ImportError:
        return None


def transformed() -> bool:
    """Whether something traces or transforms operations: `torch.compile`, `torch.func`, forward-mode gradients."""
    traced = torch.compiler.is_compiling() or torch._C._functorch.peek_interpreter_stack() is not None
    return traced or forward_ad._current_level >= 0


def plain_numbers(*tensors: Tensor) -> bool:
    """Whether tensors are float32 on one kind of device, and nothing records, traces or transforms operations on them.

    What does so: gradients, `torch.compile`, `torch.func`.
    """
    if transformed():
        return False
    recorded = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)
    kind = tensors[0].device.type
    return not recorded and all(tensor.device.type == kind and tensor.dtype == torch.float32 for tensor in tensors)
