"""Landmarks corrupted as networks err on marked faces: how many are found, repaired, and left alone."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.table import Table
from torch import Tensor

import clnf_torch
from benchmarks.material import SHARED, drawn_by_tool
from benchmarks.tables import table
from clnf_torch.geometry.gray import to_gray
from clnf_torch.media.images import read_image
from clnf_torch.quality import REASONS, LandmarkQuality, check_landmark_quality, repair_landmarks
from clnf_torch.training.augmentation.landmark_corruption import CORRUPTIONS, corrupt_landmarks
from clnf_torch.training.data.annotations import Annotations, read_annotations
from clnf_torch.training.evaluation.annotated import Reader, stack_padded, with_pen_marks
from clnf_torch.training.evaluation.metrics import FAILED, face_errors

TRAINING, HELD_OUT = ("helen_train", "lfpw_train"), "afw"
BATCH, SEED = 16, 1
KINDS = ("left as they are", *CORRUPTIONS)  # as many faces of each


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of corrupted faces, one per row."""

    kind: Tensor  # (F,) place in `KINDS`
    poor: tuple[Tensor, Tensor]  # (F,) by `check_landmark_quality`, before and after
    errors: tuple[Tensor, Tensor]  # (F,) distances of the outer eye corners, before and after
    refitted: Tensor  # (F,)


def report(device: str, model: Path | None, every: int) -> Iterator[Table]:
    """The tables, of every so manieth face."""
    detector = clnf_torch.load(model, device)
    faces = read_annotations(SHARED / "faces").of_split(HELD_OUT)[::every]
    plain = _reader(faces)
    marked = {"our markings": with_pen_marks(plain, faces.landmarks, SEED), "other markings": _otherwise_marked(faces)}
    outcomes = {name: outcome(detector, read, faces.landmarks) for name, read in marked.items()}
    columns = ("faces", "number", "poor before", "after", "wrong before", "after", "good ones refitted", "mean error")
    rows = [(name, *_summary(made)) for name, made in outcomes.items()]
    yield table(f"Spoilt landmarks on marked faces of {HELD_OUT}", columns, rows)
    made = outcomes["our markings"]
    yield table("By what was done to them", ("corrupted", *columns[1:]), _by_kind(made))
    rows = [(split, *_untouched(detector, split, every)) for split in (HELD_OUT, *TRAINING)]
    yield table("Annotated landmarks that are called poor", ("faces", "number", "all", *REASONS[:6], REASONS[7]), rows)


def outcome(detector: clnf_torch.LandmarkDetector, read: Reader, truth: Tensor) -> Outcome:
    """Spoils the landmarks of faces, each in one way, and repairs them."""
    kind = torch.arange(len(truth)) % len(KINDS)
    mean = detector.model.pdm.mean[:, :2].float().cpu()
    corrupted = corrupt_landmarks(truth, kind - 1, mean, torch.Generator().manual_seed(SEED))
    repaired, refitted, before, after = [], [], [], []
    for rows, frames in _batches(read, len(truth)):
        done = repair_landmarks(corrupted[rows], detector, frames, torch.arange(len(rows)))
        repaired.append(done.landmarks)
        for values, some in ((refitted, done.refitted), (before, done.before.poor), (after, done.after.poor)):
            values.append(some.cpu())
    return Outcome(
        kind=kind,
        poor=(torch.cat(before), torch.cat(after)),
        errors=(face_errors(corrupted, truth), face_errors(torch.cat(repaired), truth)),
        refitted=torch.cat(refitted),
    )


def _by_kind(made: Outcome) -> Iterator[tuple[str, ...]]:
    """A row for each corruption."""
    for number, name in enumerate(KINDS):
        yield name, *_summary(made, made.kind == number)


def _summary(made: Outcome, rows: Tensor | None = None) -> list[str]:
    """Shares of the faces in some rows."""
    rows = torch.ones_like(made.refitted) if rows is None else rows
    good = rows & (made.kind == 0)
    shares = [_share(values[rows]) for values in made.poor]
    shares += [_share(values[rows] > FAILED) for values in made.errors]
    errors = " to ".join(f"{float(values[rows].mean()):.3f}" for values in made.errors)
    return [str(int(rows.sum())), *shares, _share(made.refitted[good]) if good.any() else "", errors]


def _untouched(detector: clnf_torch.LandmarkDetector, split: str, every: int) -> list[str]:
    """Shares of the annotated faces of a split that are called poor, altogether and by reason."""
    faces = read_annotations(SHARED / "faces").of_split(split)[::every]
    qualities: list[LandmarkQuality] = [
        check_landmark_quality(faces.landmarks[rows], detector, frames=frames, image_index=torch.arange(len(rows)))
        for rows, frames in _batches(_reader(faces), len(faces))
    ]
    poor = torch.cat([one.violation > 1 for one in qualities])
    return [str(len(poor)), _share(poor.any(1)), *(_share(poor[:, number]) for number in (*range(6), 7))]


def _share(values: Tensor) -> str:
    """How many of the bools are true."""
    return f"{float(values.float().mean()):.1%}"


def _batches(read: Reader, faces: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Rows and their gray images, some at a time."""
    for rows in torch.arange(faces).split(BATCH):
        yield rows, stack_padded([to_gray(read(row)[None])[0] for row in rows.tolist()])[:, None]


def _reader(faces: Annotations) -> Reader:
    """Reads the image of a face."""
    return lambda row: read_image(faces.images[row])


def _otherwise_marked(faces: Annotations) -> Reader:
    """The images with the markings of the tool beside the project, which nothing here was made with."""

    def read(row: int) -> Tensor:
        return drawn_by_tool(read_image(faces.images[row]), faces.landmarks[row], SEED + row)

    return read
