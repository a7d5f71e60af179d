"""Decimal digits of numbers as loops, without a call for each of them."""

import numpy as np

from clnf_torch.compilation.compiler import Array, compiled_exactly

ZERO, POINT, MINUS, END = ord("0"), ord("."), ord("-"), ord("\n")
# Sign, three zeros and a point before nine digits, another zero behind them, and the end
LONGEST = 16


def texts_of(numbers: Array, digits: int, starts: Array, first_place: int) -> list[str]:
    """`_texts` of float64 numbers (P,) of at most so many digits; of places that begin at `starts`."""
    text = np.empty(LONGEST * len(numbers), np.uint8)
    length = write_numbers(numbers, digits, starts, first_place, text)
    return text[:length].tobytes().decode("ascii").split("\n")[:-1]


@compiled_exactly
def write_numbers(numbers: Array, digits: int, starts: Array, first_place: int, text: Array) -> int:
    """Writes numbers, each of them with at least one digit on both sides of its point, and the end of a line.

    Args:
        numbers: From a thousandth on and smaller than a million, or zeros; what else there is becomes an empty line.
        digits: The most that any of them has.
        starts: Powers of ten, the first of them the one with exponent `first_place`.
        first_place: See there.
        text: Becomes the text, uint8, `LONGEST` for each number.

    Returns:
        The length of the text.
    """
    length, places = 0, np.empty(digits + 1, np.uint8)
    for number in numbers:
        size = abs(number)
        # Of a zero too
        if np.signbit(number):
            text[length] = MINUS
            length += 1
        place = 0
        if size > 0:
            place = first_place - 1
            while place - first_place + 1 < len(starts) and size >= starts[place - first_place + 1]:
                place += 1
        if not (size == 0 or first_place <= place < digits - 1):
            text[length] = END
            length += 1
            continue
        # As a whole number of digits behind its leading one
        rest = np.int64(np.rint(size * 10.0 ** (digits - 1 - place)))
        for n in range(digits):
            places[digits - 1 - n] = rest % 10
            rest //= 10
        last = digits - 1
        while last > place + 1 and last > 0 and places[last] == 0:
            last -= 1
        length = write_places(places, place, last, text, length)
        text[length] = END
        length += 1
    return length


@compiled_exactly
def write_places(places: Array, place: int, last: int, text: Array, length: int) -> int:
    """Writes digits up to the last one, the first of which stands for a power of ten; the length of the text then."""
    if place < 0:
        text[length], text[length + 1] = ZERO, POINT
        length += 2
        for _ in range(-1 - place):
            text[length] = ZERO
            length += 1
    for n in range(last + 1):
        text[length] = ZERO + places[n]
        length += 1
        if n == place:
            text[length] = POINT
            length += 1
    return length
