"""What the plain values and tensors of a file must be, said as data, and the check that they are."""

import contextlib
import dataclasses
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from clnf_torch.files.archive import LazyTensor

# Characters of a value that a message repeats
SHOWN = 40


@dataclass
class Context:
    """What is known while values are checked.

    Attributes:
        sizes: Lengths by the names that a schema gives them: the first array with such an axis says how long it is.
        verified: The numbers of tensors were looked at when the file was read, so that here only those of small
            tensors are, which are named in messages.
        left: Bytes that tensors may have in all, one by one: values that share their numbers are copied when modules
            are made of them.
    """

    sizes: dict[str, int]
    verified: bool = False
    left: list[float] = dataclasses.field(default_factory=lambda: [math.inf])

    def inner(self, **sizes: int) -> "Context":
        """For a value inside, whose sizes are forgotten with it."""
        return replace(self, sizes={**self.sizes, **sizes})

    def spend(self, tensor: Tensor, where: str) -> None:
        """Counts the bytes of a tensor."""
        self.left[0] -= tensor.numel() * tensor.dtype.itemsize
        if self.left[0] < 0:
            raise SchemaError(f"{where}: expected tensors of their own, found more numbers than the file has")


class SchemaError(ValueError):
    """A value is not what it should be; the message says where, what was expected, and what was found."""


class Schema(ABC):
    """What a value must be."""

    @abstractmethod
    def check(self, value: Any, where: str, context: Context) -> None:
        """Refuses a value.

        Args:
            value: The value.
            where: How it is reached, for messages.
            context: What is known already; new sizes are added.

        Raises:
            SchemaError: It is something else.
        """


def refuse(where: str, expected: str, value: Any) -> SchemaError:
    """The error that says what a value should have been."""
    return SchemaError(f"{where}: expected {expected}, found {found(value)}")


def found(value: Any) -> str:
    """A value in a few words, however large or deep it is."""
    if isinstance(value, (Tensor, LazyTensor)):
        return f"a tensor {tuple(value.shape)} of {str(value.dtype).removeprefix('torch.')}"
    if isinstance(value, (bool, float, type(None))):
        return repr(value)
    if isinstance(value, int):
        return repr(value) if abs(value) < 10**SHOWN else "a number of many digits"
    if isinstance(value, str):
        return repr(value[:SHOWN]) + ("..." if len(value) > SHOWN else "")
    if isinstance(value, (list, tuple, dict)):
        return f"a {type(value).__name__} of {len(value)}"
    return f"a {type(value).__name__}"


def field(record: dict[str, Any], name: str, where: str) -> Any:
    """A field that must be there."""
    if name not in record:
        raise SchemaError(f"{where}: expected a field {name!r}, found none")
    return record[name]


@dataclass(frozen=True)
class Number(Schema):
    """A number; whole numbers are taken for others too."""

    low: float
    high: float
    whole: bool = False

    def check(self, value: Any, where: str, context: Context) -> None:
        """See `Schema.check`."""
        right = type(value) is int or (type(value) is float and not self.whole)
        if not right or not self.low <= value <= self.high:
            kind = "a whole number" if self.whole else "a number"
            raise refuse(where, f"{kind} from {self.low:g} to {self.high:g}", value)


@dataclass(frozen=True)
class Text(Schema):
    """Words that can be shown: no control characters but line breaks."""

    longest: int = 1000

    def check(self, value: Any, where: str, context: Context) -> None:
        """See `Schema.check`."""
        if type(value) is not str or len(value) > self.longest:
            raise refuse(where, f"a text of at most {self.longest} characters", value)
        if not value.replace("\n", " ").replace("\t", " ").isprintable():
            raise SchemaError(f"{where}: expected a text, found one with characters that cannot be shown")


@dataclass(frozen=True)
class OneOf(Schema):
    """One of a few values."""

    known: tuple[Any, ...]

    def check(self, value: Any, where: str, context: Context) -> None:
        """See `Schema.check`."""
        if not isinstance(value, (str, bool, int, float, type(None))) or value not in self.known:
            raise refuse(where, " or ".join(map(repr, self.known)), value)


@dataclass(frozen=True)
class Maybe(Schema):
    """None, or something else."""

    inner: Schema

    def check(self, value: Any, where: str, context: Context) -> None:
        """See `Schema.check`."""
        if value is not None:
            self.inner.check(value, where, context)


@dataclass(frozen=True)
class Either(Schema):
    """One of several kinds of things; a message says what the last of them is."""

    kinds: tuple[Schema, ...]

    def check(self, value: Any, where: str, context: Context) -> None:
        """See `Schema.check`."""
        for kind in self.kinds[:-1]:
            with contextlib.suppress(SchemaError):
                return kind.check(value, where, context.inner())
        return self.kinds[-1].check(value, where, context)


@dataclass(frozen=True)
class Several(Schema):
    """A list of things of one kind."""

    inner: Schema
    least: int = 0
    most: int = 64

    def check(self, value: Any, where: str, context: Context) -> None:
        """See `Schema.check`; what each thing says about sizes is forgotten with it."""
        if not isinstance(value, (list, tuple)) or not self.least <= len(value) <= self.most:
            raise refuse(where, f"a list of {self.least} to {self.most}", value)
        for number, item in enumerate(value):
            self.inner.check(item, f"{where}[{number}]", context.inner())


@dataclass(frozen=True)
class Fields(Schema):
    """A dictionary; keys that are not named here are of no interest, or refused where it is closed."""

    required: Mapping[Any, Schema]
    optional: Mapping[Any, Schema] | None = None
    closed: bool = False

    def check(self, value: Any, where: str, context: Context) -> None:
        """See `Schema.check`; in the order of the fields, so that sizes come before those who refer to them."""
        if not isinstance(value, dict):
            raise refuse(where, f"a dictionary of {', '.join(map(str, self.required))}", value)
        for name, inner in self.required.items():
            if name not in value:
                raise SchemaError(f"{where}: expected a field {name!r}, found none")
            inner.check(value[name], f"{where}.{name}", context)
        if self.closed and len(value) > len(self.required):
            unknown = next(name for name in value if name not in self.required)
            raise SchemaError(f"{where}: expected {len(self.required)} fields, found another one, {found(unknown)}")
        for name, inner in (self.optional or {}).items():
            if name in value:
                inner.check(value[name], f"{where}.{name}", context)
