"""Whether the host may look at numbers, to do less where there is less to do: a card would have to wait for it."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor

_UNREAD = ContextVar("unread", default=False)


def is_readable(tensor: Tensor) -> bool:
    """Whether Python can read the tensor at once: it is in the processor's memory, and no compiler traces the call.

    Elsewhere the same is computed with masks over everything that there might be.
    """
    return tensor.device.type == "cpu" and not torch.compiler.is_compiling() and not _UNREAD.get()


@contextmanager
def unread() -> Iterator[None]:
    """Within it nothing is read on the processor either, so that a call does what it would do on a card."""
    token = _UNREAD.set(True)
    try:
        yield
    finally:
        _UNREAD.reset(token)
