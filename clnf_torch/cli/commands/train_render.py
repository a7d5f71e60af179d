"""``clnf-torch train render``: rendered faces with exact labels, to train on."""

from pathlib import Path
from typing import Annotated

import typer

from clnf_torch.cli.commands.command import run_by
from clnf_torch.cli.options import Threads

PART_HELP = "Make part I of N alone: several programs, or machines, share a folder."


@run_by(
    "clnf_torch.cli.runs.train_render",
    "clnf-torch train render faces --faces 20000",
    "clnf-torch train render faces --faces 20000 --assets makehuman --part 2/4",
)
def render(
    output: Annotated[Path, typer.Argument(metavar="OUTPUT", help="Folder for files of 256 faces each.")],
    faces: Annotated[int, typer.Option(min=1, help="Number of faces.")] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="Random seed; every face follows from it and its number.")] = 0,
    side: Annotated[int, typer.Option(min=64, max=1024, help="Pixels of an image's side.")] = 256,
    assets: Annotated[
        Path | None, typer.Option(metavar="DIR", help="MakeHuman's assets (hair, eyelashes): without, heads are bald.")
    ] = None,
    part: Annotated[str, typer.Option(metavar="I/N", help=PART_HELP)] = "1/1",
    sheet: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Also draw the first 24 faces with their landmarks there.")
    ] = None,
    threads: Threads = 1,
) -> None:
    """Render faces whose landmarks, gaze and pose are known exactly. The same command goes on where it was stopped."""
