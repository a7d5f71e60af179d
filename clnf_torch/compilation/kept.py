"""What compiled loops make of a module's numbers once, and keep: transposed or packed copies."""

from collections.abc import Callable, Iterable
from typing import Any, Generic, NamedTuple, TypeVar
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor, nn

Made = TypeVar("Made")
# Numbers of each tensor that are looked at in every call
SAMPLES = 8


class Numbers:
    """Tensors as they were, told by identity, place in memory, version, and on the CPU by a few of their numbers.

    The numbers tell what versions do not: changes through ``.data``, and those of tensors of inference mode. Such a
    change is missed where it leaves all of them as they were, or is on another device, where a look would be a wait.
    """

    def __init__(self, tensors: Iterable[Tensor]) -> None:
        self._tensors = tuple(tensors)  # held, so that no other tensor gets their identity or place
        self._stamp = _stamp(self._tensors)
        self._samples = [_samples(values) for values in self._tensors if values.device.type == "cpu" and values.numel()]
        self._seen = self._look()

    def are(self, tensors: Iterable[Tensor]) -> bool:
        """Whether these are the tensors, and have not changed."""
        return self._stamp == _stamp(tensors) and self._seen == self._look()

    def _look(self) -> bytes:
        """The sampled numbers as they are now; bytes, so that NaN is equal to itself."""
        return np.concatenate(self._samples).tobytes() if self._samples else b""


def _stamp(tensors: Iterable[Tensor]) -> tuple[tuple[int, int, int], ...]:
    """Identity, place in memory and version of each tensor."""
    return tuple((id(p), p.data_ptr(), 0 if p.is_inference() else p._version) for p in tensors)


def _samples(values: Tensor) -> "np.ndarray[Any, Any]":
    """A view of some numbers of a tensor, evenly strided in memory."""
    values = values.detach()
    # numpy has no bfloat16
    array = (values.view(torch.int16) if values.dtype == torch.bfloat16 else values).numpy()
    flat = array.ravel(order="K")
    if not np.shares_memory(flat, array):
        # A slice of a larger tensor, along no single stride
        flat = array[(slice(1),) * array.ndim].reshape(-1)
    return flat[:: -(-flat.size // SAMPLES)]


class Kept(Generic[Made]):
    """Something made of each module's numbers, made anew where they have changed.

    Args:
        make: Makes it of a module.
        sources: The tensors of a module that it depends on.
    """

    def __init__(self, make: Callable[[Any], Made], sources: Callable[[Any], Iterable[Tensor]]) -> None:
        self._make, self._sources = make, sources
        self._kept: WeakKeyDictionary[nn.Module, _Entry] = WeakKeyDictionary()

    def __call__(self, module: nn.Module) -> Made:
        """What was made of a module's numbers as they are."""
        sources = tuple(self._sources(module))
        entry = self._kept.get(module)
        if entry is None or not entry.numbers.are(sources):
            entry = self._kept[module] = _Entry(Numbers(sources), self._make(module))
        made: Made = entry.made
        return made


class _Entry(NamedTuple):
    """What was made of a module, and of which numbers."""

    numbers: Numbers
    made: Any
