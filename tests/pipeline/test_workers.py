"""The example of worker processes runs, after its process has computed with several threads."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_workers_are_spawned(tmp_path):
    for name in ("a.jpg", "b.jpg"):
        shutil.copy(ROOT / "docs" / "images" / "astronaut.jpg", tmp_path / name)
    command = [sys.executable, ROOT / "docs" / "examples" / "loader_workers.py", tmp_path, "1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line.split(":")[0] for line in lines] == ["a.jpg", "b.jpg"]
    assert lines[0].split(": ")[1] == lines[1].split(": ")[1] and "nose at " in lines[0]
