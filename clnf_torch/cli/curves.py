"""Cumulative error curves as a picture: the one file that imports matplotlib, when it is needed."""

import importlib.util
import io
from collections.abc import Mapping
from pathlib import Path

import typer
from torch import Tensor

from clnf_torch.models.archive import write_atomically
from clnf_torch.training.scores import FAILED, cumulative_curve

KINDS = (".png", ".svg", ".pdf")
UPTO = 0.15  # the largest error of a drawn curve


def check_plots(option: str, path: Path) -> None:
    """Refuses to draw curves where that would fail in the end.

    Raises:
        typer.BadParameter: matplotlib is not installed, or the file is of no kind that it writes here.
    """
    if importlib.util.find_spec("matplotlib") is None:
        raise typer.BadParameter(f"{option} needs matplotlib: pip install 'clnf-torch[training]'")
    if path.suffix.lower() not in KINDS:
        raise typer.BadParameter(f"{option} {path}: give a name that ends with {', '.join(KINDS)}")


def draw_curves(path: Path, curves: Mapping[str, Tensor], title: str) -> None:
    """Draws the share of faces below every error.

    Args:
        path: The file to write; its suffix is one of `KINDS`.
        curves: Errors (B,) by what the curve is called.
        title: Above the curves.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.2), layout="constrained")
    axes = figure.add_subplot()
    for name, errors in curves.items():
        axes.plot(*cumulative_curve(errors, UPTO), label=name)
    axes.axvline(FAILED, color="0.7", linewidth=0.8, linestyle=":")
    axes.set(xlim=(0, UPTO), ylim=(0, 1), title=title)
    axes.set(xlabel="mean error / distance of the outer eye corners", ylabel="share of the faces")
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")
    picture = io.BytesIO()
    figure.savefig(picture, format=path.suffix[1:].lower(), dpi=150)
    with write_atomically(path) as file:
        file.write(picture.getvalue())
