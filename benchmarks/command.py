"""The command ``python -m benchmarks``: speed, memory, conversion and face detection, printed as tables."""

from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.console import Console

from benchmarks import (
    blazeface,
    cache,
    conversion,
    detection,
    eyes,
    faces,
    machine,
    marks,
    memory,
    repair,
    rows,
    shared,
    sides,
    speed,
)

DEFAULT = ("speed", "detection", "memory", "conversion")  # what they need is made on first use


def main(
    what: Annotated[
        list[str] | None,
        typer.Argument(
            help="speed, detection, memory, conversion (the default), shared, faces, calibration, blazeface, repair, "
            "rows, eyes, sides, marks, cache"
        ),
    ] = None,
    device: Annotated[str, typer.Option(help="Where to measure the speed")] = "cpu",
    threads: Annotated[int, typer.Option(help="Threads; 0 for torch's default")] = 0,
    repeats: Annotated[int, typer.Option(help="Runs, of which the median counts")] = 7,
    model: Annotated[Path | None, typer.Option(help="Bundle for repair, eyes, sides, marks; without it ours")] = None,
    rendered: Annotated[Path | None, typer.Option(help="Folder of rendered faces for eyes and gaze")] = None,
    every: Annotated[int, typer.Option(help="Repair, or draw on, every so manieth face alone")] = 1,
) -> None:
    """Measure on this machine; needs the stand-in models of the shared folder beside the project.

    Another command, python -m benchmarks gpu --help, tells all about a card.
    """
    if threads:
        torch.set_num_threads(threads)
    benchmarks = {
        "speed": lambda: speed.report(device, repeats),
        "detection": lambda: detection.report(device, repeats),
        "memory": memory.report,
        "conversion": conversion.report,
        "shared": lambda: shared.report(repeats),
        "rows": lambda: rows.report(repeats),
        "cache": cache.report,
        "faces": lambda: faces.report(device),
        "repair": lambda: repair.report(device, model, every),
        "sides": lambda: sides.report(device, model),
        "marks": lambda: marks.report(device, model, every),
        "eyes": lambda: eyes.report(device, model, rendered),
        "calibration": lambda: faces.calibration(device),
        "blazeface": lambda: blazeface.calibration(device),
    }
    unknown = set(what or ()) - set(benchmarks)
    if unknown:
        raise typer.BadParameter(f"{', '.join(sorted(unknown))}: expected {', '.join(benchmarks)}")
    console = Console(width=120)
    console.print(machine.describe(device))
    for name in what or DEFAULT:
        for made in benchmarks[name]():
            console.print()
            console.print(made)
