"""Fixtures for every test: where the material lies, seeded randomness, devices and element types."""

from __future__ import annotations

import importlib.util
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch

if TYPE_CHECKING:
    # Machines with a card may lack what the command line needs
    from typer.testing import Result

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared"


def pytest_configure(config: pytest.Config) -> None:
    """One share of the processor per pytest-xdist worker, and float32 products that are really float32."""
    if importlib.util.find_spec("clnf_torch.converters") is None:
        raise pytest.UsageError("clnf_torch.converters is not installed: run make test, or pip install --editable .")
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    torch.set_num_threads(max(1, (os.cpu_count() or 1) // workers))
    torch.set_float32_matmul_precision("highest")


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of OpenFace models, images and golden values that lies beside the repository."""
    if not SHARED.is_dir():
        pytest.skip("no ../shared: put the folder of OpenFace models and golden values beside the repository")
    return SHARED


@pytest.fixture(scope="session")
def openface_models(shared: Path) -> Path:
    """OpenFace's model directory, whose licence keeps it out of the repository."""
    folder = shared / "models" / "openface"
    if not folder.is_dir():
        pytest.skip("no ../shared/models/openface: copy an OpenFace 2.2 model directory there")
    return folder


@pytest.fixture(scope="session")
def golden_dir() -> Path:
    """Golden values and the free model that belong to the repository; always there."""
    return ROOT / "tests" / "golden"


@pytest.fixture(scope="session")
def free_model(golden_dir: Path) -> Path:
    """The folder of the free model and its image."""
    return golden_dir / "free_model"


@pytest.fixture(scope="session")
def image(free_model: Path) -> Path:
    """The free model's image."""
    return free_model / "image.png"


@pytest.fixture(scope="session")
def box(free_model: Path) -> list[float]:
    """The face in it."""
    return json.loads((free_model / "boxes.json").read_text())["image.png"][0]


@pytest.fixture(scope="session")
def bundle(free_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The free model, converted; its terms are not OpenFace's, so that no command mentions them."""
    from clnf_torch.converters import convert
    from clnf_torch.files.archive import save_archive
    from clnf_torch.models.bundle import load_bundle

    folder = tmp_path_factory.mktemp("bundle")
    convert(free_model, folder / "converted.pt")
    save_archive({**load_bundle(folder / "converted.pt"), "licence": "MIT"}, folder / "free.pt")
    return folder / "free.pt"


@pytest.fixture(scope="session")
def clnf_torch_cli() -> Callable[..., Result]:
    """Runs the program in this process with the given words."""
    from typer.testing import CliRunner

    from clnf_torch.cli.main import app

    return lambda *words: CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture
def rng() -> torch.Generator:
    """Random numbers that are the same in every run; draw on the CPU, then move."""
    return torch.Generator().manual_seed(68)


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.cuda)])
def device(request: pytest.FixtureRequest) -> torch.device:
    """Every device there is: the CPU always, CUDA where this machine has it."""
    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device on this machine")
    return torch.device(request.param)


@pytest.fixture(params=[torch.float32, torch.float64], ids=["float32", "float64"])
def dtype(request: pytest.FixtureRequest) -> torch.dtype:
    """Both element types that the runtime computes in."""
    return request.param
