"""A contributor: clones the repository, finds where a thing is, and adds a measure with its rules told in a line each.

Read from top to bottom. The clone is a copy of the package; what `make lint` and `make test` say is asked directly.
"""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from clnf_torch.measures.landmarks_3d import FittedShape
from tests.measures.heads import make_face
from tests.test_architecture import faults

ROOT = Path(__file__).resolve().parents[2]
MEASURE = '''"""How wide a mouth is."""

import torch
from torch import Tensor

from clnf_torch.geometry.landmarks68 import MOUTH_CORNERS
from clnf_torch.measures.landmarks_3d import FittedShape


def mouth_width(shape: FittedShape) -> Tensor:
    """Distance between the corners of the mouth.

    Args:
        shape: B faces of 68 landmarks.

    Returns:
        Millimetres, shape (B,).
    """
    left, right = shape.pdm.points(shape.params.local)[:, MOUTH_CORNERS].unbind(1)
    return torch.linalg.vector_norm(left - right, dim=-1)
'''


@pytest.fixture
def clone(tmp_path) -> Path:
    """The repository without its data."""
    for name in ("clnf_torch", "converters"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def ruff(clone: Path, file: Path) -> str:
    """What the linter says of a file of the clone."""
    program = Path(sys.executable).with_name("ruff")
    if not program.exists():
        pytest.skip("ruff is not installed: pip install -e '.[dev]'")
    done = subprocess.run(
        [program, "check", "--output-format", "concise", file], cwd=clone, capture_output=True, text=True
    )
    return done.stdout


def test_the_commands_that_are_promised_exist():
    promised = set(re.findall(r"^    make (\w+)", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"), re.MULTILINE))
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert promised >= {"demo", "lint", "test"} and promised <= targets


@pytest.mark.parametrize(
    ("word", "file"),
    [
        ("non-maximum suppression", "geometry/suppression.py"),
        ("one-euro", "tracking/smoothing.py"),
        ("point distribution model", "models/pdm.py"),
        ("similarity", "pipeline/alignment.py"),
        ("learning rate", "training/trainer.py"),
        ("perspective-n-point", "measures/pnp.py"),
    ],
)
def test_words_of_the_field_lead_to_the_file(word, file):
    assert word in (ROOT / "clnf_torch" / file).read_text(encoding="utf-8").lower()


def test_a_new_measure_keeps_the_rules_and_measures(clone):
    file = clone / "clnf_torch" / "measures" / "mouth_width.py"
    file.write_text(MEASURE)
    assert faults(clone) == [] and ruff(clone, file) == "All checks passed!\n"
    spec = importlib.util.spec_from_file_location("mouth_width", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    face = make_face(3)
    together = module.mouth_width(face)
    alone = FittedShape(face.pdm, face.params[1:2], face.landmarks[1:2])
    assert together.shape == (3,) and (together > 0).all()
    assert module.mouth_width(alone).item() == pytest.approx(together[1].item())


def test_what_breaks_a_rule_is_named_in_a_line(clone):
    file = clone / "clnf_torch" / "measures" / "mouth_width.py"
    file.write_text(MEASURE.replace("clnf_torch.geometry.landmarks68", "clnf_torch.tracking.config"))
    (line,) = faults(clone)
    assert line.startswith("clnf_torch/measures/mouth_width imports clnf_torch.tracking") and "point down" in line
    file.write_text(MEASURE.replace('"""How wide a mouth is."""\n', "import numpy\n"))
    (line,) = faults(clone)
    assert line.endswith("imports numpy: the runtime imports torch alone")
    assert "Missing docstring in public module" in ruff(clone, file)
