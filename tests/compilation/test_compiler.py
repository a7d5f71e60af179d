"""`clnf_torch.compilation.compiler`: what compiles a loop and what finds it on disk compute the same."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch

pytest.importorskip("numba", reason="the compiled loops need numba")

RESPOND = """
import sys, torch
from clnf_torch.models.numerics import OPENFACE
from tests.factories import N, make_experts, seeded
experts = make_experts(support=11, dtype=torch.float32)
areas = 255 * torch.rand(2, N, 21, 21, generator=seeded(4))
torch.save(experts(areas, torch.tensor([0, 1]), OPENFACE), sys.argv[1])
"""


def test_a_process_that_compiles_rounds_as_later_ones(tmp_path):
    """Sums whose order the compiler chooses have one order, though a function is compiled alone and inside others."""
    environment = os.environ | {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    environment.pop("NUMBA_CACHE_DIR", None)
    found = []
    for name in ("first", "second"):
        path = tmp_path / f"{name}.pt"
        subprocess.run([sys.executable, "-c", RESPOND, path], check=True, env=environment)
        found.append(torch.load(path))
    assert any((tmp_path / "cache").rglob("*.nbc"))
    assert torch.equal(*found)
