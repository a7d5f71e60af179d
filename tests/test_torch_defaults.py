"""The number type and the device that callers set for their own tensors change nothing, to the last bit."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.programs import ROOT
from tests.test_batch_invariance import check_same
from tests.torch_defaults import DEFAULTS


def found_under(default: str, folder: Path) -> dict[str, list[torch.Tensor]]:
    """What the program finds in a process of its own, in which nothing is kept from before."""
    file = folder / f"{default}.pt"
    environment = {**os.environ, "PYTHONPATH": ":".join([str(ROOT), *sys.path]), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "tests.torch_defaults", default, str(file)]
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return torch.load(file, weights_only=True)


@pytest.fixture(scope="module")
def expected(tmp_path_factory) -> dict[str, list[torch.Tensor]]:
    pytest.importorskip("PIL")
    return found_under("plain", tmp_path_factory.mktemp("plain"))


@pytest.mark.slow
@pytest.mark.parametrize("default", DEFAULTS[1:])
def test_defaults_of_the_process_change_nothing(default, expected, tmp_path):
    found = found_under(default, tmp_path)
    assert found.keys() == expected.keys()
    for name, tensors in expected.items():
        assert [tensor.dtype for tensor in found[name]] == [tensor.dtype for tensor in tensors], name
        if tensors:
            check_same(found[name], tensors)
