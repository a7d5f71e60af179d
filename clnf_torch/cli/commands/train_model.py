"""``clnf-torch train model``: shape, heatmap experts and all that belongs to them, from annotated faces, in one go."""

from pathlib import Path
from typing import Annotated

import typer

from clnf_torch.cli.commands.command import run_by
from clnf_torch.cli.options import Data, Device, Effort, Out, Seed, Split, Threads

MESH_HELP = "Begin as MediaPipe's face mesh: the wheel of mediapipe, or its folder. Without: from nothing."
SMALL_HELP = "Train two small networks; wants --mesh."
HOLD_OUT_HELP = "Keep every K-th face back: to tune by, and to tell how good the model is."


@run_by(
    "clnf_torch.cli.runs.train_model",
    "clnf-torch train model faces --work work -o mine.pt",
    "clnf-torch train model faces --work trial -o trial.pt --effort 0.01",
    "clnf-torch train model faces --mesh mediapipe-0.10.14.whl --work work -o sharp.pt",
    "clnf-torch train model faces --mesh mediapipe-0.10.14.whl --small --detector blazeface.pt --work work -o small.pt",
)
def model(
    data: Data,
    out: Out,
    work: Annotated[Path, typer.Option(metavar="DIR", help="Checkpoints: the same command goes on from them.")],
    split: Split = None,
    hold_out: Annotated[int, typer.Option(metavar="K", min=2, help=HOLD_OUT_HELP)] = 5,
    prior: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Shapes to begin with: a bundle, or ICT-FaceKit's .npz.")
    ] = None,
    detector: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Face detector: a bundle with one, or the wheel of mtcnn or mediapipe."),
    ] = None,
    mesh: Annotated[Path | None, typer.Option(metavar="FILE", help=MESH_HELP)] = None,
    small: Annotated[bool, typer.Option("--small", help=SMALL_HELP)] = False,
    seed: Seed = 0,
    effort: Effort = 1.0,
    device: Device = "cpu",
    threads: Threads = None,
) -> None:
    """Train a landmark model and everything around it. Ctrl-C keeps what is done; the same command goes on."""
