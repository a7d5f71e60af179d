"""Programs of the tests that need a process of their own: some libraries decide when they are imported how they run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent


def printed_by(module: str) -> dict[str, Any]:
    """What a module of the tests prints last, as JSON, when it is run as a program, on one thread."""
    environment = {**os.environ, "PYTHONPATH": ":".join([str(ROOT), *sys.path]), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", module]
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def said(stderr: str) -> str:
    """What a program said, but for the line of the first one on a machine that runs loops."""
    return "".join(line for line in stderr.splitlines(keepends=True) if not line.startswith("compiling loops"))
