"""How loops are compiled: once for a machine and a version of these files, and kept on disk for later programs."""

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from numba import njit

from clnf_torch.compilation.loop_cache import LoopCache, tell_of_loops_not_kept

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
    """A function compiled when it is first called; kept only where there is a place for it."""
    loop: Any = njit(**options)(function)
    try:
        # As numba's `enable_caching` does, with a cache of ours
        loop._cache = LoopCache(function)
    except (RuntimeError, OSError) as error:
        tell_of_loops_not_kept(error)
    own: Callable[..., Any] = loop
    return own
