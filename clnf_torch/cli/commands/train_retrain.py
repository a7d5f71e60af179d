"""``clnf-torch train retrain``: trains the networks of a bundle again, further or as small ones."""

from pathlib import Path
from typing import Annotated

import typer

from clnf_torch.cli.commands.command import run_by
from clnf_torch.cli.options import Data, Device, Effort, Model, Out, Seed, Split, Threads, Work

SMALL_HELP = "Train small networks that answer like those of the model (distillation)."


@run_by(
    "clnf_torch.cli.runs.train_retrain",
    "clnf-torch train retrain faces --model first.pt -o second.pt",
    "clnf-torch train retrain faces --small -o small.pt --detector blazeface.pt",
)
def retrain(
    data: Data,
    out: Out,
    model: Model,
    work: Work = None,
    split: Split = None,
    small: Annotated[bool, typer.Option("--small", help=SMALL_HELP)] = False,
    detector: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Another face detector: a bundle with one, or the wheel of its package."),
    ] = None,
    seed: Seed = 0,
    effort: Effort = 1.0,
    device: Device = "cpu",
    threads: Threads = None,
) -> None:
    """Train the networks of a model of heatmap experts on all faces, further or anew; all else stays as it is."""
