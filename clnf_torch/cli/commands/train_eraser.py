"""``clnf-torch train eraser``: the eraser of pen marks, from photographs of faces."""

from pathlib import Path
from typing import Annotated

import typer

from clnf_torch.cli.commands.command import run_by
from clnf_torch.cli.options import Device, Out, Seed, Threads, Work

LICENCE = "the terms of the photographs that it was trained on"


@run_by(
    "clnf_torch.cli.runs.train_eraser",
    "clnf-torch train eraser congress london -o pen_marks.pt",
    "clnf-torch train eraser portraits -o pen_marks.pt --steps 10000 --device cuda",
)
def eraser(
    portraits: Annotated[
        list[Path], typer.Argument(metavar="DIR", help="Folders of photographs of faces that nobody has drawn on.")
    ],
    out: Out,
    licence: Annotated[str, typer.Option(metavar="TEXT", help="The terms that the bundle states.")] = LICENCE,
    work: Work = None,
    steps: Annotated[int, typer.Option(min=1, help="Steps of 16 faces each.")] = 2400,
    seed: Seed = 0,
    device: Device = "cpu",
    threads: Threads = None,
) -> None:
    """Train the eraser of pen marks on photographs that marks are drawn on; the free model finds their faces."""
