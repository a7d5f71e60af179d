"""``clnf-torch convert``: an OpenFace model directory becomes a bundle, or the face detector of another package."""

from pathlib import Path
from typing import Annotated

import typer

from clnf_torch.cli.commands.command import run_by

SOURCE_HELP = (
    "Model directory, main_*.txt, or model cache; by default OPENFACE_MODELS_DIR or the user's cache. "
    "Or the wheel of mediapipe or mtcnn, for its face detector."
)


@run_by(
    "clnf_torch.cli.runs.convert",
    "clnf-torch convert OpenFace/model -o openface.pt",
    "clnf-torch convert -o openface.pt --half",
)
def convert(
    out: Annotated[Path, typer.Option("--output", "-o", metavar="OUT.pt", help="The bundle to write.")],
    source: Annotated[Path | None, typer.Argument(metavar="[SOURCE]", help=SOURCE_HELP)] = None,
    half: Annotated[bool, typer.Option("--half", help="Store the weights of patch experts as float16.")] = False,
) -> None:
    """Convert an OpenFace model to a bundle, one .pt file. OpenFace's licence applies to the result.

    The wheel of mediapipe becomes a face detector (BlazeFace) for --detector, that of mtcnn likewise.
    """
