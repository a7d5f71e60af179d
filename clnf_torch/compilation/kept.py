"""What compiled loops make of a module's numbers once, and keep: transposed or packed copies."""

from collections.abc import Callable, Iterable
from typing import Any, Generic, NamedTuple, TypeVar
from weakref import WeakKeyDictionary

from torch import Tensor, nn

Made = TypeVar("Made")
# Identity, place in memory and version of each tensor
Stamp = tuple[tuple[int, int, int], ...]


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
        sources = self._sources(module)
        stamp = tuple((id(p), p.data_ptr(), 0 if p.is_inference() else p._version) for p in sources)
        entry = self._kept.get(module)
        if entry is None or entry.stamp != stamp:
            entry = self._kept[module] = _Entry(stamp, self._make(module))
        made: Made = entry.made
        return made


class _Entry(NamedTuple):
    """What was made of a module, and of which numbers."""

    stamp: Stamp
    made: Any
