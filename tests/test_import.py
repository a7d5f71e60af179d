"""``import clnf_torch`` is silent and light, and offers the names it lists."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

import clnf_torch

COMMAND_LINE = {"typer", "rich", "av", "cv2"}
WHEN_NEEDED = {"pyarrow", "matplotlib", "numba", "triton"}
WHEN_ASKED_FOR = {"clnf_torch.faces", "clnf_torch.media", "clnf_torch.export", "pandas", "PIL", "supervision"}
HEAVY = {
    *COMMAND_LINE,
    *WHEN_NEEDED,
    *WHEN_ASKED_FOR,
    "hypothesis",
    "pytest",
    "clnf_torch.cli",
    "clnf_torch.converters",
}


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
    assert "torch" not in loaded
    assert loaded.isdisjoint(HEAVY)


def test_what_is_asked_for_is_loaded():
    loaded = set(python("import sys, clnf_torch; clnf_torch.load, clnf_torch.tracking; print(*sys.modules)").split())
    assert loaded >= {"torch", "clnf_torch.pipeline", "clnf_torch.tracking.tracker"}
    assert loaded.isdisjoint(HEAVY)


def test_names_that_are_not_there_are_no_attributes():
    for name in ("no_such_name", "__main__", "_private"):
        with pytest.raises(AttributeError, match=f"has no attribute '{name}'"):
            getattr(clnf_torch, name)


def test_the_parser_is_built_without_what_the_commands_run():
    parser = "from clnf_torch.cli.main import app; import sys, typer; typer.main.get_command(app)"
    loaded = set(python(f"{parser}; print(*sys.modules)").split())
    assert "typer" in loaded
    assert loaded.isdisjoint({"torch", "numpy", "cv2", "av", *WHEN_NEEDED})
    assert {name for name in loaded if name.startswith("clnf_torch.cli.runs")} == set()


@pytest.mark.parametrize("words", ["--help", "--version", "detect --help", "track --help", "train cen --help"])
def test_help_and_version_load_no_torch(words):
    run = f"import sys; from clnf_torch.cli.main import app; app({words.split()}, standalone_mode=False)"
    *_, loaded = python(f"{run}; print('torch' in sys.modules)").splitlines()
    assert loaded == "False"


def test_tracking_loads_neither_training_nor_converters():
    loaded = loaded_by("clnf_torch.cli.runs.track")
    assert loaded >= {"av", "cv2", "clnf_torch.tracking"}
    assert loaded.isdisjoint(WHEN_NEEDED)
    assert not [name for name in loaded if name.startswith(("clnf_torch.training.", "clnf_torch.converters"))]


def test_import_brings_nothing_that_torch_does_not():
    packages = "{name.partition('.')[0] for name in sys.modules} - sys.stdlib_module_names"
    brought = python(f"import sys, torch; before = {packages}; import clnf_torch; print(*({packages}) - before)")
    assert brought.split() == ["clnf_torch"]


def test_public_names_are_there():
    assert {"load", "load_bundle", "BundleError"} <= set(clnf_torch.__all__)
    assert {"Face", "Intrinsics", "Problem", "adjacent_frames", "measure_faces"} <= set(clnf_torch.__all__)
    assert all(hasattr(clnf_torch, name) for name in clnf_torch.__all__)
    assert len(set(clnf_torch.__all__)) == len(clnf_torch.__all__)


def test_faces_are_measured_by_the_name_that_older_guides_import():
    from clnf_torch.export.face_rows import measure_faces

    assert measure_faces is clnf_torch.measure_faces


def test_every_public_name_has_a_home():
    homes = [name for names in clnf_torch._HOMES.values() for name in names]
    assert sorted(homes) == sorted(clnf_torch.__all__)


def test_names_that_are_imported_when_asked_for_are_listed_before():
    code = "import clnf_torch as c, sys; print('detect' in dir(c), 'cv2' in sys.modules, c.detect.__module__)"
    assert python(code) == "True False clnf_torch.faces.detection\n"


def test_help_has_one_line_for_each_public_name():
    listed = re.findall(r"^    (\w+): \S.*\.$", clnf_torch.__doc__, re.MULTILINE)
    assert sorted(listed) == sorted(clnf_torch.__all__)


def test_converters_and_weights_are_imported_as_subpackages():
    assert python("import clnf_torch.converters, clnf_torch.weights; print('both')") == "both\n"


def test_a_detector_is_the_landmark_detector_and_a_face_detector_is_called_so():
    """In every signature; functions that judge given landmarks take them first, the detector second."""
    import inspect

    import clnf_torch

    for function in (clnf_torch.detect, clnf_torch.track):
        assert "face_detector" in inspect.signature(function).parameters
    for name in clnf_torch.__all__:
        thing = getattr(clnf_torch, name)
        parameters = inspect.signature(thing).parameters if callable(thing) else {}
        if "detector" in parameters:
            assert "LandmarkDetector" in str(parameters["detector"].annotation), name
    for judge in (clnf_torch.check_landmark_quality, clnf_torch.repair_landmarks):
        assert list(inspect.signature(judge).parameters)[:4] == ["landmarks", "detector", "frames", "image_index"]
