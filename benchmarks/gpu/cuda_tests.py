"""Part 1, is it right: the tests marked ``cuda``, in a process of their own."""

import re
import subprocess
import sys
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
CONFTEST_FAILED = 4  # pytest's exit status where a conftest.py cannot be imported, among others
USUAL, NONE_CHOSEN, CUT_OFF = (0, 1), 5, -99  # all passed or some failed; no test is marked; took too long
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


def measure_cuda_tests(recorder: Recorder, log: Path, quick: bool) -> None:
    """Records the outcome of the tests marked ``cuda``; what they print goes to a file."""
    if find_spec("pytest") is None:
        recorder.skip(PART, TABLE, "all", "pytest is not installed")
        return

    def run() -> dict[str, object]:
        files = list(QUICK) if quick else files_with_devices(ROOT)
        status, lines = run_tests(files, log, max(20.0, 0.5 * recorder.left(PART)))
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
    """Runs the tests marked ``cuda`` of some files, each folder by itself where they cannot run together.

    Args:
        files: From the repository's root.
        log: Where to keep what they print.
        timeout: Seconds for all of them; what was printed until then counts.

    Returns:
        Exit status, and the lines that they print.
    """
    status, lines = _pytest(files, timeout)
    if status == CONFTEST_FAILED:
        worst, lines = 0, []
        for folder in dict.fromkeys(Path(file).parent for file in files):
            inside = [file for file in files if Path(file).parent == folder]
            status, more = _pytest(inside, timeout)
            failed = status == CONFTEST_FAILED
            lines += [f"ERROR {folder}/conftest.py - {_reason(more)}"] if failed else more
            worst = status if status not in (*USUAL, CONFTEST_FAILED, NONE_CHOSEN) else worst
        status = worst
    log.write_text("\n".join(lines) + "\n", encoding="utf-8")
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


def _pytest(files: list[str], timeout: float) -> tuple[int, list[str]]:
    """Exit status and lines of a run; `CUT_OFF` where it took too long."""
    options = ["-v", "-m", "cuda", "--color=no", "--continue-on-collection-errors", "-p", "no:cacheprovider"]
    command = [sys.executable, "-c", PROGRAM, str(ROOT), *options, *files]
    try:
        done = subprocess.run(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=timeout, check=False
        )
        return done.returncode, done.stdout.splitlines()
    except subprocess.TimeoutExpired as error:
        printed = error.stdout or b""
        return CUT_OFF, (printed.decode(errors="replace") if isinstance(printed, bytes) else printed).splitlines()


def _reason(lines: list[str]) -> str:
    """The last error that was printed."""
    errors = [line.removeprefix("E").strip() for line in lines if line.startswith("E ")]
    return errors[-1] if errors else "a conftest.py cannot be imported"
