"""Reads lists of arrays that joblib wrote, and runs nothing that the file asks for.

Such a file is a pickle in which the numbers of each array stand right behind its description. A pickle may name any
function to be called; here three names are known, and each of them stands for a plain record below.
"""

import io
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clnf_torch.files.plain_pickle import PickleError, read_pickle

# Numbers of an array; those of the largest network are 300,000
LARGEST = 1 << 24

FloatArray = NDArray[np.float32]


def read_arrays(content: bytes) -> list[FloatArray]:
    """The arrays of a file.

    Args:
        content: The file, uncompressed.

    Returns:
        Arrays of float32 in C order, as the file lists them.

    Raises:
        ValueError: It holds anything else, or ends too early.
    """
    stream = io.BytesIO(content)
    names = {
        ("joblib.numpy_pickle", "NumpyArrayWrapper"): lambda *_: _Array(stream),
        ("numpy", "ndarray"): _ndarray,
        ("numpy", "dtype"): _Float32,
    }
    try:
        found = read_pickle(stream, names)
    except PickleError as error:
        raise ValueError(f"no list of arrays can be read: {error}") from error
    if not isinstance(found, list) or not all(isinstance(one, _Array) and one.read for one in found):
        raise ValueError("the file holds something else than a list of arrays")
    return [one.numbers for one in found]


def _ndarray(*_: Any) -> Any:
    """Stands for the class of arrays, which is mentioned but never made."""
    raise ValueError("the file makes an array by itself")


class _Float32:
    """The number type; refuses all but one."""

    def __init__(self, code: Any, *_: Any) -> None:
        if code != "f4":
            raise ValueError(f"the arrays are of type {code!r}; expected 'f4'")

    def __setstate__(self, state: Any) -> None:
        """Refuses numbers whose highest byte comes first."""
        if state[1] != "<":
            raise ValueError(f"the arrays have byte order {state[1]!r}; expected '<'")


class _Array:
    """An array, whose numbers are next in the stream when it learns what it is."""

    numbers: FloatArray
    read = False

    def __init__(self, stream: io.BytesIO) -> None:
        self.stream = stream

    def __setstate__(self, state: Any) -> None:
        """Takes a description, then the numbers."""
        shape, order = state["shape"], state["order"]
        if state["subclass"] is not _ndarray or order != "C" or not isinstance(state["dtype"], _Float32):
            raise ValueError(f"an array of order {order!r}; expected plain ones of order 'C'")
        if not all(type(size) is int and 0 < size <= LARGEST for size in shape) or math.prod(shape) > LARGEST:
            raise ValueError(f"an array of shape {shape}, which is none of a network")
        if state.get("numpy_array_alignment_bytes") is not None:
            self.stream.read(self._byte())
        content = self.stream.read(4 * math.prod(shape))
        if len(content) < 4 * math.prod(shape):
            raise ValueError(f"the file ends inside an array of shape {shape}")
        self.numbers, self.read = np.frombuffer(content, "<f4").reshape(shape), True

    def _byte(self) -> int:
        """The next byte: how many of no meaning follow."""
        return int.from_bytes(self.stream.read(1), "little")
