"""``clnf-torch export``: a bundle becomes OpenFace's files again."""

from pathlib import Path
from typing import Annotated

import typer

from clnf_torch import converters
from clnf_torch.cli.console import failures_exit_with, say
from clnf_torch.cli.options import Bundle


def export(
    bundle: Bundle,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where to write; made if it does not exist.")],
) -> None:
    """Write CEN experts as OpenFace's .dat files. Converted ones are the same byte for byte, unless they are halves."""
    with failures_exit_with(2):
        for path in converters.export(bundle, folder):
            say(f"{path}: {path.stat().st_size:,} bytes")
