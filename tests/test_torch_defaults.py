"""The number type and the device that callers set for their own tensors change nothing, to the last bit."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.programs import ROOT
from tests.test_architecture import parsed
from tests.test_batch_invariance import check_same
from tests.torch_defaults import DEFAULTS

# What makes tensors of torch's default number type, and what makes them on its default device
OF_DEFAULT_TYPE = {"zeros", "ones", "empty", "linspace", "logspace", "eye", "rand", "randn"}
ON_DEFAULT_DEVICE = OF_DEFAULT_TYPE | {"tensor", "full", "arange", "randint", "randperm"}


def left_to_defaults(call: ast.Call) -> set[str]:
    """Which of device and number type a call of torch leaves to its defaults."""
    name = ast.unparse(call.func).removeprefix("torch.")
    needed = {"device"} if name in ON_DEFAULT_DEVICE else set[str]()
    needed |= {"dtype"} if name in OF_DEFAULT_TYPE else set()
    return needed - {keyword.arg for keyword in call.keywords if keyword.arg}


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


def test_every_new_tensor_names_its_device_and_its_number_type():
    """Outside of training, whose programs own their process."""
    files = [file for part in ("clnf_torch", "converters") for file in (ROOT / part).rglob("*.py")]
    found = []
    for file in files:
        if "training" in file.parts:
            continue
        for node in ast.walk(parsed(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and left_to_defaults(node):
                found.append(f"{file.relative_to(ROOT)}:{node.lineno}: {ast.unparse(node)[:80]}")
    assert len(files) > 100 and not found, "\n".join(found)
