"""``clnf-torch export``: a bundle becomes OpenFace's files again."""

from pathlib import Path
from typing import Annotated

import typer

from clnf_torch import converters
from clnf_torch.cli.console import failures_exit_with, notice, say
from clnf_torch.cli.options import Bundle
from clnf_torch.cli.output_check import Input, Output, check_outputs

SOURCE_HELP = (
    "The model directory that the bundle was converted from: its other files are copied, so that DIR is complete."
)
NO_VALIDATOR = (
    "the folder has no detection validator and no parts: OpenFace's programs need -validate_detections 0 there; "
    "--source MODEL_DIR copies those of the model that this one was converted from"
)


def export(
    bundle: Bundle,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder for the files; created if needed.")],
    source: Annotated[Path | None, typer.Option("--source", metavar="MODEL_DIR", help=SOURCE_HELP)] = None,
) -> None:
    """Write CEN patch experts as OpenFace's .dat files. Byte for byte, unless converted with --half."""
    check_outputs([Input(bundle)], [Output("DIR", folder, folder=True)])
    with failures_exit_with(2):
        files = converters.export(bundle, folder, source)
        for path in files:
            say(f"{path}: {path.stat().st_size:,} bytes")
        if source is None and any(path.name == converters.PREFERRED for path in files):
            notice(NO_VALIDATOR)
