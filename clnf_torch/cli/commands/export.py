"""``clnf-torch export``: a bundle becomes OpenFace's files again."""

from pathlib import Path
from typing import Annotated

import typer

from clnf_torch import converters
from clnf_torch.cli.console import failures_exit_with, say
from clnf_torch.cli.options import Bundle


def export(
    bundle: Bundle,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder for the files; created if needed.")],
) -> None:
    """Write CEN patch experts as OpenFace's .dat files. Byte for byte, unless converted with --half."""
    with failures_exit_with(2):
        for path in converters.export(bundle, folder):
            say(f"{path}: {path.stat().st_size:,} bytes")
