"""``clnf-torch train eyes``: eyes for a model, from rendered faces."""

from pathlib import Path
from typing import Annotated

import typer

from clnf_torch.cli.commands.command import run_by
from clnf_torch.cli.options import Device, Model, Out, Seed, Threads, Work

EYE_TEACHER_HELP = "Train on portraits' eyes, as MediaPipe's face mesh finds them: pip install mediapipe==0.10.14."


@run_by(
    "clnf_torch.cli.runs.train_eyes",
    "clnf-torch train eyes rendered_faces --portraits london --portraits congress -o with_eyes.pt",
    "clnf-torch train eyes rendered_faces --model mine.pt -o with_eyes.pt --steps 20000 --device cuda",
)
def eyes(
    faces: Annotated[Path, typer.Argument(metavar="FACES", help="Folder of clnf-torch train render.")],
    out: Out,
    model: Model,
    portraits: Annotated[
        list[Path] | None,
        typer.Option(metavar="DIR", help="Photographs of people who look into the camera; may be repeated."),
    ] = None,
    templates: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Photographs with templates.npz, whose eyes are trained on, too."),
    ] = None,
    teacher: Annotated[bool, typer.Option("--teacher", help=EYE_TEACHER_HELP)] = False,
    work: Work = None,
    steps: Annotated[int, typer.Option(min=1, help="Steps of 32 eyes each, for their landmarks.")] = 6000,
    gaze_steps: Annotated[int, typer.Option(min=1, help="Steps of 64 faces each, for their gaze.")] = 12000,
    seed: Seed = 0,
    device: Device = "cpu",
    threads: Threads = None,
) -> None:
    """Train eyes of 28 landmarks on rendered faces and photographs, and the network that then sees the gaze."""
