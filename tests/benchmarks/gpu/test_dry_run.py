"""``python -m benchmarks gpu`` on a card that the processor simulates: every row of it, as it will run on a real one.

Numbers are the processor's; there is no backward pass, so that gradients are not compared. Of the fits, which
`tests/test_simulated_cuda.py` looks at, one number type and one kind of numerics is run. It takes four minutes:
``make dryrun`` alone runs it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch.profiler import profile

from benchmarks.gpu import command, correctness, profiling, speed
from tests.simulated_cuda import missing, simulated_cards
from tests.simulated_driver import NAME, simulated_driver

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif("CLNF_DRY_RUN" not in os.environ, reason="it takes four minutes: make dryrun"),
    pytest.mark.skipif(bool(missing()), reason=missing() or "cards can be simulated"),
]
BROKEN = "CEN, validated by view: poisoned"
# Simulated cards have no random numbers of their own
NO_GENERATOR = "CEN of one view and scale, 11 areas an expert, learning and judging"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """What a quick run writes, in which one row fails."""
    folder, poisoned = tmp_path_factory.mktemp("gpu"), correctness.poisoned

    def failing(device, subject):
        if BROKEN.startswith(subject.name):
            raise RuntimeError("CUDA error: a made-up one\nand more of it")
        return poisoned(device, subject)

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch, simulated_cards(), simulated_driver():
        patch.setattr(correctness, "NUMERICS", ("exact",))
        patch.setattr(correctness, "TYPES", {"float32": torch.float32})
        patch.setattr(speed, "QUICK_COUNTS", ((2,), ()))
        patch.setattr(speed, "QUICK_REPEATS", 1)
        patch.setattr(correctness, "poisoned", failing)
        # A profiler without a driver complains of every operation
        patch.setattr(profiling, "profile", lambda activities: profile(activities=activities[:1]))
        patch.setattr(command, "measure_cuda_tests", lambda *_, **__: None)
        patch.setattr(torch.Tensor, "backward", lambda *_, **__: None)
        status = command.main(["--quick", "--minutes", "600", "--commit", "a commit", "-o", str(folder)])
    torch.set_num_threads(threads)
    assert status == 1
    return folder


@pytest.fixture(scope="module")
def report(folder: Path) -> dict:
    (path,) = folder.glob("simulated-card_*.json")
    return json.loads(path.read_text())


def test_every_row_runs_on_a_card(report):
    assert report["complete"] and report["skipped"] == [] and report["under_way"] is None
    failed, other = [row for row in report["rows"] if row["outcome"] != "ok"]
    assert (failed["name"], failed["outcome"]) == (BROKEN, "failed")
    assert other["name"] == NO_GENERATOR and "generator" in other["values"]["error"]
    assert failed["values"]["error"].startswith("RuntimeError: CUDA error: a made-up one (test_dry_run.py:")
    assert len(report["rows"]) > 80 and report["rows"][-1]["part"] == "why"


def test_the_machine_is_described(report):
    about = report["about"]
    assert about["device"] == NAME and about["memory"] == "16 GiB" and about["capability"] == "9.0"


def test_the_page_has_every_row_and_the_reason_of_the_one_that_failed(folder, report):
    (path,) = folder.glob("simulated-card_*.md")
    page = path.read_text()
    assert (
        page.startswith(f"# {NAME}, ")
        and "2 failed" in page
        and f"Wrong: rows of a batch, on the card: {BROKEN};" in page
    )
    assert all(f"| {row['name']} |" in page for row in report["rows"])
    assert "RuntimeError: CUDA error: a made-up one (test_dry_run.py" in page
