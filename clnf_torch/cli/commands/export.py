"""``clnf-torch export``: a bundle becomes OpenFace's files again, or its networks ONNX files."""

from pathlib import Path
from typing import Annotated

import typer

from clnf_torch.cli.commands.command import run_by
from clnf_torch.cli.options import Bundle

SOURCE_HELP = (
    "The model directory that the bundle was converted from: its other files are copied, so that DIR is complete."
)

ONNX_HELP = "Write the networks of heatmap experts as ONNX instead, a file for each scale that has its own."


@run_by(
    "clnf_torch.cli.runs.export",
    "clnf-torch export mine.pt openface_files",
    "clnf-torch export mine.pt --onnx experts.onnx",
)
def export(
    bundle: Bundle,
    folder: Annotated[
        Path | None, typer.Argument(metavar="[DIR]", help="Folder for OpenFace's files; created if needed.")
    ] = None,
    source: Annotated[Path | None, typer.Option("--source", metavar="MODEL_DIR", help=SOURCE_HELP)] = None,
    onnx: Annotated[Path | None, typer.Option("--onnx", metavar="FILE.onnx", help=ONNX_HELP)] = None,
) -> None:
    """Write CEN patch experts as OpenFace's .dat files, byte for byte unless converted with --half; or ONNX files."""
