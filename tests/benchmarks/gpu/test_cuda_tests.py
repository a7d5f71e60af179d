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


def test_folders_that_cannot_be_imported_are_left_out(tmp_path, monkeypatch):
    def pytest_of(files, log, timeout):
        for folder in ("cli", "media"):
            if any(folder in file for file in files):
                place = ROOT / "tests" / folder / "conftest.py"
                return 4, [
                    f"ImportError while loading conftest '{place}'.",
                    "E   ModuleNotFoundError: No module named 'av'",
                ]
        return 0, [f"{file}::test PASSED" for file in files]

    monkeypatch.setattr(cuda_tests, "_pytest", pytest_of)
    files = ["tests/a/test_a.py", "tests/a/test_b.py", "tests/cli/images/test_c.py", "tests/media/test_d.py"]
    status, lines = run_tests(files, tmp_path / "log", timeout=9.0)
    outcomes = count_outcomes(lines)
    assert status == 0 and outcomes.passed == 2
    missing = "conftest.py: ModuleNotFoundError: No module named 'av'"
    assert outcomes.not_imported == (f"tests/cli/{missing}", f"tests/media/{missing}")


def test_a_run_that_never_begins_ends(tmp_path, monkeypatch):
    monkeypatch.setattr(cuda_tests, "_pytest", lambda files, log, timeout: (4, ["ERROR: no such option"]))
    assert run_tests(["tests/a/test_a.py"], tmp_path / "log", timeout=9.0) == (4, ["ERROR: no such option"])


def test_what_tests_print_is_in_the_log_while_they_run(tmp_path):
    """A run that is cut off keeps what it has."""
    program = "import sys, time; print('tests/test_a.py::test_a PASSED'); time.sleep(60)"
    log = tmp_path / "log"
    log.write_bytes(b"before\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cuda_tests, "PROGRAM", program)
        status, lines = cuda_tests._pytest([], log, timeout=5.0)
    assert status == CUT_OFF and count_outcomes(lines).passed == 1
    assert log.read_text() == "before\ntests/test_a.py::test_a PASSED\n"


def test_without_pytest_they_are_skipped_with_a_line(tmp_path, monkeypatch):
    monkeypatch.setattr(cuda_tests, "find_spec", lambda name: None if name == "pytest" else find_spec(name))
    recorder = Recorder(tmp_path / "r", {}, torch.device("cpu"), 1.0, say=lambda line: None)
    measure_cuda_tests(recorder, tmp_path / "log", quick=True)
    assert recorder.report.rows == () and recorder.report.skipped[0].reason == "pytest is not installed"


@pytest.mark.parametrize("line", ["", "tests", "platform linux -- Python 3.11", "FAILED tests/a.py::b - no"])
def test_other_lines_say_nothing(line):
    outcomes = count_outcomes([line])
    assert not (outcomes.passed or outcomes.failed or outcomes.skipped or outcomes.not_imported)
