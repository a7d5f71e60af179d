"""``clnf-torch export``: a bundle becomes OpenFace's files again."""

from pathlib import Path
from typing import Annotated

import typer

from clnf_torch.cli.commands.command import run_by
from clnf_torch.cli.options import Bundle

SOURCE_HELP = (
    "The model directory that the bundle was converted from: its other files are copied, so that DIR is complete."
)


@run_by(
    "clnf_torch.cli.runs.export",
    "clnf-torch export mine.pt openface_files",
    "clnf-torch export mine.pt model --source OpenFace/model",
)
def export(
    bundle: Bundle,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder for the files; created if needed.")],
    source: Annotated[Path | None, typer.Option("--source", metavar="MODEL_DIR", help=SOURCE_HELP)] = None,
) -> None:
    """Write CEN patch experts as OpenFace's .dat files. Byte for byte, unless converted with --half."""
