"""Golden files, converted models and images for the agreement tests, and the table of what was measured."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import pytest
import torch
from torch import Tensor

import clnf_torch
from clnf_torch import LandmarkDetector
from clnf_torch.converters import convert
from tests.agreement.golden import Golden
from tests.agreement.measure import FLIP, PROPERTY, Agreement, Measurement, table
from tests.agreement.photographs import Fit
from tests.agreement.searches import Search, searches

OPENFACE = {
    "standin": "main_ceclm_general.txt",
    "ccnf": "clnf_general.txt",  # of these the landmark model alone, without parts and validation
    "ccnf_wild": "clnf_wild.txt",
    "svr": "clm_general.txt",
    "ccnf_parts": "main_clnf_general.txt",
    "svr_parts": "main_clm_general.txt",
}  # descriptions in OpenFace's model directory
FREE = {"pdm", "responses", "fit", "fit_weighted"}  # golden files that are the repository's own


@pytest.fixture
def agree(record_property: Callable[[str, object], None]) -> Agreement:
    """Asserts agreement with OpenFace."""
    return Agreement(record_property)


@pytest.fixture(scope="session")
def golden(golden_dir: Path, request: pytest.FixtureRequest) -> Callable[[str], Golden]:
    """Golden files by name."""

    @cache
    def read(name: str) -> Golden:
        folder = golden_dir if name in FREE else request.getfixturevalue("shared") / "golden"
        return Golden.read(folder / f"{name}.npz")

    return read


@pytest.fixture
def found(fit: Fit, golden: Callable, detector: Callable, dtype: torch.dtype) -> list[Search]:
    """The searches of a fit of OpenFace."""
    return list(searches(golden(fit.file).to(dtype), detector(fit.model, dtype).model))


@pytest.fixture(scope="session")
def read_image(golden_dir: Path, request: pytest.FixtureRequest) -> Callable[[str], Tensor]:
    """Images by name, gray, uint8, shape (1, H, W)."""

    @cache
    def read(name: str) -> Tensor:
        folder = golden_dir / "free_model" if name == "image" else request.getfixturevalue("shared") / "images"
        gray = cv2.cvtColor(cv2.imread(str(folder / f"{name}.png")), cv2.COLOR_BGR2GRAY)
        return torch.from_numpy(gray)[None]

    return read


@pytest.fixture(scope="session")
def detector(
    golden_dir: Path, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., LandmarkDetector]:
    """Detectors by model ("free", "tiny" or one of `OPENFACE`), number type and numerics, converted here and now."""
    folder = tmp_path_factory.mktemp("models")

    def source(model: str) -> Path:
        if model == "free":
            return golden_dir / "free_model" / "main_ceclm_free.txt"
        openface: Path = request.getfixturevalue("openface_models")
        return openface / OPENFACE[model] if model in OPENFACE else _describe_tiny(openface, folder)

    @cache
    def bundle(model: str) -> Path:
        convert(source(model), folder / f"{model}.pt")
        return folder / f"{model}.pt"

    @cache
    def load(model: str, dtype: torch.dtype = torch.float32, numerics: str = "openface") -> LandmarkDetector:
        return clnf_torch.load(bundle(model), dtype=dtype, numerics=numerics)

    return load


def _describe_tiny(openface: Path, folder: Path) -> Path:
    """A description of the random CEN files together with OpenFace's PDM."""
    experts = sorted((openface.parent / "cen_tiny").glob("cen_patches_*.dat"))
    lines = [f"PDM {openface / 'pdms' / 'In-the-wild_aligned_PDM_68.txt'}", *(f"PatchesCEN {file}" for file in experts)]
    (folder / "cen_tiny.txt").write_text("\n".join(lines))
    main = folder / "main_ceclm_tiny.txt"
    main.write_text("LandmarkDetector cen_tiny.txt\n")
    return main


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Lists the largest difference of each stage after ``pytest tests/agreement``, and the kernels that flipped."""
    lines = table(Measurement(*value) for value in _recorded(terminalreporter, PROPERTY))
    if lines:
        terminalreporter.section("agreement with OpenFace: largest difference of each stage")
        flips = [f"kernel flipped: {name}" for name in _recorded(terminalreporter, FLIP)]
        terminalreporter.write_line("\n".join([*lines, *flips]))


def _recorded(reporter: pytest.TerminalReporter, name: str) -> Iterator[Any]:
    """What the tests have recorded under a name."""
    reports = (report for outcome in reporter.stats.values() for report in outcome)
    calls = (report for report in reports if getattr(report, "when", None) == "call")
    properties = (recorded for report in calls for recorded in report.user_properties)
    yield from (value for key, value in properties if key == name)
