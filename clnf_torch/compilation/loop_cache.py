"""Where compiled loops are kept on disk for later processes; what must be compiled anew is said before."""

import hashlib
from functools import cache
from pathlib import Path
from typing import Any

from numba import config
from numba.core import caching
from numba.core.caching import CompileResultCacheImpl, FunctionCache

from clnf_torch.compilation.cache import user_cache
from clnf_torch.compilation.conditions import in_a_line, warn_once

# Where functions and constants of loops are
PARTS = ("compilation", "geometry", "models", "fitting", "tracking/kernels", "export/kernels", "measures/kernels")
# numba's locator of a folder that is given; 0.60 has it under the second name
_NAMES = "UserProvidedCacheLocator", "_UserProvidedCacheLocator"
_Locator: Any = next(getattr(caching, name) for name in _NAMES if hasattr(caching, name))


@cache
def kernels_folder() -> Path:
    """Where what is compiled is kept: a folder for the content of the files that functions and constants come from.

    numba looks at the file of a function alone, and would go on with those of other files as they were.

    Raises:
        RuntimeError: This user has no home.
    """
    package = Path(__file__).parents[1]
    files = sorted(file for part in PARTS for file in (package / part).rglob("*.py"))
    content = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:16]
    given = getattr(config, "CACHE_DIR", "")
    root = Path(given) if given else user_cache() / "clnf_torch"
    return root / f"kernels-{content}"


def tell_of_loops_not_kept(error: Exception) -> None:
    """Warns that every process compiles anew, once in a process."""
    reason = getattr(error, "strerror", None) or in_a_line(error)
    warn_once(
        f"compiled loops cannot be kept ({reason}), and every process compiles them anew, which takes a minute or two; "
        "set NUMBA_CACHE_DIR to a folder that can be written to"
    )


class _Place(_Locator):  # type: ignore[misc,unused-ignore]
    """A function's place in `kernels_folder`; unlike numba's own it is also one where nothing can be written.

    So what others have compiled is read there, and numba takes no other place, whose name would not change with the
    content of all files.
    """

    def __init__(self, py_func: Any, py_file: str) -> None:
        super().__init__(py_func, py_file)
        self._cache_path = str(kernels_folder() / self.get_suitable_cache_subpath(py_file))

    @classmethod
    def from_function(cls, py_func: Any, py_file: str) -> "_Place":
        """The place of a function of a file."""
        return cls(py_func, py_file)


class _Contents(CompileResultCacheImpl):  # type: ignore[misc,unused-ignore]
    """What is kept of compiled functions, and where."""

    _locator_classes = [_Place]  # noqa: RUF012


class LoopCache(FunctionCache):  # type: ignore[misc,unused-ignore]
    """numba's cache of one function, whose faults end no fit.

    What cannot be read is compiled, and what cannot be kept is not.

    Raises:
        RuntimeError: There is no place for it.
        OSError: The file of the function cannot be read.
    """

    _impl_class = _Contents

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """What was compiled for types of arguments; None, after a warning, where it must be compiled."""
        try:
            found = super().load_overload(sig, target_context)
        # A disk that was full, or without power, leaves files cut short: unpickling them raises anything
        except Exception:
            found = None
            self._forget()
        # Processes that compile the function for two sets of types at once may give both results one name
        if found is None or tuple(found.signature.args) != tuple(sig):
            self._announce()
            return None
        return found

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keeps what was compiled, where that is possible."""
        try:
            super().save_overload(sig, data)
        except Exception as error:
            tell_of_loops_not_kept(error)

    def _forget(self) -> None:
        """Begins a new index of what is kept."""
        try:
            self.flush()
        except OSError as error:
            tell_of_loops_not_kept(error)

    def _announce(self) -> None:
        """Says that a minute or two of compiling begin, once in a process."""
        try:
            self._impl.locator.ensure_cache_path()
        except OSError as error:
            return tell_of_loops_not_kept(error)
        warn_once(
            "compiling loops for this processor, which takes a minute or two; they are kept for later processes in "
            f"{kernels_folder().parent}"
        )
