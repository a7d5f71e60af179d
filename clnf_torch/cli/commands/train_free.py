"""``clnf-torch train free``: a model that anyone may use, from rendered faces, a free set of points, and portraits."""

from pathlib import Path
from typing import Annotated

import typer

from clnf_torch.cli.commands.command import run_by
from clnf_torch.cli.commands.train_model import MESH_HELP
from clnf_torch.cli.options import Device, Effort, Out, Seed, Threads

TEACHER_HELP = "Draw portraits' landmarks to those of MediaPipe's face mesh: pip install mediapipe==0.10.14."
# Nobody knows what folders hold but who gives them
TERMS = "Any use that the templates, the portraits and the shapes allow which the model was trained on."


@run_by(
    "clnf_torch.cli.runs.train_free",
    "clnf-torch train free rendered --templates london --portraits congress --prior ict_68.npz --work work -o free.pt",
    "clnf-torch train free rendered --templates london --portraits london --portraits congress --prior ict_68.npz"
    " --work work -o free.pt --device cuda",
)
def free(
    faces: Annotated[Path, typer.Argument(metavar="FACES", help="Folder of clnf-torch train render.")],
    templates: Annotated[
        Path, typer.Option(metavar="DIR", help="Photographs with templates.npz, the London Set's hand-set points.")
    ],
    portraits: Annotated[
        list[Path], typer.Option(metavar="DIR", help="Photographs of faces that nobody has annotated; may be repeated.")
    ],
    prior: Annotated[Path, typer.Option(metavar="FILE", help="Shapes to begin with: ICT-FaceKit's .npz.")],
    out: Out,
    work: Annotated[Path, typer.Option(metavar="DIR", help="Checkpoints: the same command goes on from them.")],
    licence: Annotated[str, typer.Option(metavar="TEXT", help="Terms of use, kept in the bundle.")] = TERMS,
    mesh: Annotated[Path | None, typer.Option(metavar="FILE", help=MESH_HELP)] = None,
    teacher: Annotated[bool, typer.Option("--teacher", help=TEACHER_HELP)] = False,
    seed: Seed = 0,
    effort: Effort = 1.0,
    device: Device = "cpu",
    threads: Threads = None,
) -> None:
    """Train a model of free material alone: no annotated photograph that is for research only has a part in it."""
