"""``import clnf_torch`` is silent and light, and offers the names it lists."""

from __future__ import annotations

import re
import subprocess
import sys

import clnf_torch

COMMAND_LINE = {"typer", "rich", "av", "cv2"}
WHEN_NEEDED = {"pyarrow", "matplotlib", "numba", "triton"}
HEAVY = {*COMMAND_LINE, *WHEN_NEEDED, "hypothesis", "pytest", "clnf_torch.cli", "clnf_torch.converters"}


def python(code: str) -> str:
    """Output of a fresh interpreter, warnings and standard error included."""
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def loaded_by(module: str) -> set[str]:
    """All modules that are loaded after a module is imported in a fresh interpreter."""
    return set(python(f"import sys, {module}; print(*sys.modules)").split())


def test_import_is_silent():
    assert python("import clnf_torch") == ""


def test_waiting_threads_sleep_unless_they_are_told_otherwise(monkeypatch):
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    assert python("import os, clnf_torch; print(os.environ['OMP_WAIT_POLICY'])") == "passive\n"
    monkeypatch.setenv("OMP_WAIT_POLICY", "active")
    assert python("import os, clnf_torch; print(os.environ['OMP_WAIT_POLICY'])") == "active\n"


def test_import_is_light():
    loaded = loaded_by("clnf_torch")
    assert "torch" in loaded
    assert loaded.isdisjoint(HEAVY)


def test_the_command_line_imports_its_libraries_and_the_rest_when_needed():
    loaded = loaded_by("clnf_torch.cli.main")
    assert loaded >= COMMAND_LINE
    assert loaded.isdisjoint(WHEN_NEEDED)


def test_import_brings_nothing_that_torch_does_not():
    packages = "{name.partition('.')[0] for name in sys.modules} - sys.stdlib_module_names"
    brought = python(f"import sys, torch; before = {packages}; import clnf_torch; print(*({packages}) - before)")
    assert brought.split() == ["clnf_torch"]


def test_public_names_are_there():
    assert {"load", "load_bundle", "BundleError"} <= set(clnf_torch.__all__)
    assert all(hasattr(clnf_torch, name) for name in clnf_torch.__all__)
    assert len(set(clnf_torch.__all__)) == len(clnf_torch.__all__)


def test_help_has_one_line_for_each_public_name():
    listed = re.findall(r"^    (\w+): \S.*\.$", clnf_torch.__doc__, re.MULTILINE)
    assert sorted(listed) == sorted(clnf_torch.__all__)


def test_converters_and_weights_are_imported_as_subpackages():
    assert python("import clnf_torch.converters, clnf_torch.weights; print('both')") == "both\n"
