"""``clnf-torch info``: what a bundle contains."""

from typing import Annotated

import typer

from clnf_torch.cli.commands.command import run_by
from clnf_torch.cli.options import BundleOrDefault

VERIFY_HELP = "Compare all of the file with its checksums, a large one that has not changed since too."


@run_by(
    "clnf_torch.cli.runs.info",
    "clnf-torch info default",
    "clnf-torch info openface.pt --verify",
)
def info(
    bundle: BundleOrDefault,
    verify: Annotated[bool, typer.Option("--verify", help=VERIFY_HELP, show_default=False)] = False,
) -> None:
    """Print the contents of a bundle, or of the default model: shape model, patch experts, sources and licence."""
