"""``clnf-torch train retrain``: trains the networks of a bundle further."""

from pathlib import Path
from typing import Annotated

import typer

from clnf_torch.cli.commands.command import run_by
from clnf_torch.cli.options import Data, Device, Effort, Model, Out, Seed, Split, Threads, Work


@run_by(
    "clnf_torch.cli.runs.train_retrain",
    "clnf-torch train retrain faces --model first.pt -o second.pt",
    "clnf-torch train retrain faces --model small.pt -o all.pt --detector blazeface.pt",
)
def retrain(
    data: Data,
    out: Out,
    model: Model,
    work: Work = None,
    split: Split = None,
    detector: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Another face detector: a bundle with one, or the wheel of its package."),
    ] = None,
    seed: Seed = 0,
    effort: Effort = 1.0,
    device: Device = "cpu",
    threads: Threads = None,
) -> None:
    """Train the networks of a model of heatmap experts further, on all faces; all else stays as it is."""
