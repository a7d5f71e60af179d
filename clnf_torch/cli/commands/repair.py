"""``clnf-torch repair``: another method's landmarks of a video, with poor faces fitted again."""

from pathlib import Path
from typing import Annotated

import typer

from clnf_torch.cli.commands.command import run_by
from clnf_torch.cli.options import (
    AllViews,
    BatchSize,
    Device,
    Model,
    NumericsChoice,
    PrecisionChoice,
    PrecisionName,
    Preset,
    PresetName,
    Resume,
    Threads,
)


@run_by(
    "clnf_torch.cli.runs.repair",
    "clnf-torch repair interview.mp4 --landmarks other.csv --csv repaired.csv",
    "clnf-torch repair frames --landmarks other.csv --csv repaired.csv --resume",
)
def repair(
    video: Annotated[Path, typer.Argument(metavar="VIDEO|DIR", help="A video, or a folder of frames.")],
    model: Model,
    landmarks: Annotated[
        Path, typer.Option(metavar="FILE.csv", help="The landmarks: frame, x_0 to x_67, y_0 to y_67.")
    ],
    csv: Annotated[Path, typer.Option(metavar="FILE|-", help="Write the repaired landmarks; - is stdout.")],
    preset: PresetName = Preset.default,
    multi_view: AllViews = True,
    keep_good: Annotated[
        bool, typer.Option("--keep-good/--no-keep-good", help="Keep the good landmarks of poor faces.")
    ] = True,
    first_frame: Annotated[
        int | None,
        typer.Option(
            metavar="N", show_default="0 if the table has a frame 0, else 1", help="The first frame's number."
        ),
    ] = None,
    resume: Resume = False,
    numerics: NumericsChoice = None,
    device: Device = "cpu",
    threads: Threads = None,
    precision: PrecisionChoice = PrecisionName.float32,
    batch: BatchSize = 16,
) -> None:
    """Repair the landmarks of another method. Only poor faces are fitted again."""
