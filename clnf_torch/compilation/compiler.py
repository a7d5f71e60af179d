"""How loops are compiled: once for a machine and a version of these files, and kept on disk for later programs."""

import hashlib
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numba import config, njit

from clnf_torch.compilation.cache import user_cache

# Where functions and constants of loops are
PARTS = ("compilation", "geometry", "models", "fitting", "tracking/kernels", "export/kernels", "measures/kernels")
# numba knows the types
Array: TypeAlias = Any
Arrays: TypeAlias = Any
f32 = np.float32
# As written, wherever a function is called from: what is not said here, numba takes from the loop in whose compilation
# it meets the function first, and keeps on disk for all others. Inside the loops that call them, functions are faster:
# MTCNN's by an eighth
EXACT: dict[str, Any] = {"nogil": True, "error_model": "numpy", "fastmath": False, "forceinline": True}
# Sums may be taken in any order and products fused; infinities and NaNs stay what they are. The order is the compiler's
# choice, made anew for each copy of a function: with a single copy, inside the loop that calls it, the process that
# compiles a loop rounds as those that find it on disk.
REORDERED: dict[str, Any] = {**EXACT, "fastmath": {"contract", "reassoc", "nsz"}}

_one_at_a_time = threading.Lock()


@cache
def _folder() -> str:
    """Where what is compiled is kept: a folder for the content of the files that functions and constants come from.

    numba looks at the file of a function alone, and would go on with those of other files as they were.
    """
    package = Path(__file__).parents[1]
    files = sorted(file for part in PARTS for file in (package / part).rglob("*.py"))
    content = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:16]
    given = getattr(config, "CACHE_DIR", "")
    root = Path(given) if given else user_cache() / "clnf_torch"
    return str(root / f"kernels-{content}")


@contextmanager
def _cache() -> Iterator[None]:
    """Lets numba keep what is compiled in `_folder`."""
    settings: Any = config
    # One thread's word for the setting must not be what another one goes back to
    with _one_at_a_time:
        before, settings.CACHE_DIR = settings.CACHE_DIR, _folder()
        try:
            yield
        finally:
            settings.CACHE_DIR = before


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function as a compiled loop whose sums may be taken in any order."""
    return _compiled(function, REORDERED)


def compiled_exactly(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function as a compiled loop that rounds as it is written."""
    return _compiled(function, EXACT)


def inlined(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function as part of the compiled loops that call it, which know its arguments where those are constants."""
    own: Callable[..., Any] = njit(inline="always")(function)
    return own


def _compiled(function: Callable[..., Any], options: dict[str, Any]) -> Callable[..., Any]:
    """A function compiled when it is first called; kept only where there is a place to write to."""
    try:
        with _cache():
            return njit(cache=True, **options)(function)
    except (RuntimeError, OSError):
        return njit(**options)(function)
