"""The outcomes of tests in a process of their own, read from what pytest prints."""

from __future__ import annotations

from importlib.util import find_spec

import pytest
import torch

from benchmarks.gpu import cuda_tests
from benchmarks.gpu.checkout import ROOT
from benchmarks.gpu.cuda_tests import CUT_OFF, count_outcomes, files_with_devices, measure_cuda_tests, run_tests
from benchmarks.gpu.recorder import Recorder

PRINTED = """
tests/a/test_b.py::test_one[cuda-float32] PASSED                         [ 10%]
tests/a/test_b.py::test_one[cuda-float64] FAILED                         [ 20%]
tests/a/test_b.py::test_two[a name of words] SKIPPED (no CUDA device...) [ 30%]
tests/test_c.py::test_three ERROR                                        [ 40%]
tests/test_c.py::test_four XFAIL (known)                                 [ 50%]
ERROR tests/cli/test_d.py - ModuleNotFoundError: No module named 'av'
FAILED tests/a/test_b.py::test_one[cuda-float64] - AssertionError: 1 != 2
""".splitlines()


def test_outcomes_are_read():
    outcomes = count_outcomes(PRINTED)
    assert (outcomes.passed, outcomes.skipped) == (2, 1)
    assert outcomes.failed == ("tests/a/test_b.py::test_one[cuda-float64]", "tests/test_c.py::test_three")
    assert outcomes.not_imported == ("tests/cli/test_d.py: ModuleNotFoundError: No module named 'av'",)


def test_files_that_know_devices_are_found():
    files = files_with_devices(ROOT)
    assert {"tests/test_devices.py", "tests/detection/test_mtcnn.py", "tests/geometry/test_sampling.py"} <= set(files)
    assert "tests/export/test_csv.py" not in files and not any("benchmarks" in file for file in files)


def test_a_run_that_takes_too_long_is_cut_off(tmp_path):
    status, _ = run_tests(["tests/test_devices.py"], tmp_path / "log", timeout=0.2)
    assert status == CUT_OFF and (tmp_path / "log").exists()


def test_folders_run_alone_where_one_cannot_be_imported(tmp_path, monkeypatch):
    def pytest_of(files, timeout):
        if any("cli" in file for file in files):
            return 4, ["E   ModuleNotFoundError: No module named 'av'"]
        return 0, [f"{file}::test PASSED" for file in files]

    monkeypatch.setattr(cuda_tests, "_pytest", pytest_of)
    files = ["tests/a/test_a.py", "tests/a/test_b.py", "tests/cli/test_c.py"]
    status, lines = run_tests(files, tmp_path / "log", timeout=9.0)
    outcomes = count_outcomes(lines)
    assert status == 0 and outcomes.passed == 2
    assert outcomes.not_imported == ("tests/cli/conftest.py: ModuleNotFoundError: No module named 'av'",)


def test_without_pytest_they_are_skipped_with_a_line(tmp_path, monkeypatch):
    monkeypatch.setattr(cuda_tests, "find_spec", lambda name: None if name == "pytest" else find_spec(name))
    recorder = Recorder(tmp_path / "r", {}, torch.device("cpu"), 1.0, say=lambda line: None)
    measure_cuda_tests(recorder, tmp_path / "log", quick=True)
    assert recorder.report.rows == () and recorder.report.skipped[0].reason == "pytest is not installed"


@pytest.mark.parametrize("line", ["", "tests", "platform linux -- Python 3.11", "FAILED tests/a.py::b - no"])
def test_other_lines_say_nothing(line):
    outcomes = count_outcomes([line])
    assert not (outcomes.passed or outcomes.failed or outcomes.skipped or outcomes.not_imported)
