"""Early termination: when the first scale of a hypothesis is good enough (``early_term_*.txt``)."""

from pathlib import Path

import torch
from torch import Tensor

from clnf_torch.converters.openface.text import TextReader


def convert_early_termination(path: Path, views: int) -> dict[str, Tensor]:
    """Reads the numbers of early termination.

    Args:
        path: The file: weights, biases and cutoffs of all views, one after the other.
        views: Number of views V of the patch experts.

    Returns:
        ``weights``, ``biases`` and ``cutoffs``, each (V,) float64.

    Raises:
        ConversionError: The file does not hold 3 V finite numbers.

    Source:
        OpenFace ``Read_CLNF``.
    """
    what = f"early termination's weights, biases and cutoffs of {views} views"
    reader = TextReader.open(path, what)
    values = torch.from_numpy(reader.numbers(3 * views, what))
    reader.expect_end(f"{3 * views} numbers ({what})")
    weights, biases, cutoffs = values.reshape(3, views).clone()
    return {"weights": weights, "biases": biases, "cutoffs": cutoffs}
