"""What a campaign needs to know of a format of files, and the formats there are."""

from __future__ import annotations

import importlib
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.fuzz.mutations import mutate_bytes

# Modules of this package, each with a tuple FORMATS
MODULES = (
    "bundles",
    "checkpoints",
    "videos",
    "wheels",
    "openface",
    "images",
    "tables",
)


@dataclass(frozen=True, kw_only=True)
class Format:
    """A format of files.

    Attributes:
        name: Chosen by it on the command line.
        prepare: Writes intact files into an empty folder, and says which of them are to be damaged.
        use: Opens a damaged file, which stands in the place of an intact one, and uses what it accepts: a model fits
            a face. What must not come out of it is an ``AssertionError``.
        refusals: The errors that `use` may raise over a file, in one short line.
        mutate: Damages a file's content.
        share: Of the campaign's time, beside the others' shares.
    """

    name: str
    prepare: Callable[[Path], list[Path]]
    use: Callable[[Path], None]
    refusals: tuple[type[Exception], ...]
    mutate: Callable[[bytes, random.Random], bytes] = mutate_bytes
    share: float = 1.0

    @property
    def address(self) -> str:
        """The module that lists it, and its name: how a process finds it."""
        return f"{self.use.__module__}:{self.name}"


def format_at(address: str) -> Format:
    """The format of an `address`."""
    module, _, name = address.partition(":")
    return next(one for one in importlib.import_module(module).FORMATS if one.name == name)


def all_formats() -> dict[str, Format]:
    """The formats by their names."""
    found = [importlib.import_module(f"tests.fuzz.{module}").FORMATS for module in MODULES]
    return {one.name: one for formats in found for one in formats}
