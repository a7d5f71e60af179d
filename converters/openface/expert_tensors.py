"""What all patch experts need on their way into tensors: room for the widest, and numbers that fit."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from clnf_torch.converters.openface.errors import DOWNLOAD_AGAIN, ConversionError, Place

MAX_PADDING = 2.0
"""Small files must not ask for much memory: padding may at most double what experts need."""


def require_little_padding(counts: list[int], file: Path, what: str) -> None:
    """Refuses experts so unlike that filling all up to the largest would more than double them.

    Args:
        counts: How many of a thing each expert has.
        file: The file, for messages.
        what: The thing, for messages.

    Raises:
        ConversionError: They are.
    """
    if len(counts) * max(counts, default=0) > MAX_PADDING * sum(counts):
        expected = f"experts of about as many {what} each"
        raise ConversionError(file, expected=expected, found=f"{min(counts)} to {max(counts)}")


def fit_into(dtype: torch.dtype, values: NDArray[Any], place: Place) -> NDArray[Any]:
    """The values, if none of them is too large for a number type.

    Raises:
        ConversionError: One is.
    """
    largest = float(np.abs(values).max(initial=0))
    if not largest <= torch.finfo(dtype).max:
        remedy = "convert without --half" if dtype == torch.float16 else DOWNLOAD_AGAIN
        expected = f"numbers that fit into {str(dtype).removeprefix('torch.')}"
        raise ConversionError(place, expected=expected, found=f"{largest:g}", remedy=remedy)
    return values
