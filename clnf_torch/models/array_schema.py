"""What tensors must be, and values that hold them: number types, shapes, and ranges."""

import math
import sys
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from clnf_torch.files.archive import LARGEST, LazyTensor
from clnf_torch.files.archive_reader import FEW
from clnf_torch.models.schema import Context, Fields, OneOf, Schema, SchemaError, refuse

REAL = (torch.float64, torch.float32, torch.float16, torch.bfloat16)
WHOLE, TRUTH = (torch.int64,), (torch.bool,)


@dataclass(frozen=True, init=False)
class Array(Schema):
    """A tensor of finite numbers; of one that is not made yet, the shape and type alone are looked at.

    Args:
        *shape: Of each axis its length, or the name of one.
        dtypes: The number types it may have.
        low: The least number; with both infinite, any will do, and NaN.
        high: The largest.
        shortest: The least length of a named axis that was not known before.
        longest: The greatest.
    """

    shape: tuple[int | str, ...]
    dtypes: tuple[torch.dtype, ...]
    low: float
    high: float
    shortest: int
    longest: int

    def __init__(
        self,
        *shape: int | str,
        dtypes: tuple[torch.dtype, ...] = REAL,
        low: float = -LARGEST,
        high: float = LARGEST,
        shortest: int = 1,
        longest: int = 1 << 24,
    ) -> None:
        values = {"shape": shape, "dtypes": dtypes, "low": low, "high": high}
        values |= {"shortest": shortest, "longest": longest}
        for name, value in values.items():
            object.__setattr__(self, name, value)

    def check(self, value: Any, where: str, context: Context) -> None:
        """See `Schema.check`."""
        if not isinstance(value, (Tensor, LazyTensor)):
            raise refuse(where, self._expected(context.sizes), value)
        if len(value.shape) != len(self.shape) or value.dtype not in self.dtypes:
            raise refuse(where, self._expected(context.sizes), value)
        self._check_lengths(value, where, context)
        if isinstance(value, Tensor):
            self._check_numbers(value, where, context)

    def _check_lengths(self, value: Tensor | LazyTensor, where: str, context: Context) -> None:
        """Refuses other shapes."""
        for axis, length in zip(self.shape, value.shape, strict=True):
            own = min(max(length, self.shortest), self.longest)
            known = context.sizes.setdefault(axis, own) if isinstance(axis, str) else axis
            if known != length:
                raise refuse(where, self._expected(context.sizes), value)

    def _check_numbers(self, value: Tensor, where: str, context: Context) -> None:
        """Refuses numbers outside of the range, and tensors that have none."""
        if value.layout != torch.strided or value.device.type == "meta" or value.is_quantized:
            raise SchemaError(f"{where}: expected a tensor with all of its numbers, found one without")
        context.spend(value, where)
        if self.low == self.high == math.inf or (
            context.verified and value.numel() > FEW and value.is_floating_point()
        ):
            return
        low, high = bounds(value)
        if not (self.low <= low and high <= self.high):
            raise SchemaError(
                f"{where}: expected numbers from {self.low:g} to {self.high:g}, found {low:g} to {high:g}"
            )

    def _expected(self, sizes: dict[str, int]) -> str:
        """The tensor it should be, in words."""
        lengths = (str(sizes.get(axis, axis) if isinstance(axis, str) else axis) for axis in self.shape)
        kinds = " or ".join(str(dtype).removeprefix("torch.") for dtype in self.dtypes)
        return f"a tensor ({', '.join(lengths)}) of {kinds}"


def any_numbers(*shape: int | str, dtypes: tuple[torch.dtype, ...] = REAL) -> Array:
    """A tensor of any numbers, and NaN."""
    return Array(*shape, dtypes=dtypes, low=math.inf, high=math.inf)


def like(value: Any) -> Schema:
    """What is built as a value is: equal keys and lengths, tensors of equal shape and type with any finite numbers."""
    if isinstance(value, Tensor):
        if value.dtype == torch.bool:
            return Array(*value.shape, dtypes=TRUTH, low=0, high=1)
        low, high = (-LARGEST, LARGEST) if value.is_floating_point() else (-math.inf, sys.float_info.max)
        return Array(*value.shape, dtypes=(value.dtype,), low=low, high=high)
    if isinstance(value, dict):
        return Fields({key: like(inner) for key, inner in value.items()}, closed=True)
    if isinstance(value, (list, tuple)):
        return _Row(tuple(map(like, value)))
    return OneOf((value,))


@dataclass(frozen=True)
class _Row(Schema):
    """A list of things of their own kinds."""

    items: tuple[Schema, ...]

    def check(self, value: Any, where: str, context: Context) -> None:
        """See `Schema.check`."""
        if not isinstance(value, (list, tuple)) or len(value) != len(self.items):
            raise refuse(where, f"a list of {len(self.items)}", value)
        for number, (item, inner) in enumerate(zip(value, self.items, strict=True)):
            inner.check(item, f"{where}[{number}]", context)


def bounds(tensor: Tensor) -> tuple[float, float]:
    """The least and the greatest number; NaN where one is none, and infinities the wrong way round for no numbers."""
    if not tensor.numel():
        return math.inf, -math.inf
    # Of bool, any other byte than 0 and 1 is damage
    numbers = tensor.detach().view(torch.uint8) if tensor.dtype == torch.bool else tensor.detach()
    low, high = numbers.aminmax()
    return low.item(), high.item()
