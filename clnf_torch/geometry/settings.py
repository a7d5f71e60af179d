"""Checks that the fields of a settings record hold what their annotations say, and numbers that are finite."""

import math
from collections.abc import Callable
from dataclasses import fields
from functools import cache
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

import torch

# The types of a record's fields
_hints: Callable[[Any], dict[str, Any]] = cache(get_type_hints)
NAMES = {int: "a whole number", float: "a finite number", bool: "True or False", str: "a text", type(None): "None"}


def check_settings(settings: Any, infinite: bool = False) -> None:
    """Refuses values of another type than a settings record is for.

    Args:
        settings: A dataclass whose fields are numbers, flags, texts, tuples of them, or other objects.
        infinite: Whether infinity is a number: a threshold that nothing exceeds.

    Raises:
        ValueError: A field holds something else.
    """
    if torch.compiler.is_compiling():
        # What it traces has been called before, or is checked when it runs without a compiler
        return
    hints = _hints(type(settings))
    for field in fields(settings):
        value = getattr(settings, field.name)
        if not _fits(value, hints[field.name], infinite):
            raise ValueError(f"{field.name} is {str(value)[:60]!r}; expected {_named(hints[field.name])}")


def _fits(value: Any, kind: Any, infinite: bool) -> bool:
    """Whether a value is of a type; whole numbers are numbers too, flags are not."""
    if get_origin(kind) in (Union, UnionType):
        return any(_fits(value, one, infinite) for one in get_args(kind))
    if get_origin(kind) is tuple:
        kinds = get_args(kind)
        if not isinstance(value, tuple) or (kinds[-1] is not Ellipsis and len(value) != len(kinds)):
            return False
        return all(_fits(one, kinds[0], infinite) for one in value)
    if kind is float:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return number and not math.isnan(value) and (infinite or math.isfinite(value))
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, kind)


def _named(kind: Any) -> str:
    """A type in words."""
    if get_origin(kind) in (Union, UnionType):
        return " or ".join(dict.fromkeys(_named(one) for one in get_args(kind)))
    if get_origin(kind) is tuple:
        return f"a tuple, each of it {_named(get_args(kind)[0])}"
    return NAMES.get(kind, f"a {kind.__name__}")
