"""CUDA cards that the processor simulates: tensors with numbers that say they are on a card, for machines without one.

Unlike those of the meta device their numbers can be read, so that detection, tracking and repair run to their ends, and
`is_cuda` and ``device.type == "cuda"`` are true. Unlike real ones they have no streams and no backward pass:
torch asks a driver for these. (Torch's own `FakeTensorMode` cannot index its CUDA tensors in builds for the
CPU alone, and has no numbers.)
"""

from __future__ import annotations

import ctypes
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar
from unittest.mock import patch

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

from tests.transfers import COPIES, READS, _by_mask

# Numbers of device types in c10, and how many of them its table of guards has at least
CUDA, META, TYPES = 1, 14, 20
MEMORY = 1 << 34


class OnCard(Tensor):
    """A tensor that says that it is on a card; its numbers are the processor's."""

    numbers: Tensor

    @staticmethod
    def __new__(cls, numbers: Tensor, device: torch.device) -> OnCard:
        place = {"strides": numbers.stride(), "storage_offset": numbers.storage_offset()}
        made = Tensor._make_wrapper_subclass(cls, numbers.size(), **place, dtype=numbers.dtype, device=device)
        made.numbers = numbers
        return made

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return _run(func, args, kwargs or {})

    def __repr__(self, **_: Any) -> str:
        return f"OnCard({self.numbers}, {self.device})"

    def __deepcopy__(self, memo: dict[int, Any]) -> OnCard:
        # Torch's would ask a driver for memory
        made = memo[id(self)] = OnCard(self.numbers.clone(), self.device)
        if isinstance(self, torch.nn.Parameter):
            made._is_param = True
        return made

    def tolist(self) -> Any:
        SimulatedCards.reads["tolist"] += 1
        return self.numbers.tolist()

    def data_ptr(self) -> int:
        return self.numbers.data_ptr()

    def numpy(self, **_: Any) -> Any:
        raise TypeError("can't convert a tensor on a card to numpy; use Tensor.cpu()")

    __array__ = numpy


class SimulatedCards(TorchDispatchMode):
    """Within it tensors may be made on cards.

    Attributes:
        reads: What the host waited for, by operation.
    """

    reads: ClassVar[Counter[str]] = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return _run(func, args, kwargs or {})


def _run(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """An operation, done by the processor; refused where a card could not."""
    name = func.overloadpacket.__name__
    tensors = [value for value in tree_flatten((args, kwargs))[0] if isinstance(value, Tensor)]
    cards = [value for value in tensors if isinstance(value, OnCard)]
    if cards and name not in COPIES:
        _require_one_device(func, tensors)
    place, kwargs = _place(name, args, cards, dict(kwargs))
    SimulatedCards.reads[name] += bool(cards) and (
        name in READS or _by_mask(name, args) or _goes_home(name, args, place)
    )
    given = tree_map(lambda value: value.numbers if isinstance(value, OnCard) else value, (args, kwargs))
    found = func(*given[0], **given[1])
    if place is None or place.type != "cuda":
        return found
    # What was changed in place is what was given
    known = {id(value.numbers): value for value in cards}

    def placed(value: Any) -> Any:
        if type(value) is not Tensor:
            return value
        return known[id(value)] if id(value) in known else OnCard(value, place)

    return tree_map(placed, found)


def _require_one_device(func: Any, tensors: list[Tensor]) -> None:
    """Single numbers of the host may go with a card's tensors; nothing else may be elsewhere."""
    devices = {value.device for value in tensors if value.ndim or isinstance(value, OnCard)}
    if len(devices) > 1:
        raise RuntimeError(f"{func}: expected all tensors on the same device, found {sorted(map(str, devices))}")


def _place(name: str, args: Any, cards: list[OnCard], kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Where the result is, None for no device in particular; and the arguments without it."""
    kwargs.pop("pin_memory", None)
    if kwargs.get("device") is None:
        first = args[0] if name == "copy_" else next(iter(cards), None)
        return (first.device if isinstance(first, Tensor) else None), kwargs
    device = torch.device(kwargs["device"])
    # Without a driver torch takes a card without a number for the device of the guard
    if device.type in ("cuda", "meta"):
        return torch.device("cuda", device.index or 0), {**kwargs, "device": torch.device("cpu")}
    return device, kwargs


def _goes_home(name: str, args: Any, place: torch.device | None) -> bool:
    """Whether a copy is one to the host."""
    source = args[1] if name == "copy_" else args[0]
    home = place is not None and place.type == "cpu"
    return name in COPIES and isinstance(source, OnCard) and home


@contextmanager
def simulated_cards() -> Iterator[SimulatedCards]:
    """Cards ``cuda:0``, ``cuda:1`` ... while the context lasts; nothing records gradients."""
    card = SimpleNamespace(total_memory=MEMORY, major=9, minor=0)
    stand_ins = {
        "_lazy_init": lambda: None,
        "device": lambda device: nullcontext(),
        "get_device_properties": lambda device: card,
        "is_current_stream_capturing": lambda: False,
        "mem_get_info": lambda device: (MEMORY, MEMORY),
        "memory_reserved": lambda device: 0,
        "memory_allocated": lambda device: 0,
        "is_bf16_supported": lambda *_: True,
    }
    modules = torch.__future__
    before = modules.get_overwrite_module_params_on_conversion()
    # Else the weights of modules become tensors of a real card
    modules.set_overwrite_module_params_on_conversion(True)
    # Else ``torch.tensor`` makes them before anybody is asked
    torch._C._set_only_lift_cpu_tensors(True)
    SimulatedCards.reads.clear()
    try:
        # Else autocast is not to be had
        able = patch("torch.cuda.amp.common.amp_definitely_not_available", lambda: False)
        # Else operations that are made of others arrive whole, and tensors of other classes have no versions
        inferring = patch("torch._C._InferenceMode", lambda mode: nullcontext())
        with (
            _guarded(),
            able,
            inferring,
            patch.multiple(torch.cuda, **stand_ins),
            torch.no_grad(),
            SimulatedCards() as cards,
        ):
            yield cards
    finally:
        torch._C._set_only_lift_cpu_tensors(False)
        modules.set_overwrite_module_params_on_conversion(before)


@contextmanager
def _guarded() -> Iterator[None]:
    """Builds for the CPU alone have no guard for cards, which indexing asks for; the meta device's does nothing."""
    library = ctypes.CDLL(str(Path(torch.__file__).parent / "lib" / "libc10.so"))
    guards = (ctypes.c_void_p * TYPES).in_dll(library, "_ZN3c104impl26device_guard_impl_registryE")
    before = guards[CUDA]
    guards[CUDA] = guards[META]
    try:
        yield
    finally:
        guards[CUDA] = before


def missing() -> str:
    """Why cards cannot be simulated here; empty where they can."""
    if torch.backends.cuda.is_built():
        return "this torch is built for real cards"
    known = hasattr(torch._C, "_set_only_lift_cpu_tensors")
    return "" if known and (Path(torch.__file__).parent / "lib" / "libc10.so").exists() else "torch is another one"
