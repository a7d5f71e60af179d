"""``clnf-torch``: the program and its commands."""

import signal
import sys

import typer

from clnf_torch.cli.commands.convert import convert
from clnf_torch.cli.commands.detect import detect
from clnf_torch.cli.commands.evaluate import evaluate
from clnf_torch.cli.commands.export import export
from clnf_torch.cli.commands.fit import fit
from clnf_torch.cli.commands.info import info
from clnf_torch.cli.commands.repair import repair
from clnf_torch.cli.commands.track import track
from clnf_torch.cli.commands.train_cen import cen
from clnf_torch.cli.commands.train_finetune import finetune
from clnf_torch.cli.commands.train_model import model

train = typer.Typer(
    help="Make models from annotated faces.", no_args_is_help=True, rich_markup_mode=None, add_completion=False
)
for command in (model, cen, finetune):
    train.command()(command)


app = typer.Typer(
    name="clnf-torch",
    help="Finds faces and their landmarks, by the model that comes along, by OpenFace's, or by one that you train.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for command in (convert, export, info, fit, detect, track, repair, evaluate):
    app.command()(command)
app.add_typer(train, name="train")


def main() -> None:
    """Runs the program; a polite request to stop cleans up as Ctrl-C does."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    app()
