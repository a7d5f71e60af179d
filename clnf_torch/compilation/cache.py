"""Where this user keeps what can be made again."""

import os
import sys
from pathlib import Path


def user_cache() -> Path:
    """The folder of this user for what can be made again.

    Raises:
        RuntimeError: Nothing says where it is: the user has no home.
    """
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base)
