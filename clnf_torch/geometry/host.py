"""The host and its devices: which are there, and whether the host may look at numbers, for which a card would wait."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor

_UNREAD = ContextVar("unread", default=False)


def is_readable(tensor: Tensor) -> bool:
    """Whether Python can read the tensor at once: it is in the processor's memory, and not traced, nor one of many.

    A compiler traces a call, and ``torch.vmap`` has many of a tensor. Elsewhere the same is computed with masks over
    everything that there might be.
    """
    there = tensor.device.type == "cpu" and not torch.compiler.is_compiling() and not _UNREAD.get()
    return there and not is_batched(tensor)


def is_batched(tensor: Tensor) -> bool:
    """Whether a tensor stands for many in ``torch.vmap``, also within ``torch.func.grad`` and its like."""
    functorch = torch._C._functorch
    while functorch.is_functorch_wrapped_tensor(tensor):
        if functorch.is_batchedtensor(tensor):
            return True
        tensor = functorch.get_unwrapped(tensor)
    return False


def require_device(device: torch.device | str) -> torch.device:
    """A device that is there.

    Raises:
        ValueError: There is none of that name, or it is not available.
    """
    try:
        found = torch.device(device)
    except RuntimeError:
        raise ValueError(f"device is {device!r}; give cpu, cuda, cuda:1, ...") from None
    try:
        torch.empty(0, device=found, dtype=torch.float32)
    # AssertionError: this torch was built without it
    except (RuntimeError, AssertionError) as error:
        # Torch lists all that it could do instead
        reason = re.split(r"\. |\n", str(error), maxsplit=1)[0]
        raise ValueError(f"device {found}: not available: {reason}") from None
    return found


@contextmanager
def unread() -> Iterator[None]:
    """Within it nothing is read on the processor either, so that a call does what it would do on a card."""
    token = _UNREAD.set(True)
    try:
        yield
    finally:
        _UNREAD.reset(token)
