"""A command apart from what it runs: options are read, and help is printed, before anything large is loaded."""

import functools
import gc
import importlib
import inspect
from collections.abc import Callable
from typing import Any


def run_by(module: str, *examples: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Lets a function that has a command's options be run by the function of its name in a module.

    That module is imported when the command runs: PyTorch alone takes ten times as long to load as all options.

    Args:
        module: Its function takes the same arguments.
        examples: Command lines, which help shows.

    Returns:
        What decorates the function.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(command)
        def run(**options: Any) -> None:
            target = getattr(importlib.import_module(module), command.__name__)
            if not gc.isenabled():
                gc.freeze()
                gc.enable()
            if options.get("threads") is not None:
                importlib.import_module("torch").set_num_threads(options["threads"])
            # Some pass them on to other processes
            if "threads" not in inspect.signature(target).parameters:
                options.pop("threads", None)
            target(**options)

        # \b keeps typer from joining the lines that follow
        run.__doc__ = "\n".join([inspect.getdoc(command) or "", "", "\b", "Examples:", *(f"  {e}" for e in examples)])
        return run

    return decorate
