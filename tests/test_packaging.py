"""What is installed is what is here: every folder of code is named in pyproject.toml."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = {"clnf_torch": "clnf_torch", "converters": "clnf_torch.converters", "weights": "clnf_torch.weights"}


def listed_packages() -> list[str]:
    """The ``packages`` of [tool.setuptools], read without tomllib, which Python 3.10 lacks."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    block = re.search(r"^packages = \[(.*?)^\]", text, re.DOTALL | re.MULTILINE)
    assert block is not None
    return re.findall(r'"([\w.]+)"', block.group(1))


def test_every_package_is_listed():
    there = {
        ".".join([FOLDERS[folder], *init.parent.relative_to(ROOT / folder).parts])
        for folder in FOLDERS
        for init in (ROOT / folder).rglob("__init__.py")
    }
    assert sorted(there) == sorted(listed_packages())
