"""``clnf-torch train finetune``: fine-tunes the experts of a bundle on annotated faces."""

from typing import Annotated

import typer

from clnf_torch.cli.commands.command import run_by
from clnf_torch.cli.options import Data, Device, HoldOut, Model, Out, Photometric, Seed, Split, Threads, Work

PEN_MARKS_HELP = "Probability of pen marks on a face; if omitted 0.5 for heatmap experts, 0 for CEN."


@run_by(
    "clnf_torch.cli.runs.train_finetune",
    "clnf-torch train finetune faces -o tuned.pt",
    "clnf-torch train finetune faces --model cen.pt -o tuned.pt --epochs 10",
)
def finetune(
    data: Data,
    out: Out,
    model: Model,
    work: Work = None,
    split: Split = None,
    shape: Annotated[bool, typer.Option("--shape", help="Train the shape model too, from the old one on.")] = False,
    epochs: Annotated[int, typer.Option(min=0, help="Passes over the faces.")] = 5,
    learning_rate: Annotated[float, typer.Option(help="Learning rate of Adam.")] = 1e-5,
    end_to_end: Annotated[
        int, typer.Option(metavar="STEPS", min=0, help="Steps of end-to-end training of all scales afterwards.")
    ] = 0,
    hold_out: HoldOut = 10,
    photometric: Photometric = True,
    pen_marks: Annotated[float | None, typer.Option(min=0, max=1, metavar="PROBABILITY", help=PEN_MARKS_HELP)] = None,
    seed: Seed = 0,
    device: Device = "cpu",
    threads: Threads = None,
) -> None:
    """Fine-tune heatmap or CEN experts on other faces, with early stopping by held-out faces."""
