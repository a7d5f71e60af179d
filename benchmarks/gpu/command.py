"""The command: ``python -m benchmarks gpu [--device cuda|cpu] [--minutes 8] [--only PART ...] [--quick] -o DIR``."""

import argparse
import itertools
import sys
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path

import torch

from benchmarks.gpu import machine
from benchmarks.gpu.calls import Calls
from benchmarks.gpu.correctness import Places, measure_batches, measure_fits, measure_gradients
from benchmarks.gpu.cuda_tests import measure_cuda_tests
from benchmarks.gpu.functions import measure_functions
from benchmarks.gpu.material import Material
from benchmarks.gpu.profiling import measure_activity
from benchmarks.gpu.recorder import SHARES, Recorder
from benchmarks.gpu.records import Report
from benchmarks.gpu.speed import measure_speed

PARTS = (*SHARES, "tests")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; its exit status is 0, 1 where something is wrong or failed, 2 where it cannot begin."""
    options = _parser().parse_args(arguments)
    if complaint := complaint_about(options.device):
        print(f"benchmarks gpu: {complaint}", file=sys.stderr)
        return 2
    device, parts = torch.device(options.device), tuple(part for part in PARTS if part in (options.only or SHARES))
    report = run(device, options.minutes, options.quick, options.output, options.commit, parts)
    print(f"{len(report.rows)} rows, {len(report.wrong)} of them wrong, {len(report.skipped)} skipped")
    return 1 if report.wrong else 0


def run(
    device: torch.device,
    minutes: float,
    quick: bool,
    folder: Path,
    commit: str | None = None,
    parts: Sequence[str] = tuple(SHARES),
) -> Report:
    """Measures everything, and writes ``CARD_DATE.json`` and ``CARD_DATE.md`` after every row.

    Args:
        device: Where to measure.
        minutes: When to begin no more rows.
        quick: As little as runs all that a whole run does.
        folder: For the files; made where it is missing.
        commit: What to write down as the commit; None: what git says.
        parts: What to measure: "right", "fast" and "why", or some of them; or "tests", of "right" those alone.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if device.type == "cuda":
        torch.cuda.set_device(device)
    about = machine.describe(device, commit)
    some = "" if set(SHARES) <= set(parts) else f", only {' and '.join(parts)}"
    about["settings"] = f"{minutes:g} minutes{', quick' if quick else ''}{some}"
    path = free_path(folder, machine.file_stem(about))
    # The tests are a row of the first part
    timed = {"right" if part == "tests" else part for part in parts}
    recorder = Recorder(path, about, device, minutes, lambda line: print(line, flush=True), timed)
    log = path.with_name(f"{path.name}.tests.log")
    forms = machine.torch_forms_on_cpu(device.type == "cuda")
    with tempfile.TemporaryDirectory() as scratch, warnings.catch_warnings(), forms:
        material = Material(quick, Path(scratch))
        warnings.simplefilter("ignore")  # of torch, about its own future; the tests look at warnings
        if "right" in parts:
            measure_correctness(recorder, material, Places(device=device), log)
        elif "tests" in parts:
            measure_cuda_tests(recorder, log, quick, share=1.0)
        calls = Calls(material, device)
        if "fast" in parts:
            measure_speed(recorder, calls)
        if "why" in parts:
            measure_activity(recorder, calls)
    print(f"written: {path}.json, {path}.md")
    return recorder.finish()


def measure_correctness(recorder: Recorder, material: Material, places: Places, log: Path) -> None:
    """Records part 1, the most important rows first; what the tests print goes to a file."""
    measure_fits(recorder, material, places, multi_view=False)
    measure_functions(recorder, material, places)
    measure_batches(recorder, material, places)
    measure_gradients(recorder, material, places)
    measure_cuda_tests(recorder, log, material.quick)
    measure_fits(recorder, material, places, multi_view=True)


def free_path(folder: Path, stem: str) -> Path:
    """Where the files of a run go, without their suffixes: an older run of the same card and day keeps its own."""
    names = itertools.chain([stem], (f"{stem}-{number}" for number in itertools.count(2)))
    return next(folder / name for name in names if not (folder / f"{name}.json").exists())


def complaint_about(device: str) -> str | None:
    """Why a device cannot be measured, or None."""
    try:
        kind = torch.device(device).type
    except RuntimeError:
        kind = ""
    if kind not in ("cpu", "cuda"):
        return f"--device {device} is not known; give cuda, cuda:1 or cpu"
    if kind == "cuda" and not torch.cuda.is_available():
        built = f"torch {torch.__version__} is built " + ("with" if torch.version.cuda else "without") + " CUDA"
        return f"there is no CUDA device ({built}); give --device cpu to try the benchmark without one"
    if kind == "cuda" and (torch.device(device).index or 0) >= torch.cuda.device_count():
        return f"--device {device}: there are {torch.cuda.device_count()} cards, counted from 0"
    return None


def _parser() -> argparse.ArgumentParser:
    """The options."""
    about = "Whether a card computes what the CPU computes, how fast it is, and why it is no faster."
    parser = argparse.ArgumentParser(prog="python -m benchmarks gpu", description=about)
    parser.add_argument("--device", default="cuda", help="cuda, cuda:1 ... or cpu (default: cuda)")
    parser.add_argument("--minutes", type=float, default=8.0, help="begin no row after so many (default: 8)")
    parser.add_argument("--only", action="append", choices=PARTS, help="this part alone (tests: of right); repeatable")
    parser.add_argument("--quick", action="store_true", help="small counts: all code paths in under a minute")
    parser.add_argument("--commit", help="what to call the commit where git does not know it")
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder for CARD_DATE.json and CARD_DATE.md")
    return parser
