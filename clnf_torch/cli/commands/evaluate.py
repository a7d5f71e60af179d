"""``clnf-torch evaluate``: errors of a model's landmarks on annotated faces."""

from pathlib import Path
from typing import Annotated

import typer

from clnf_torch.cli.commands.command import run_by
from clnf_torch.cli.options import (
    BatchSize,
    Device,
    Model,
    MultiView,
    NumericsChoice,
    PrecisionChoice,
    PrecisionName,
    Preset,
    PresetName,
    Resume,
    Split,
    Threads,
)

BOXES_HELP = (
    "Bounding boxes: around the annotated landmarks (given), near them (perturbed), from the face detector (detected), "
    "or from a .json or .npz file."
)


@run_by(
    "clnf_torch.cli.runs.evaluate",
    "clnf-torch evaluate --data faces --split test",
    "clnf-torch evaluate --data faces --boxes detected --errors errors.csv --curve curve.png",
)
def evaluate(
    model: Model,
    data: Annotated[
        Path, typer.Option(metavar="DIR", help="Annotated faces: landmarks.npz, or images with .pts files.")
    ],
    split: Split = None,
    boxes: Annotated[str, typer.Option(metavar="given|perturbed|detected|FILE", help=BOXES_HELP)] = "given",
    seed: Annotated[int, typer.Option(min=0, help="Random seed of the perturbed boxes.")] = 0,
    marked: Annotated[
        int | None, typer.Option(metavar="SEED", min=0, help="Evaluate again with pen marks drawn on the faces.")
    ] = None,
    preset: PresetName = Preset.default,
    multi_view: MultiView = None,
    numerics: NumericsChoice = None,
    device: Device = "cpu",
    threads: Threads = None,
    precision: PrecisionChoice = PrecisionName.float32,
    batch: BatchSize = 16,
    json: Annotated[
        Path | None,
        typer.Option(metavar="FILE|-", help="Write the results as JSON; - is stdout, instead of the table."),
    ] = None,
    curve: Annotated[Path | None, typer.Option(metavar="FILE.png", help="Draw the cumulative error curve.")] = None,
    errors: Annotated[Path | None, typer.Option(metavar="FILE.csv", help="Write the error of every face.")] = None,
    resume: Resume = False,
) -> None:
    """Evaluate a model on annotated faces. Prints its normalised mean errors (NME) and failure rates."""
