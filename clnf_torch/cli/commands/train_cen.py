"""``clnf-torch train cen``: CEN patch experts from annotated faces."""

from pathlib import Path
from typing import Annotated

import typer

from clnf_torch.cli.commands.command import run_by
from clnf_torch.cli.options import Data, Device, HoldOut, Out, Photometric, Seed, Split, Threads, Work

SCALE_HELP = "Pixels per millimetre and widths of the hidden layers; may be repeated. OpenFace's four if left out."


@run_by(
    "clnf_torch.cli.runs.train_cen",
    "clnf-torch train cen faces -o cen.pt",
    "clnf-torch train cen faces -o small.pt --scale 0.5:32,16 --epochs 5",
)
def cen(
    data: Data,
    out: Out,
    work: Work = None,
    split: Split = None,
    shape: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Shape model: a bundle's, or one begun from ICT-FaceKit's .npz.")
    ] = None,
    train_the_shape: Annotated[
        bool, typer.Option("--train-shape", help="Train the shape model on the faces too, from --shape on.")
    ] = False,
    scale: Annotated[list[str] | None, typer.Option(metavar="SCALE:WIDTHS", help=SCALE_HELP)] = None,
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the faces, eleven areas of each.")] = 25,
    learning_rate: Annotated[float, typer.Option(help="Learning rate of Adam; 1e-3 suits a few faces.")] = 5e-5,
    least_faces: Annotated[int, typer.Option(min=1, help="Views with fewer are left to their neighbours.")] = 40,
    hold_out: HoldOut = 10,
    photometric: Photometric = True,
    pen_marks: Annotated[
        float, typer.Option(metavar="PROBABILITY", min=0, max=1, help="Of pen marks on a face.")
    ] = 0.0,
    licence: Annotated[
        str | None,
        typer.Option(metavar="TEXT", show_default="research use", help="Terms of use, kept in the bundle."),
    ] = None,
    seed: Seed = 0,
    device: Device = "cpu",
    threads: Threads = None,
) -> None:
    """Train OpenFace's kind of patch experts (CEN) by the recipe of its authors. Ctrl-C keeps what is done."""
