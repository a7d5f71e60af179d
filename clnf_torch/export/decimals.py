"""Numbers as decimal digits, of whole tables at once: as many as tell any two float32 apart."""

from collections.abc import Sequence
from itertools import chain
from math import isfinite
from typing import Any

import numpy as np
from torch import Tensor

from clnf_torch.compilation.conditions import load_kernels

# Digits that any float32 keeps, and digits after which it is known
KEPT, ENOUGH = 6, 9
# Sizes within which products of a float32 with a power of ten are exact in float64, and its text has no exponent
LEAST, BEYOND = 1e-3, 1e6
POWERS = 10.0 ** np.arange(2 * ENOUGH)
# The leading places of such sizes, and what each begins at
FIRST_PLACE = -4
STARTS = 10.0 ** np.arange(FIRST_PLACE, 8)


def shortest_texts(values: Tensor) -> list[list[str]]:
    """The shortest texts that read back as the same numbers.

    Args:
        values: Shape (R, C).

    Returns:
        R lists of C texts.

    Source:
        ``str`` of numpy's numbers.
    """
    array = values.detach().cpu().numpy()
    if array.dtype != np.float32:
        return [list(map(str, row)) for row in (array if array.dtype.kind == "f" else array.tolist())]
    found, exact = _shortest(array)
    texts = _texts(found.ravel())
    flat = array.ravel()
    for place in np.flatnonzero(~exact):
        texts[place] = str(flat[place])
    return _in_rows(texts, array.shape)


def nine_digit_texts(tables: Sequence[Tensor]) -> list[list[str]]:
    """Numbers as JSON has them: rounded to nine digits, and ``null`` where a number is not finite.

    Args:
        tables: Floating point, shapes (R, ...); those of one type are converted together.

    Returns:
        R lists of the texts of all numbers, table after table.
    """
    if not len(tables[0]):
        return []
    arrays = [values.detach().cpu().reshape(len(values), -1).numpy() for values in tables]
    found: list[list[list[str]]] = [[] for _ in tables]
    for dtype in {array.dtype for array in arrays}:
        alike = [k for k, array in enumerate(arrays) if array.dtype == dtype]
        rows = _nine_digit_texts(np.concatenate([arrays[k] for k in alike], axis=1))
        if len(alike) == len(tables):
            return rows
        ends = np.cumsum([0, *(arrays[k].shape[1] for k in alike)])
        for k, first, last in zip(alike, ends, ends[1:], strict=False):
            found[k] = [row[first:last] for row in rows]
    return [list(chain.from_iterable(parts)) for parts in zip(*found, strict=True)]


def _nine_digit_texts(array: Any) -> list[list[str]]:
    """R lists of the texts of numbers (R, C) of one type."""
    numbers, exact, places = _prepared(array)
    found = _rounded(numbers, places, ENOUGH) if array.dtype == np.float32 else numbers
    # Zeros are themselves
    zero = array == 0
    found[zero] = array[zero]
    texts, flat = _texts(found.ravel()), array.ravel()
    for place in np.flatnonzero(~(exact | zero)):
        number = float(flat[place])
        texts[place] = repr(float(f"{number:.{ENOUGH}g}")) if isfinite(number) else "null"
    return _in_rows(texts, array.shape)


def _shortest(array: Any) -> tuple[Any, Any]:
    """float64 numbers whose `repr` is the shortest text of float32 numbers, and for which of them they are known."""
    numbers, exact, places = _prepared(array)
    # What lies between is nearer to this number than to the next ones; the ends are float64 numbers
    single = numbers.astype(np.float32)
    low = (numbers + np.nextafter(single, np.float32(-np.inf))) / 2
    high = (numbers + np.nextafter(single, np.float32(np.inf))) / 2
    found = _rounded(numbers, places, ENOUGH)
    # Of fewer digits than any float32 keeps, the last ones are zeros
    for digits in range(ENOUGH - 1, KEPT - 1, -1):
        fewer = _rounded(numbers, places, digits)
        found = np.where((low < fewer) & (fewer < high), fewer, found)
        # On the edge: the text could lie on either side
        exact &= (fewer != low) & (fewer != high)
    return found, exact


def _texts(numbers: Any) -> list[str]:
    """`repr` of float64 numbers (P,) of at most nine digits, not too large or small, which printing nine gives sooner.

    They are from `LEAST` on and smaller than `BEYOND`, or any numbers of which nobody wants the text.
    """
    loops = load_kernels("clnf_torch.export.kernels.cpu.decimals")
    if loops is not None:
        found: list[str] = loops.texts_of(numbers, ENOUGH, STARTS, FIRST_PLACE)
        return found
    texts = (f"%.{ENOUGH}g\n" * len(numbers) % tuple(numbers.tolist())).split("\n")[:-1]
    # They have a point
    for place in np.flatnonzero(numbers == np.rint(numbers)):
        texts[place] = repr(float(numbers[place]))
    return texts


def _in_rows(texts: list[str], shape: tuple[int, ...]) -> list[list[str]]:
    """Texts as R lists of C."""
    rows, columns = shape
    return [texts[row * columns : (row + 1) * columns] for row in range(rows)]


def _prepared(array: Any) -> tuple[Any, Any, Any]:
    """Numbers in float64; which of them are rounded exactly, the others being 1; and their leading places."""
    size = np.abs(array)
    exact = (size >= LEAST) & (size < BEYOND) if array.dtype == np.float32 else np.zeros(array.shape, bool)
    numbers = np.where(exact, array, 1).astype(np.float64)
    return numbers, exact, np.searchsorted(STARTS, np.abs(numbers), side="right") + (FIRST_PLACE - 1)


def _rounded(numbers: Any, places: Any, digits: int) -> Any:
    """Numbers rounded to so many digits."""
    shift = digits - 1 - places
    up, down = POWERS[np.maximum(shift, 0)], POWERS[np.maximum(-shift, 0)]
    return np.rint(numbers * up / down) * down / up
