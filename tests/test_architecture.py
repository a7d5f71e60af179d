"""Imports point down: every import of the house is read with ``ast``, and its floors are compared."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

# One entry per floor, lowest first; wings that share one do not see each other. "door" is clnf_torch/__init__.py.
FLOORS = (
    {"compilation", "files"}, {"geometry"}, {"models"}, {"fitting"}, {"detection", "measures"}, {"pipeline"},
    {"pen_marks"}, {"tracking", "quality"}, {"door"}, {"export"}, {"training", "media"}, {"drawing"},
    {"report", "faces"}, {"distributed"}, {"cli"},
)  # fmt: skip
# The wings of the files that lie beside them; ``python -m clnf_torch`` is the command line
TOP = {"__init__": "door", "__main__": "cli"}
# What clnf_torch/__init__.py gives on when it is asked for; tests/test_import.py sees that it is not imported before
LAZY = {"faces"}
RUNTIME = {"torch", "clnf_torch"} | sys.stdlib_module_names  # all that the door and the floors below it may import


def floor(wing: str) -> int:
    """Number of the floor that a wing stands on."""
    return next(number for number, wings in enumerate(FLOORS) if wing in wings)


def wing_of(module: str) -> str:
    """``clnf_torch.models.pdm`` -> ``models``; a public name of ``clnf_torch`` -> ``door``."""
    word = [*module.split("."), "door"][1]
    return word if word in {"converters", "weights"}.union(*FLOORS) else "door"


def parsed(source: str) -> ast.Module:
    """The tree of a source; Python 3.11 counts the depth of all threads together, and fails where another parses."""
    try:
        return ast.parse(source)
    except SystemError:
        return ast.parse(source)


def imports(file: Path) -> Iterator[str]:
    """Dotted names that a file imports, wherever the statement stands; ``from a import b`` is ``a.b``."""
    for node in ast.walk(parsed(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ("." * node.level + f"{node.module or ''}.{alias.name}" for alias in node.names)


def fault(file: Path, wing: str, name: str) -> str | None:
    """What is wrong with one import of a file of a wing (or of ``converters``), or None."""
    package, target = name.split(".")[0], wing_of(name)
    if package in {"", "converters", "weights", "tests"}:
        return "write absolute imports, by the name that is installed"
    if wing == "converters":
        return "converters look into the house below the command line" if target == "cli" else None
    if package == "cv2" and wing != "drawing" and file.name != "images.py":
        return "only media/images.py and drawing/ import cv2"
    if package == "av" and not file.name.startswith("video") and file.name != "other_formats.py":
        return "only media/video*.py, media/other_formats.py and cli/videos/video_writer.py import av"
    if package in {"numba", "numpy", "triton", "llvmlite"} and (wing == "compilation" or "kernels" in file.parts):
        return None  # optional: without them the torch forms run
    if package != "clnf_torch":
        return None if package in RUNTIME or floor(wing) > floor("door") else "the runtime imports torch alone"
    if target in {"converters", "weights"}:
        return None if wing == "cli" else "only the command line looks out of the house"
    if wing == "door" and target in LAZY:
        return None
    if floor(target) > floor(wing):
        return "imports point down"
    return "wings of one floor do not see each other" if floor(target) == floor(wing) and target != wing else None


def faults(root: Path) -> list[str]:
    """One line for each import below a repository root that breaks a rule of the house."""
    found = []
    for file in sorted([*(root / "clnf_torch").rglob("*.py"), *(root / "converters").rglob("*.py")]):
        inside = file.relative_to(root).with_suffix("").parts
        wing = inside[0] if inside[0] == "converters" else TOP.get(inside[1], inside[1])
        for name in imports(file):
            if complaint := fault(file, wing, name):
                found.append(f"{'/'.join(inside)} imports {name}: {complaint}")
    return found


def arctangents(root: Path) -> list[str]:
    """Calls of torch's ``atan2`` outside geometry/rotation.py, whose `angle_of` rounds the same in any batch."""
    found = []
    for file in sorted((root / "clnf_torch").rglob("*.py")):
        # Compiled loops call that of C for each number by itself
        if "kernels" in file.parts or file.parts[-2:] == ("geometry", "rotation.py"):
            continue
        for node in ast.walk(parsed(file.read_text(encoding="utf-8"))):
            named = isinstance(node, ast.Attribute) and node.attr in {"atan2", "atan2_", "arctan2", "arctan2_"}
            if named and ast.unparse(node.value) not in {"math", "np"}:
                found.append(f"{file.name}:{node.lineno}: {ast.unparse(node)}; call angle_of of geometry/rotation.py")
    return found


def test_angles_are_those_of_any_batch():
    assert arctangents(ROOT) == []


@pytest.mark.parametrize("call", ["torch.atan2(y, x)", "y.atan2(x)", "torch.arctan2(y, x)", "y[0].abs().atan2_(x)"])
def test_an_angle_that_depends_on_its_batch_is_caught(tmp_path, call):
    path = tmp_path / "clnf_torch" / "measures" / "a.py"
    path.parent.mkdir(parents=True)
    path.write_text(f"import math\nimport torch\nmath.atan2(1, 2)\nz = {call}\n")
    (found,) = arctangents(tmp_path)
    assert found.startswith("a.py:4: ")


def test_every_import_points_down():
    assert faults(ROOT) == []


def test_every_wing_has_a_floor():
    wings = {path.stem for path in (ROOT / "clnf_torch").iterdir() if path.suffix in {"", ".py"}}
    assert wings - {*TOP, "__pycache__"} <= set().union(*FLOORS)


@pytest.mark.parametrize(
    ("file", "statement", "complaint"),
    [
        ("geometry/a.py", "from clnf_torch.models.pdm import PDM", "imports point down"),
        ("models/a.py", "import clnf_torch.pipeline", "imports point down"),
        ("fitting/a.py", "def f():\n    from clnf_torch import load", "imports point down"),
        ("__init__.py", "from clnf_torch.cli.main import app", "imports point down"),
        ("measures/a.py", "from clnf_torch.detection import faces", "wings of one floor"),
        ("pipeline.py", "import numpy as np", "torch alone"),
        ("models/bundle.py", "from clnf_torch.converters import convert", "only the command line"),
        ("geometry/a.py", "from . import rotation", "absolute imports"),
        ("cli/commands/detect.py", "import converters.openface", "absolute imports"),
        ("cli/commands/detect.py", "import cv2", "only media/images.py and drawing/"),
        ("cli/commands/track.py", "import av", "only media/video*.py, "),
    ],
)
def test_a_wrong_import_is_caught(tmp_path, file, statement, complaint):
    path = tmp_path / "clnf_torch" / file
    path.parent.mkdir(parents=True)
    path.write_text(statement)
    (found,) = faults(tmp_path)
    assert complaint in found


@pytest.mark.parametrize(
    ("file", "statement"),
    [
        ("fitting/a.py", "import math\nimport torch\nfrom clnf_torch.geometry import rotation"),
        ("fitting/a.py", "from clnf_torch.fitting.b import c"),
        ("__init__.py", "from clnf_torch.pipeline import LandmarkDetector"),
        ("__init__.py", "from clnf_torch.faces import detect"),
        ("media/images.py", "import cv2\nimport clnf_torch"),
        ("drawing/canvas.py", "import cv2"),
        ("cli/a.py", "from clnf_torch.converters import convert\nfrom clnf_torch.media.images import read_image"),
    ],
)
def test_a_right_import_passes(tmp_path, file, statement):
    path = tmp_path / "clnf_torch" / file
    path.parent.mkdir(parents=True)
    path.write_text(statement)
    assert faults(tmp_path) == []
