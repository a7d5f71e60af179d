"""Part 2, how fast: fits, face detection, tracking and training, the most important rows first."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from benchmarks.gpu.calls import Call, Calls, in_torch, rounding
from benchmarks.gpu.recorder import Recorder
from benchmarks.gpu.records import NO_MEMORY
from benchmarks.gpu.timing import time_call
from benchmarks.gpu.training import training_steps

PART = "fast"
FACES = ((64, 1, 1024), (256, 16, 4096))  # the more important counts, and the others
IMAGES = ((16, 1), (64, 256))
QUICK_COUNTS = ((2, 1), ())
REPEATS, QUICK_REPEATS, STEPS = 5, 2, 10


@dataclass(frozen=True, kw_only=True)
class Ladder:
    """One kind of call, with ever other counts."""

    table: str
    unit: str  # what is counted
    counts: tuple[tuple[int, ...], tuple[int, ...]]  # first and second pass
    prepare: Callable[[int], Call]
    repeats: int = REPEATS


def measure_speed(recorder: Recorder, calls: Calls) -> None:
    """Records all ladders, the more important counts of all of them before the others."""
    rungs = ladders(calls)
    seen: dict[str, tuple[int, float]] = {}  # of each table the last count, and its seconds
    too_many: dict[str, int] = {}
    for turn in range(2):
        for ladder in rungs:
            for count in ladder.counts[turn]:
                _measure_one(recorder, calls.device, ladder, count, seen, too_many)
        if turn == 0:
            measure_training(recorder, calls)


def measure_training(recorder: Recorder, calls: Calls) -> None:
    """Records a step of each training."""
    repeats = QUICK_REPEATS if calls.material.quick else REPEATS
    for name, prepare in training_steps(calls).items():
        recorder.measure(PART, "training", name, partial(_timed, prepare, calls.device, repeats))


def ladders(calls: Calls) -> tuple[Ladder, ...]:
    """All of them, in the order of their importance. Faces are fitted, tracked frames without a tracker around them."""
    quick, published = calls.material.quick, calls.material.published_name
    faces, images = (QUICK_COUNTS, QUICK_COUNTS) if quick else (FACES, IMAGES)
    repeats, steps = (QUICK_REPEATS, QUICK_REPEATS) if quick else (REPEATS, STEPS)

    def of_faces(name: str, prepare: Callable[[int], Call]) -> Ladder:
        return Ladder(table=name, unit="faces", counts=faces, prepare=prepare, repeats=repeats)

    def of_images(name: str, prepare: Callable[[int], Call], unit: str = "images", repeats: int = repeats) -> Ladder:
        return Ladder(table=name, unit=unit, counts=images, prepare=prepare, repeats=repeats)

    default, other = calls.default, calls.published
    return (
        of_faces("default model, main fit", lambda n: calls.main_fit(default, n)),
        of_faces("default model, main fit, captured", lambda n: calls.captured_fit(default, n)),
        of_faces("default model, eyes, gaze and validation, captured", lambda n: calls.captured_detection(default, n)),
        of_faces("default model, main fit, torch forms", lambda n: in_torch(calls.main_fit(default, n))),
        of_faces(f"{published}, main fit", lambda n: calls.main_fit(other, n)),
        of_faces(f"{published}, main fit, captured", lambda n: calls.captured_fit(other, n)),
        of_images("images to landmarks, 720p", lambda n: calls.images_to_landmarks("720p", n)),
        of_images("tracker step, 720p", lambda n: calls.tracker_step("720p", n), "videos", steps),
        of_faces(f"{published}, main fit, torch forms", lambda n: in_torch(calls.main_fit(other, n))),
        of_faces(f"{published}, main fit, TF32", lambda n: calls.main_fit(rounding(other, "tf32"), n)),
        of_faces(
            f"{published}, main fit, TF32, torch forms",
            lambda n: in_torch(calls.main_fit(rounding(other, "tf32"), n)),
        ),
        of_faces(f"{published}, main fit, bf16", lambda n: calls.main_fit(rounding(other, "bf16"), n)),
        of_faces("default model, main fit, TF32", lambda n: calls.main_fit(rounding(default, "tf32"), n)),
        of_faces("default model, main fit, bf16", lambda n: calls.main_fit(rounding(default, "bf16"), n)),
        of_faces("default model, tracked frame", lambda n: calls.tracked_frame(default, n)),
        of_faces("default model, whole detection", lambda n: calls.detection(default, n)),
        of_images("images to landmarks, 1080p", lambda n: calls.images_to_landmarks("1080p", n)),
        of_images("MTCNN, 720p", lambda n: calls.find_faces("720p", n)),
        of_images("MTCNN, 1080p", lambda n: calls.find_faces("1080p", n)),
        of_faces(f"{published}, tracked frame", lambda n: calls.tracked_frame(other, n)),
        of_faces(f"{published}, whole detection", lambda n: calls.detection(other, n)),
        of_faces(f"{published}, tracked frame, TF32", lambda n: calls.tracked_frame(rounding(other, "tf32"), n)),
        of_faces(f"{published}, whole detection, TF32", lambda n: calls.detection(rounding(other, "tf32"), n)),
    )


def _measure_one(
    recorder: Recorder,
    device: torch.device,
    ladder: Ladder,
    count: int,
    seen: dict[str, tuple[int, float]],
    too_many: dict[str, int],
) -> None:
    """A row of a ladder, unless fewer were too many for the memory already."""
    name = f"{count:,} {ladder.unit if count > 1 else ladder.unit[:-1]}"
    if count >= too_many.get(ladder.table, count + 1):
        recorder.skip(PART, ladder.table, name, f"{too_many[ladder.table]:,} were too many for the memory")
        return
    last, took = seen.get(ladder.table, (count, 0.0))
    prepare = partial(ladder.prepare, count)
    run = partial(_timed, prepare, device, ladder.repeats, count)
    row = recorder.measure(PART, ladder.table, name, run, needs=took * max(1.0, count / last))
    if row is not None and row.outcome == NO_MEMORY:
        too_many[ladder.table] = count
    elif row is not None:
        seen[ladder.table] = count, row.seconds


def _timed(prepare: Callable[[], Call], device: torch.device, repeats: int, count: int | None = None) -> dict[str, Any]:
    """The values of a row; where things are counted, their rate too."""
    timing = time_call(prepare(), device, repeats)
    rates = {} if count is None else {"per_second": 1e3 * count / timing.ms, "ms_each": timing.ms / count}
    return {"count": count, "ms": timing.ms, **rates} | {
        name: value for name, value in vars(timing).items() if name != "ms" and value is not None
    }
