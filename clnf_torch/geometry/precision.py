"""Number types: geometry's are those of its tensors, whatever surrounds a call; networks may round their products."""

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import wraps
from typing import Any, ParamSpec, TypeVar, cast

import torch
from torch import Tensor

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

# Pixels in the hundreds and angles in thousandths do not fit into their 8 to 11 bits
TOO_SHORT = (torch.float16, torch.bfloat16)
# That PyTorch's autocast may have been switched on for
DEVICE_TYPES = ("cpu", "cuda")


def without_autocast(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """The function, computed in its tensors' own number types inside ``torch.autocast`` too."""

    @wraps(function)
    def computed(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        with ExitStack() as stack:
            for kind in DEVICE_TYPES:
                if torch.is_autocast_enabled(kind):
                    stack.enter_context(torch.autocast(kind, enabled=False))
            return function(*args, **kwargs)

    return computed


def in_own_precision(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """As `without_autocast`, and with products of float32 that are not rounded, whatever torch's switches say."""
    computed = without_autocast(function)

    @wraps(function)
    def computed_in_full(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        with _float32_products("ieee"):
            return computed(*args, **kwargs)

    return computed_in_full


# What factors of float32 are rounded to in matrix products and convolutions: not at all; to TF32 (10 bits of 23), where
# the device has it; to bfloat16 (7 bits)
PRECISIONS = ("float32", "tf32", "bf16")


def check_precision(name: str) -> str:
    """The name of a precision.

    Raises:
        ValueError: There is no such precision.
    """
    if name not in PRECISIONS:
        raise ValueError(f"precision {name!r} is not known; choose one of {', '.join(map(repr, PRECISIONS))}")
    return name


@contextmanager
def products_in(precision: str, device: torch.device) -> Iterator[None]:
    """Matrix products and convolutions of float32 in one of `PRECISIONS`, whatever torch's switches say.

    In "bf16" they give bfloat16. On the CPU "tf32" is float32. The switches are as they were afterwards; they belong to
    the process, so that a thread which wants TF32 waits for those that do not, and these for it. `torch.compile` keeps
    those that it finds.
    """
    # Nobody waits for the CPU, which has no TF32
    with _float32_products("tf32" if precision == "tf32" and device.type == "cuda" else "ieee"):
        if precision == "bf16":
            with torch.autocast(device.type, torch.bfloat16):
                yield
        else:
            yield


@contextmanager
def _float32_products(kind: str) -> Iterator[None]:
    """Products of float32 as they are ("ieee"), or rounded to TF32 on CUDA ("tf32"), in this thread."""
    if torch.compiler.is_compiling():
        yield
        return
    # Of the thread that enters, should a generator around this block end in another one
    block, own = object(), _here.wanted
    own.kinds[block] = kind
    try:
        own.settle()
        yield
    finally:
        del own.kinds[block]
        own.settle()


class _Shared:
    """Torch's switches, shared by the threads that want the same of them; others wait until the last of these leaves.

    Who wants what the switches say enters even if others wait: a thread inside may need it to go on.
    """

    def __init__(self) -> None:
        self.used = False
        self._kind: str | None = None
        self._threads = 0
        self._left, self._set = threading.Condition(), ExitStack()

    def enter(self, kind: str) -> None:
        """Waits until the switches say so, or may be set."""
        with self._left:
            self._left.wait_for(lambda: self._kind in (None, kind))
            if self._kind is None:
                self._set.enter_context(_switches_set(kind))
            self.used, self._kind, self._threads = True, kind, self._threads + 1

    def leave(self) -> None:
        """Sets the switches as they were, unless another thread is inside."""
        with self._left:
            self._threads -= 1
            if not self._threads:
                self._kind = None
                self._set.close()
                self._left.notify_all()

    def forget_others(self, inside: bool) -> None:
        """In a forked process, which has none of the other threads: this one is inside, or nobody is."""
        self._left, self._threads = threading.Condition(), 1
        if not inside:
            self.leave()


class _Wanted:
    """What the blocks of a thread want, the innermost last, and which of it the thread has."""

    def __init__(self) -> None:
        self.kinds: dict[object, str] = {}
        self.held: str | None = None

    def settle(self) -> None:
        """Has what the innermost block wants.

        Whatever else the thread has it gives up first, and takes it back when the inner block ends: threads that wait
        for each other have nothing that the others wait for.
        """
        # To ask the switches takes as long as several operations
        if (wanted := next(reversed(self.kinds.values()), None)) == self.held:
            return
        if self.held is not None:
            self.held = None
            _shared.leave()
        if wanted is not None:
            _shared.enter(wanted)
            self.held = wanted


class _Here(threading.local):
    """What is each thread's own."""

    def __init__(self) -> None:
        self.wanted = _Wanted()


def _in_forked_process() -> None:
    """Forgets what belongs to threads that a forked process does not have."""
    _shared.forget_others(inside=_here.wanted.held is not None)
    # OpenMP would wait for ever for its threads to share what torch computes; with one thread it asks for none
    if _shared.used and torch.get_num_threads() > 1:
        torch.set_num_threads(1)


_shared, _here = _Shared(), _Here()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_forked_process)


@contextmanager
def _switches_set(kind: str) -> Iterator[None]:
    """The switches of the process, set for a while."""
    if not hasattr(torch.backends.cudnn, "conv"):
        with _set_before_2_9(kind):
            yield
        return
    # Some of torch's type stubs do not know them
    cuda, cudnn, onednn = (cast(Any, getattr(torch.backends, name)) for name in ("cuda", "cudnn", "mkldnn"))
    wanted = ((cuda.matmul, kind), (cudnn.conv, kind), (onednn.matmul, "ieee"), (onednn.conv, "ieee"))
    before = [(switch, switch.fp32_precision, own) for switch, own in wanted]
    changed = [(switch, found, own) for switch, found, own in before if not _is(found, own)]
    try:
        for switch, _, own in changed:
            switch.fp32_precision = own
        yield
    finally:
        for switch, found, _ in changed:
            _restore(switch, found)


@contextmanager
def _set_before_2_9(kind: str) -> Iterator[None]:
    """The switches that torch had before version 2.9, set for a while."""
    products, convolutions = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    torch.set_float32_matmul_precision("high" if kind == "tf32" else "highest")
    torch.backends.cudnn.allow_tf32 = kind == "tf32"
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(products)
        torch.backends.cudnn.allow_tf32 = convolutions


def _is(found: str, wanted: str) -> bool:
    """Whether a switch says what is wanted; "none" is "ieee", unless it follows another switch, whose word it is."""
    return (found == "tf32") == (wanted == "tf32") and found != "bf16"


def _restore(switch: Any, before: str) -> None:
    """Sets a library's switch to what it said; if it followed another one, it goes on to."""
    switch.fp32_precision = "none"
    if switch.fp32_precision != before:
        switch.fp32_precision = before


def refuse_short_numbers(change: Callable[[Tensor], Tensor], like: Tensor) -> None:
    """Refuses what ``Module.half`` and its like would do to a module.

    Args:
        change: What they apply to every tensor of the module.
        like: One of these tensors.

    Raises:
        ValueError: It would leave the module in float16 or bfloat16.
    """
    dtype = change(torch.empty_like(like[:0])).dtype
    if dtype in TOO_SHORT and like.dtype not in TOO_SHORT:
        raise ValueError(
            f"pixels and angles do not fit into {dtype}: leave the detector in float32, or use .double(); "
            "for weights of half the size convert the model with --half"
        )
