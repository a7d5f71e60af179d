"""Writes the small text files of an OpenFace model: shape model, triangulations, early termination, descriptions."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from clnf_torch.converters.locate import PREFERRED
from clnf_torch.converters.openface.matrix import FLOAT64, INT32

DETECTOR, SHAPE, TRIANGLES, EARLY = "cen_trained.txt", "pdm.txt", "tris.txt", "early_termination.txt"


def text_files(model: Mapping[str, Any], experts: Iterable[str]) -> dict[str, str]:
    """All text files that OpenFace needs beside a model's expert files, by name.

    Args:
        model: A bundle's `model`.
        experts: The names of the expert files, coarse to fine.

    Source:
        OpenFace ``CLNF::Read`` and ``Read_CLNF``.
    """
    files = {PREFERRED: f"LandmarkDetector {DETECTOR}\n", SHAPE: pdm_text(model["pdm"])}
    lines = [f"PDM {SHAPE}"]
    if len(model["triangulations"]):
        files[TRIANGLES] = triangulations_text(model["triangulations"])
        lines.append(f"Triangulations {TRIANGLES}")
    lines += [f"PatchesCEN {name}" for name in experts]
    if model["early_termination"]:
        files[EARLY] = early_termination_text(model["early_termination"])
        lines.append(f"EarlyTermination {EARLY}")
    files[DETECTOR] = "\n".join(lines) + "\n"
    return files


def pdm_text(pdm: Mapping[str, Tensor]) -> str:
    """A shape model; the coordinates of all points are stacked, first x, then y, then z."""
    mean = pdm["mean"].numpy().T.reshape(-1, 1)
    modes = pdm["modes"].numpy().transpose(2, 1, 0).reshape(len(mean), -1)
    return (
        "# The mean values of the components (x, then y, then z)\n"
        + _matrix_text(mean, FLOAT64)
        + "# The principal components\n"
        + _matrix_text(modes, FLOAT64)
        + "# The variances of the components\n"
        + _matrix_text(pdm["variances"].numpy().reshape(1, -1), FLOAT64)
    )


def triangulations_text(triangulations: Sequence[Tensor]) -> str:
    """The triangles of every view."""
    views = "".join("# Triangles\n" + _matrix_text(triangles.numpy(), INT32) for triangles in triangulations)
    return f"# The number of views\n{len(triangulations)}\n{views}"


def early_termination_text(rules: Mapping[str, Tensor]) -> str:
    """Weights, biases and cutoffs of the views, a line each."""
    return "".join(_line(rules[name].double().numpy()) for name in ("weights", "biases", "cutoffs"))


def _matrix_text(values: NDArray[Any], code: int) -> str:
    """Rows, columns and element code, a line each, then the rows."""
    rows, columns = values.shape
    return f"{rows}\n{columns}\n{code}\n" + "".join(map(_line, values))


def _line(values: NDArray[Any]) -> str:
    """Numbers, as short as they can be read back exactly."""
    return " ".join(np.format_float_positional(v, trim="-") if v.dtype.kind == "f" else str(v) for v in values) + "\n"
