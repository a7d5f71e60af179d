"""The console: results on stdout, all else on stderr, every error as one line; and how Ctrl-C ends a command."""

import contextlib
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

import typer

from clnf_torch.files.names import one_line, printable
from clnf_torch.files.reading import InputError

# The exit code of a program that Ctrl-C ended
INTERRUPTED = 130
# That of one whose results nobody reads any more, as SIGPIPE would end it
CLOSED_PIPE = 141
# Polite requests to stop: of other programs, and of a terminal that is closed
STOPS = [number for number in (signal.SIGTERM, getattr(signal, "SIGHUP", None)) if number is not None]


def say(text: object = "") -> None:
    """Prints one line of a result on stdout."""
    typer.echo(printable(str(text)))


def notice(text: object) -> None:
    """Prints one line on stderr."""
    # What stderr is now: above a progress bar, not in it
    typer.echo(printable(str(text)), file=sys.stderr)


def mention_terms(model: Path, licence: str) -> None:
    """Prints one line on stderr where the terms of a model allow research alone."""
    if re.search(r"\bresearch\b", licence, re.IGNORECASE):
        notice(f"note: {model.name} is for research use only; clnf-torch info shows its terms")


def complain(text: object) -> None:
    """Prints one error line on stderr."""
    notice(one_line(f"clnf-torch: error: {text}"))


def add_note(error: BaseException, line: str) -> None:
    """Gives an error a line that is printed last, when it ends the command."""
    # As in Python 3.11, which 3.10 does not know
    vars(error).setdefault("__notes__", []).append(line)


def _print_notes(error: BaseException) -> None:
    """Prints what an error carries along."""
    for line in getattr(error, "__notes__", ()):
        notice(line)


class Complaints:
    """Prints errors and remembers that there were some."""

    def __init__(self) -> None:
        self.any = False

    def __call__(self, line: str) -> None:
        """Prints one error."""
        self.any = True
        complain(line)


@contextlib.contextmanager
def failures_exit_with(code: int) -> Iterator[None]:
    """Turns what can go wrong in a command into one line on stderr and an exit code.

    Args:
        code: The exit code of a failure; Ctrl-C has its own.

    Raises:
        typer.Exit: Something went wrong.
    """
    failure: BaseException
    try:
        yield
    except (typer.Exit, typer.Abort, BrokenPipeError):
        # Of a pipe the reader is gone: typer ends quietly
        raise
    except KeyboardInterrupt as error:
        notice("clnf-torch: interrupted")
        _print_notes(error)
        raise typer.Exit(INTERRUPTED) from None
    except SystemExit as error:
        notice("clnf-torch: stopped")
        _print_notes(error)
        raise
    except InputError as error:
        failure, line = error, str(error)
    except OSError as error:
        failure, line = error, f"{error.filename}: {error.strerror}" if error.filename else str(error)
    except (MemoryError, ModuleNotFoundError, RuntimeError) as error:
        # Torch says so when a device is missing, or out of memory; a package of an extra may be missing
        failure, line = error, str(error).strip().partition("\n")[0] or "out of memory"
    else:
        return
    complain(line)
    _print_notes(failure)
    raise typer.Exit(code)


@contextlib.contextmanager
def finishing_first() -> Iterator[Callable[[], None]]:
    """Lets Ctrl-C and polite requests to stop wait until the work in hand is done, so that files stay whole.

    The second one does not wait.

    Yields:
        To be called where the program may stop: raises KeyboardInterrupt, or SystemExit, once it was asked to.
    """
    asked: list[int] = []

    def ask(number: int, _frame: FrameType | None) -> None:
        asked.append(number)
        if len(asked) > 1:
            stop_if_asked()

    def stop_if_asked() -> None:
        for number in STOPS:
            if number in asked:
                raise SystemExit(128 + number)
        if asked:
            raise KeyboardInterrupt

    # Signals reach the main thread alone
    if threading.current_thread() is not threading.main_thread():
        yield stop_if_asked
        return
    # nohup has some ignored
    heard = [number for number in (signal.SIGINT, *STOPS) if signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, ask) for number in heard}
    try:
        yield stop_if_asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
