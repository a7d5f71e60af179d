"""What is installed is what is here: packages, data and version in pyproject.toml are those of the repository."""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path

import pytest

import clnf_torch

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = {"clnf_torch": "clnf_torch", "converters": "clnf_torch.converters", "weights": "clnf_torch.weights"}


def found(pattern: str, file: str) -> str:
    """What a pattern captures in a file: Python 3.10 lacks tomllib."""
    match = re.search(pattern, (ROOT / file).read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    assert match is not None
    return match.group(1)


def test_every_package_is_listed():
    there = {
        ".".join([FOLDERS[folder], *init.parent.relative_to(ROOT / folder).parts])
        for folder in FOLDERS
        for init in (ROOT / folder).rglob("__init__.py")
    }
    assert sorted(there) == sorted(re.findall(r'"([\w.]+)"', found(r"^packages = \[(.*?)^\]", "pyproject.toml")))


def test_annotations_are_installed():
    assert files("clnf_torch").joinpath("py.typed").is_file()
    assert "py.typed" in found(r'^"clnf_torch" = \[(.*?)\]', "pyproject.toml")


@pytest.mark.parametrize(
    ("file", "pattern"),
    [
        ("pyproject.toml", r'^version = "(.*?)"'),
        ("CITATION.cff", r"^version: (\S+)"),
        ("CHANGELOG.md", r"^## (\S+)"),
        ("recipe/meta.yaml", r'^{% set version = "(.*?)"'),
    ],
)
def test_there_is_one_version(file, pattern):
    assert found(pattern, file) == clnf_torch.__version__


def test_the_conda_recipe_needs_what_the_package_needs():
    # What is called otherwise there
    names = {"torch": "pytorch", "opencv-python-headless": "py-opencv"}
    needed = re.findall(r'"([\w-]+)(>=[\d.]+)"', found(r"^dependencies = \[(.*?)^\]", "pyproject.toml"))
    listed = re.findall(r"- ([\w-]+) (>=[\d.]+)", found(r"^  run:\n(.*?)^  run_constrained", "recipe/meta.yaml"))
    assert {(names.get(name, name), version) for name, version in needed} == set(listed) - {("python", ">=3.10")}
