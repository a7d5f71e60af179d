"""Point distribution models (``pdms/*.txt``): mean shape, modes and their variances."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from clnf_torch.converters.openface.errors import ConversionError
from clnf_torch.converters.openface.text import TextReader, shape_text


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
    mean_place, mean = reader.place, reader.matrix("the mean shape")
    if mean.shape[1] != 1 or mean.shape[0] % 3:
        expected = "a mean shape of 3 x landmarks rows and 1 column"
        raise ConversionError(mean_place, expected=expected, found=shape_text(mean))
    modes_place, modes = reader.place, reader.matrix("the principal components")
    if len(modes) != len(mean):
        expected = f"principal components of {len(mean)} rows, as the mean shape has"
        raise ConversionError(modes_place, expected=expected, found=shape_text(modes))
    variances_place, variances = reader.place, reader.matrix("the eigenvalues")
    if 1 not in variances.shape or variances.size != modes.shape[1]:
        expected = f"{modes.shape[1]} eigenvalues, one for each principal component"
        raise ConversionError(variances_place, expected=expected, found=shape_text(variances))
    if (variances <= 0).any():
        expected = "eigenvalues greater than 0"
        raise ConversionError(variances_place, expected=expected, found=f"{variances.min():g}")
    reader.expect_end("the eigenvalues")
    points = len(mean) // 3
    return {
        "mean": torch.from_numpy(np.ascontiguousarray(mean.reshape(3, points).T)),
        "modes": torch.from_numpy(np.ascontiguousarray(modes.reshape(3, points, -1).transpose(2, 1, 0))),
        "variances": torch.from_numpy(variances.reshape(-1)),
    }
