"""Makes a bare checkout importable, where the project could not be installed.

``clnf_torch.converters`` and ``clnf_torch.weights`` are folders beside ``clnf_torch/``; an installation maps them. This
module imports the standard library alone, so that it can run before anything else.
"""

import importlib.util
import sys
import types
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BESIDE = {"clnf_torch.converters": "converters", "clnf_torch.weights": "weights"}


def make_importable(root: Path = ROOT) -> None:
    """Lets ``clnf_torch``, both folders beside it, and ``tests`` be imported from a checkout."""
    if str(root) not in sys.path:
        sys.path.insert(0, str(root))
    _take_own_tests(root)
    for name, folder in BESIDE.items():
        if importlib.util.find_spec(name) is None:
            _load_package(name, root / folder)


def _take_own_tests(root: Path) -> None:
    """Some installed packages leave a ``tests`` package behind, which would hide the folder of that name."""
    if "tests" not in sys.modules:
        sys.modules["tests"] = types.ModuleType("tests")
        sys.modules["tests"].__path__ = [str(root / "tests")]


def _load_package(name: str, folder: Path) -> None:
    """Imports a folder as a package of that name."""
    spec = importlib.util.spec_from_file_location(
        name, folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    parent, _, child = name.rpartition(".")
    setattr(sys.modules[parent], child, module)
    spec.loader.exec_module(module)
