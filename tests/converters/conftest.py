"""A small model directory, and the free model's files."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.converters.model_directory import write_model


@pytest.fixture
def model_main(tmp_path: Path) -> Path:
    """The ``main_ceclm_general.txt`` of a small model directory that the test may change."""
    return write_model(tmp_path / "model")


@pytest.fixture
def free_model(golden_dir: Path) -> Path:
    """The directory of the free model: random CEN files of all kinds for 68 landmarks."""
    return golden_dir / "free_model"
