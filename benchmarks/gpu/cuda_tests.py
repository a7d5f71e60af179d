"""Part 1, is it right: the tests marked ``cuda``, in a process of their own."""

import os
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from benchmarks.gpu.checkout import ROOT
from benchmarks.gpu.correctness import PART
from benchmarks.gpu.recorder import Recorder

TABLE = "tests marked cuda"
QUICK = ("tests/test_devices.py", "tests/detection/test_mtcnn.py")
TOUCHES_DEVICES = re.compile(r"\bcuda\b|\bdevice\b")
LINE = re.compile(r"^(tests/\S+?\.py)(?:::(.+?))? (PASSED|FAILED|ERROR|SKIPPED|XFAIL|XPASS)\b")
COLLECTION_ERROR = re.compile(r"^ERROR (tests/\S+\.py)(?: - (.*))?$")
CONFTEST = re.compile(rf"while loading conftest '{re.escape(str(ROOT))}/(\S+)/conftest\.py'")
CONFTEST_FAILED = 4  # pytest's exit status where a conftest.py cannot be imported, among others
USUAL, CUT_OFF = (0, 1), -99  # all passed or some failed; took too long
PROGRAM = (
    "import sys; sys.path.insert(0, sys.argv.pop(1)); "
    "from benchmarks.gpu.checkout import make_importable; make_importable(); "
    "import pytest; sys.exit(pytest.main(sys.argv[1:]))"
)


@dataclass(frozen=True, kw_only=True)
class Outcomes:
    """What became of tests."""

    passed: int
    failed: tuple[str, ...]
    skipped: int
    not_imported: tuple[str, ...]  # test files that need a module which is missing here


def measure_cuda_tests(recorder: Recorder, log: Path, quick: bool, share: float = 0.5) -> None:
    """Records the outcome of the tests marked ``cuda``; what they print goes to a file.

    Args:
        recorder: Takes the row.
        log: The file.
        quick: A few files of tests alone.
        share: Of the time that is left to the part, which they may take.
    """
    if find_spec("pytest") is None:
        recorder.skip(PART, TABLE, "all", "pytest is not installed")
        return

    def run() -> dict[str, object]:
        files = list(QUICK) if quick else files_with_devices(ROOT)
        status, lines = run_tests(files, log, max(20.0, share * recorder.left(PART)))
        outcomes = count_outcomes(lines)
        whole = status in USUAL and outcomes.passed + outcomes.skipped > 0
        return {
            "end": "as usual" if status in USUAL else "cut off" if status == CUT_OFF else f"exit status {status}",
            "passed": outcomes.passed,
            "skipped": outcomes.skipped,
            "failures": len(outcomes.failed),
            "not_importable": len(outcomes.not_imported),
            "failed": list(outcomes.failed),
            "not_imported": list(outcomes.not_imported),
            "within": whole and not outcomes.failed,
        }

    recorder.measure(PART, TABLE, "all", run)


def files_with_devices(root: Path) -> list[str]:
    """Test files that have to do with devices, so that others need not be imported; from the repository's root."""
    files = sorted((root / "tests").rglob("test_*.py"))
    chosen = [file for file in files if TOUCHES_DEVICES.search(file.read_text(encoding="utf-8"))]
    return [str(file.relative_to(root)) for file in chosen if "benchmarks" not in file.parts]


def run_tests(files: list[str], log: Path, timeout: float) -> tuple[int, list[str]]:
    """Runs the tests marked ``cuda`` of some files, without the folders whose ``conftest.py`` cannot be imported.

    Args:
        files: From the repository's root.
        log: Where to keep what they print, line by line while they run.
        timeout: Seconds for all of them; what was printed until then counts.

    Returns:
        Exit status, and the lines that they print.
    """
    log.write_bytes(b"")
    end, broken = time.monotonic() + timeout, list[str]()
    while True:
        status, lines = _pytest(files, log, max(0.0, end - time.monotonic()))
        folder = _folder_of_conftest(lines) if status == CONFTEST_FAILED else None
        rest = [file for file in files if folder is None or not Path(file).is_relative_to(folder)]
        if len(rest) in (0, len(files)):
            break
        broken.append(f"ERROR {folder}/conftest.py - {_reason(lines)}")
        files = rest
    lines += broken
    return status, lines


def count_outcomes(lines: Iterable[str]) -> Outcomes:
    """The outcomes in what ``pytest -v`` prints; a run that was cut off counts as far as it came."""
    seen: dict[str, str] = {}
    broken: dict[str, str] = {}
    for line in lines:
        if match := LINE.match(line):
            seen[f"{match[1]}::{match[2]}"] = match[3]
        elif match := COLLECTION_ERROR.match(line):
            broken[match[1]] = match[2] or ""
    count = Counter(seen.values())
    return Outcomes(
        passed=count["PASSED"] + count["XFAIL"],
        failed=tuple(name for name, outcome in seen.items() if outcome in ("FAILED", "ERROR", "XPASS")),
        skipped=count["SKIPPED"],
        not_imported=tuple(f"{name}: {reason}".rstrip(": ") for name, reason in broken.items()),
    )


def _pytest(files: list[str], log: Path, timeout: float) -> tuple[int, list[str]]:
    """Exit status and lines of a run, which are added to the log; `CUT_OFF` where it took too long."""
    options = ["-v", "-m", "cuda", "--color=no", "--continue-on-collection-errors", "-p", "no:cacheprovider"]
    command = [sys.executable, "-c", PROGRAM, str(ROOT), *options, *files]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    begin = log.stat().st_size
    with log.open("ab") as output:
        try:
            done = subprocess.run(
                command,
                cwd=ROOT,
                env=environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                timeout=timeout,
                check=False,
            )
            status = done.returncode
        except subprocess.TimeoutExpired:
            status = CUT_OFF
    return status, log.read_bytes()[begin:].decode(errors="replace").splitlines()


def _folder_of_conftest(lines: Iterable[str]) -> str | None:
    """The folder, from the root, whose ``conftest.py`` could not be imported."""
    found = (CONFTEST.search(line) for line in lines)
    return next((match[1] for match in found if match), None)


def _reason(lines: list[str]) -> str:
    """The last error that was printed."""
    errors = [line.removeprefix("E").strip() for line in lines if line.startswith("E ")]
    return errors[-1] if errors else "a conftest.py cannot be imported"
