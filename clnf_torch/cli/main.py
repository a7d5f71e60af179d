"""``clnf-torch``: the program and its commands."""

import gc
import os
import signal
import sys
from collections.abc import Callable
from typing import Annotated

import typer

import clnf_torch
from clnf_torch.cli.commands.convert import convert
from clnf_torch.cli.commands.detect import detect, fit
from clnf_torch.cli.commands.evaluate import evaluate
from clnf_torch.cli.commands.export import export
from clnf_torch.cli.commands.info import info
from clnf_torch.cli.commands.measure import measure
from clnf_torch.cli.commands.openface import OpenFaceCommand, openface
from clnf_torch.cli.commands.repair import repair
from clnf_torch.cli.commands.report import report
from clnf_torch.cli.commands.track import track
from clnf_torch.cli.commands.train_cen import cen
from clnf_torch.cli.commands.train_eraser import eraser
from clnf_torch.cli.commands.train_eyes import eyes
from clnf_torch.cli.commands.train_finetune import finetune
from clnf_torch.cli.commands.train_free import free
from clnf_torch.cli.commands.train_model import model
from clnf_torch.cli.commands.train_render import render
from clnf_torch.cli.commands.train_retrain import retrain
from clnf_torch.cli.console import CLOSED_PIPE, STOPS, complain, say
from clnf_torch.cli.streams import open_streams, require_stdout

command: Callable[..., None]

train = typer.Typer(
    help="Train models on annotated faces.", no_args_is_help=True, rich_markup_mode=None, add_completion=False
)
for command in (model, retrain, free, cen, finetune, render, eyes, eraser):
    train.command()(command)


app = typer.Typer(
    name="clnf-torch",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for command in (convert, export, info, detect):
    app.command()(command)
app.command("fit", help="Alias of detect that needs --box or --boxes.")(fit)
app.command()(track)
app.command(cls=OpenFaceCommand)(openface)
for command in (measure, repair, evaluate, report):
    app.command()(command)
app.add_typer(train, name="train")


def _print_version(asked: bool) -> None:
    """Ends the program with its version, if that was asked for."""
    if asked:
        require_stdout("leave it open")
        say(f"clnf-torch {clnf_torch.__version__}")
        raise typer.Exit


@app.callback()
def program(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Facial landmark detection and tracking by OpenFace's CE-CLM, in PyTorch."""
    try:
        os.getcwd()
    except OSError:
        # No relative path leads anywhere, and PyTorch does not load
        complain("the working directory no longer exists; change into another one")
        raise typer.Exit(2) from None


def _refuse_empty(arguments: list[str]) -> None:
    """Ends the program where an argument is empty: as a path it would be the current folder, and its files be read."""
    if "" in arguments:
        before = arguments[: arguments.index("")]
        place = f"behind {before[-1]}" if before else "at the beginning"
        complain(f"expected a value, found an empty argument {place}; is a variable of the shell not set?")
        sys.exit(2)


def main() -> None:
    """Runs the program; a polite request to stop cleans up as Ctrl-C does."""
    open_streams()
    for number in STOPS:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, lambda asked, _: sys.exit(128 + asked))
    # Python would look for cycles among a million objects of PyTorch's modules, which stay, again and again while it
    # loads them, and once more at the end: a sixth of the start. `run_by` switches it on when they are loaded
    gc.disable()
    try:
        _refuse_empty(sys.argv[1:])
        app()
    except SystemExit as end:
        # Of a pipe whose reader is gone typer makes 1, which is a failure; other programs end by the signal
        if isinstance(end.__context__, BrokenPipeError):
            sys.exit(CLOSED_PIPE)
        raise
    except OSError as error:
        # Of help and the version; commands tell of their own
        complain(f"{error.filename}: {error.strerror}" if error.filename else error)
        sys.exit(1)
    finally:
        gc.freeze()
