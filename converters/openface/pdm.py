"""Point distribution models (``pdms/*.txt``): mean shape, modes and their variances."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from clnf_torch.converters.openface.binary import FLOAT32_MIN, FLOAT64
from clnf_torch.converters.openface.errors import ConversionError, Place
from clnf_torch.converters.openface.text import TextReader, matrix_text, shape_text
from clnf_torch.models.pdm import PDM


def convert_pdm(path: Path) -> dict[str, Any]:
    """Reads a PDM file.

    OpenFace stacks all x, then all y, then all z; the bundle keeps the three coordinates of a point together.

    Args:
        path: The file.

    Returns:
        ``mean`` (N, 3), ``modes`` (M, N, 3), both in millimetres, and ``variances`` (M,), all float64.

    Raises:
        ConversionError: The file is not a PDM.

    Source:
        OpenFace ``Read`` of its ``PDM``.
    """
    reader = TextReader.open(path, "a point distribution model")
    mean_place, mean = _matrix(reader, "the mean shape")
    if mean.shape[1] != 1 or mean.shape[0] % 3:
        expected = "a mean shape of 3 x landmarks rows and 1 column"
        raise ConversionError(mean_place, expected=expected, found=shape_text(mean))
    modes_place, modes = _matrix(reader, "the principal components")
    if len(modes) != len(mean):
        expected = f"principal components of {len(mean)} rows, as the mean shape has"
        raise ConversionError(modes_place, expected=expected, found=shape_text(modes))
    variances_place, variances = _matrix(reader, "the eigenvalues")
    if 1 not in variances.shape or variances.size != modes.shape[1]:
        expected = f"{modes.shape[1]} eigenvalues, one for each principal component"
        raise ConversionError(variances_place, expected=expected, found=shape_text(variances))
    if (variances < FLOAT32_MIN).any():
        expected = "eigenvalues greater than 0"
        raise ConversionError(variances_place, expected=expected, found=f"{variances.min():g}")
    reader.expect_end("the eigenvalues")
    points = len(mean) // 3
    return PDM(
        mean=torch.from_numpy(np.ascontiguousarray(mean.reshape(3, points).T)),
        modes=torch.from_numpy(np.ascontiguousarray(modes.reshape(3, points, -1).transpose(2, 1, 0))),
        variances=torch.from_numpy(variances.reshape(-1)),
    ).to_record()


def pdm_text(pdm: Mapping[str, Tensor]) -> str:
    """The PDM file of a bundle's ``pdm``; the coordinates of all points are stacked, first x, then y, then z."""
    mean = pdm["mean"].numpy().T.reshape(-1, 1)
    modes = pdm["modes"].numpy().transpose(2, 1, 0).reshape(len(mean), -1)
    return (
        "# The mean values of the components (x, then y, then z)\n"
        + matrix_text(mean, FLOAT64)
        + "# The principal components\n"
        + matrix_text(modes, FLOAT64)
        + "# The variances of the components\n"
        + matrix_text(pdm["variances"].numpy().reshape(1, -1), FLOAT64)
    )


def _matrix(reader: TextReader, what: str) -> tuple[Place, NDArray[np.float64]]:
    """The next matrix, and the line of its header."""
    reader.skip_comments()
    return reader.place, reader.matrix(what)
