"""What a call moves between the host and another device, counted by the names of its operations, without a GPU."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten

# Operations whose result, or its shape, the host waits for
READS = {
    "_local_scalar_dense", "nonzero", "is_nonzero", "equal", "bincount", "unique_dim", "_unique2", "masked_select",
    "unique_consecutive", "_linalg_check_errors",
}  # fmt: skip
# Methods that read a tensor on the CPU without any operation
READING_METHODS = {"tolist", "numpy", "cpu", "__array__"}
# Functions that make a tensor of the host's numbers
UPLOADS = {"tensor", "as_tensor", "asarray", "new_tensor", "from_numpy", "frombuffer", "sparse_coo_tensor"}
COPIES = {"_to_copy", "copy_"}
# Besides views of tensors: what a device does nothing for
NO_LAUNCH = {"empty", "empty_like", "empty_strided", "new_empty", "_unsafe_view", "lift_fresh", "detach"}


class CountDispatched(TorchDispatchMode):
    """Counts all operations, and those that copy to the host or to another device.

    Copies between devices are seen where there are two: the meta device stands for a GPU.
    """

    def __init__(self) -> None:
        super().__init__()
        self.operations: Counter[str] = Counter()
        self.launches: Counter[str] = Counter()
        self.to_host: Counter[str] = Counter()
        self.to_device: Counter[str] = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        self.operations[name] += 1
        self.launches[name] += not (func.is_view or name in NO_LAUNCH)
        self.to_host[name] += name in READS or _by_mask(name, args) or _repeats(func, kwargs or {})
        result = func(*args, **(kwargs or {}))
        if name in COPIES:
            # `copy_` gives its first argument back
            source = args[0] if name == "_to_copy" else args[1]
            if source.device.type != result.device.type:
                (self.to_host if result.device.type == "cpu" else self.to_device)[name] += 1
        return result


def _by_mask(name: str, args: tuple[Any, ...]) -> bool:
    """Whether an operation looks for the places of a mask."""
    return name in {"index", "index_put", "index_put_"} and any(
        index is not None and index.dtype in {torch.bool, torch.uint8} for index in args[1]
    )


def _repeats(func: Any, kwargs: dict[str, Any]) -> bool:
    """Whether an operation asks a tensor of counts for their sum."""
    return func is torch.ops.aten.repeat_interleave.Tensor and kwargs.get("output_size") is None


class CountCalls(TorchFunctionMode):
    """Counts the functions and methods that move numbers without any operation that a CPU would show."""

    def __init__(self) -> None:
        super().__init__()
        self.to_host: Counter[str] = Counter()
        self.to_device: Counter[str] = Counter()

    def __torch_function__(self, func, types, args=(), kwargs=None):
        name = getattr(func, "__name__", "")
        self.to_host[name] += name in READING_METHODS
        # `as_tensor` of a tensor is this tensor
        data = args[1:] if name == "new_tensor" else args
        given = next(iter(data), None)
        self.to_device[name] += name in UPLOADS and not (name != "tensor" and isinstance(given, torch.Tensor))
        if name in {"__getitem__", "__setitem__"}:
            index = args[1] if isinstance(args[1], tuple) else (args[1],)
            numbers = (isinstance(part, list | tuple) or hasattr(part, "__array_interface__") for part in index)
            self.to_device["index by a list"] += any(numbers)
        return func(*args, **(kwargs or {}))


class CountTransfers:
    """What happens inside a ``with``: all operations, and transfers in both directions.

    On CUDA each is a blocking copy (but for pinned memory). On the CPU any tensor made of the host's numbers counts as
    sent to a device, whether or not it is given one: where else would it go?

    Attributes:
        operations: How often each operation was dispatched; views of tensors too.
        launches: Likewise, without views and tensors that are only allocated: what a GPU is given to do.
        to_host: What copies from a device to the host, by function.
        to_device: What copies from the host to a device, by function.
    """

    def __init__(self) -> None:
        self._dispatched, self._calls, self._modes = CountDispatched(), CountCalls(), ExitStack()

    def __enter__(self) -> CountTransfers:
        self._modes.enter_context(self._dispatched)
        self._modes.enter_context(self._calls)
        return self

    def __exit__(self, *failure: object) -> None:
        self._modes.close()

    @property
    def operations(self) -> Counter[str]:
        return self._dispatched.operations

    @property
    def launches(self) -> Counter[str]:
        return +self._dispatched.launches

    @property
    def to_host(self) -> Counter[str]:
        return +(self._dispatched.to_host + self._calls.to_host)

    @property
    def to_device(self) -> Counter[str]:
        return +(self._dispatched.to_device + self._calls.to_device)


def count_transfers(run: Callable[[], object]) -> CountTransfers:
    """What the second of two calls does: whatever happens once happens in the first."""
    run()
    with CountTransfers() as counted:
        run()
    return counted


class OneDevice(TorchDispatchMode):
    """Refuses operations on tensors of two devices, copies between them and single numbers apart."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name, given = func.overloadpacket.__name__, tree_flatten((args, kwargs or {}))[0]
        tensors = [value for value in given if isinstance(value, torch.Tensor) and value.ndim > 0]
        if name not in COPIES and len({tensor.device for tensor in tensors}) > 1:
            raise AssertionError(f"{name} mixes {[tensor.device for tensor in tensors]}")
        return func(*args, **(kwargs or {}))
