"""A bundle of the free model, its picture, and the program itself."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from clnf_torch.cli.main import app
from clnf_torch.converters import convert


@pytest.fixture(scope="session")
def free_model(golden_dir: Path) -> Path:
    """The folder of the free model and its picture."""
    return golden_dir / "free_model"


@pytest.fixture(scope="session")
def picture(free_model: Path) -> Path:
    """The free model's picture."""
    return free_model / "image.png"


@pytest.fixture(scope="session")
def box(free_model: Path) -> list[float]:
    """The face in it."""
    return json.loads((free_model / "boxes.json").read_text())["image.png"][0]


@pytest.fixture(scope="session")
def bundle(free_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The free model, converted."""
    path = tmp_path_factory.mktemp("bundle") / "free.pt"
    convert(free_model, path)
    return path


@pytest.fixture
def clnf_torch_cli() -> Callable[..., Result]:
    """Runs the program in this process with the given words."""
    return lambda *words: CliRunner().invoke(app, [str(word) for word in words])
