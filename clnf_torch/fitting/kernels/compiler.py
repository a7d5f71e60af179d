"""How loops are compiled: once for a machine and a version of these files, and kept on disk for later programs."""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numba import config, njit

# numba knows the types
Array: TypeAlias = Any
Arrays: TypeAlias = Any
f32 = np.float32
OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy"}
# Sums may be taken in any order and products fused; infinities and NaNs stay what they are
REORDERED: dict[str, Any] = {**OPTIONS, "fastmath": {"contract", "reassoc", "nsz"}}


@contextmanager
def _cache() -> Iterator[None]:
    """Keeps what is compiled in a folder of these files' own content.

    numba looks at the file of a function alone, and would go on with functions of other files as they were.
    """
    files = sorted(Path(__file__).parent.glob("*.py"))
    content = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:16]
    settings: Any = config
    before = settings.CACHE_DIR
    root = Path(before) if before else Path.home() / ".cache" / "clnf_torch"
    settings.CACHE_DIR = str(root / f"kernels-{content}")
    try:
        yield
    finally:
        settings.CACHE_DIR = before


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function as a compiled loop whose sums may be taken in any order."""
    return _compiled(function, REORDERED)


def compiled_exactly(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function as a compiled loop that rounds as it is written."""
    return _compiled(function, OPTIONS)


def _compiled(function: Callable[..., Any], options: dict[str, Any]) -> Callable[..., Any]:
    """A function compiled when it is first called; kept only where there is a place to write to."""
    with _cache():
        try:
            return njit(cache=True, **options)(function)
        except (RuntimeError, OSError):
            return njit(**options)(function)
