"""``python -m benchmarks gpu``: a quick run on the CPU goes through everything that a run on a card does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchmarks.gpu.command import main

ROOT = Path(__file__).resolve().parents[2]
ABSENT = ("typer", "rich", "av", "cv2", "pyarrow", "matplotlib", "hypothesis")  # where a card is, these may be missing
PROGRAM = f"""
import runpy, sys

class Without:
    def __init__(self, finder):
        self.finder = finder

    def find_spec(self, name, *rest):
        return None if name.partition(".")[0] in {ABSENT} else self.finder.find_spec(name, *rest)

sys.meta_path[:] = map(Without, sys.meta_path)
# Busy processors too get to the last row
settings = ["--quick", "--minutes", "60", "--commit", "a commit"]
sys.argv = ["benchmarks", "gpu", "--device", "cpu", *settings, "-o", sys.argv[1]]
runpy.run_module("benchmarks", run_name="__main__")
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a quick run writes, without the modules that the package's upper floors need."""
    folder = tmp_path_factory.mktemp("gpu")
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(folder)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return folder


@pytest.fixture(scope="module")
def report(folder: Path) -> dict:
    (path,) = folder.glob("cpu_*.json")
    return json.loads(path.read_text())


def rows_of(report: dict, part: str, table: str = "") -> dict[str, dict]:
    """Values by the row's name."""
    return {row["name"]: row["values"] for row in report["rows"] if row["part"] == part and table in row["table"]}


@pytest.mark.slow
def test_everything_is_measured_and_nothing_is_wrong(report):
    assert report["complete"] and report["skipped"] == []
    assert [row for row in report["rows"] if row["outcome"] != "ok"] == []
    assert {row["part"] for row in report["rows"]} == {"right", "fast", "why"}
    assert report["about"]["commit"] == "a commit" and report["about"]["torch"] == torch.__version__


@pytest.mark.slow
def test_every_family_is_fitted_twice_with_the_same_result(report):
    fits = rows_of(report, "right", "fits")
    families = ("default model", "CE-CLM", "free CEN", "CCNF", "SVR", "with parts", "early termination", "validated")
    for family in families:
        for words in (("exact", "float64"), ("openface", "float64"), ("exact", "float32"), ("exact", "multi-view")):
            assert any(family in name and all(word in name for word in words) for name in fits), (family, words)
    for name, values in fits.items():
        same = (values["same_view"], values["same_hypothesis"], values["same_success"])
        assert same == (values["faces"],) * 3 and values["one_sided"] == 0, name
        assert values["max_px"] <= (1e-3 if "float64" in name else 0.2 if "bf16" in name else 0.05), name


@pytest.mark.slow
def test_rows_do_not_see_each_other(report):
    rows = rows_of(report, "right", "rows of a batch")
    for name, values in rows.items():
        assert values["max_px"] < 0.05, name
        if name.endswith("poisoned"):
            assert values["failed"] == values["poisoned"] == 4 and values["max_px"] == 0, name
    assert sum(name.endswith("poisoned") for name in rows) == sum(name.endswith("alone") for name in rows) == 8


@pytest.mark.slow
def test_gradients_and_functions_agree(report):
    for name, values in rows_of(report, "right", "gradients").items():
        assert values["relative_error"] < 1e-6 and values["not_zero"] > 0.5 * values["gradients"], name
    functions = rows_of(report, "right", "functions")
    assert functions["MTCNN, float32"]["faces"] == 3 and functions["tracker, float64"]["successes"] > 0
    assert functions["MTCNN that is unsure of everything, float64"]["faces"] > 10
    assert functions["repair, float64"]["refitted"] == 2
    assert all(values["max_px"] < 0.05 for values in functions.values())


@pytest.mark.slow
def test_cuda_tests_are_counted(report):
    (values,) = rows_of(report, "right", "tests marked cuda").values()
    assert values["end"] == "as usual" and values["failures"] == 0 and values["passed"] + values["skipped"] >= 7


@pytest.mark.slow
def test_everything_is_timed(report):
    speeds = [row for row in report["rows"] if row["part"] == "fast"]
    tables = {row["table"] for row in speeds}
    for word in (
        "main fit",
        "whole detection",
        "tracked frame",
        "MTCNN, 1080p",
        "to landmarks, 720p",
        "tracker",
        "TF32",
        "bf16",
        "torch forms",
    ):
        assert any(word in table for table in tables), word
    assert sum(row["table"] == "training" for row in speeds) == 6
    for row in speeds:
        assert 0 < row["values"]["least_ms"] <= row["values"]["mean_ms"] and row["values"]["peak_mib"] > 50


@pytest.mark.slow
def test_four_calls_are_profiled(report):
    profiles = rows_of(report, "why")
    assert len(profiles) == 4
    for values in profiles.values():
        assert len(values["longest"]) == 10 and values["call_ms"] > 0 and values["kernels"] == 0


@pytest.mark.slow
def test_the_page_tells_it_all(folder, report):
    (path,) = folder.glob("cpu_*.md")
    page = path.read_text()
    assert page.startswith(f"# CPU, {report['about']['date']}\n") and "The run is complete" in page
    for heading in ("## Is it right?", "## How fast?", "## Why?"):
        assert heading in page
    assert all(f"| {row['name']} |" in page for row in report["rows"])
    assert {path.suffix for path in folder.iterdir()} == {".json", ".md", ".log"}


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a card")
def test_no_card_is_said_in_a_sentence(tmp_path, capsys):
    assert main(["-o", str(tmp_path / "new")]) == 2
    said = capsys.readouterr().err
    assert "there is no CUDA device" in said and said.count("\n") == 1 and not (tmp_path / "new").exists()


def test_unknown_devices_are_refused(tmp_path, capsys):
    for device in ("tpu", "meta", "cuda:x"):
        assert main(["--device", device, "-o", str(tmp_path)]) == 2
        assert f"--device {device} is not known" in capsys.readouterr().err


def test_what_is_missing_of_the_options_is_said(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["--device", "cpu"])
    assert stop.value.code == 2 and "--output" in capsys.readouterr().err
