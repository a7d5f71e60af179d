"""Number types of geometry: those of its tensors, whatever surrounds a call; never less than float32."""

from collections.abc import Callable
from contextlib import ExitStack
from functools import wraps
from typing import ParamSpec, TypeVar

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
