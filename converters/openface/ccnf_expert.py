"""One CCNF expert in a file: its neurons, its betas, its confidence."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from clnf_torch.converters.openface.errors import ConversionError
from clnf_torch.converters.openface.matrix import FLOAT32, FLOAT32_MAX, TYPE_NAMES, BinaryReader

MARKER, NEURON_MARKER = 5, 2  # begin every expert and every neuron
RAW = 0  # the type of neurons that look at grey levels


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class CcnfExpert:
    """An expert that has neurons.

    Attributes:
        numbers: Gain, bias and alpha of each neuron, (K, 3).
        weights: Templates of the neurons, rows along y, (K, S, S).
        betas: Weights of Sigma's components, (C,).
        confidence: How far it is to be trusted.
    """

    numbers: NDArray[np.float64]
    weights: NDArray[np.float32]
    betas: tuple[float, ...]
    confidence: float

    def gained_weights(self) -> NDArray[np.float32]:
        """Templates times their gain, pixels row by row, (K, S * S). OpenFace multiplies in float32, too."""
        gains = self.numbers[:, 0, None].astype(np.float32)
        with np.errstate(over="ignore"):  # whoever stores them looks at what came out
            return self.weights.reshape(len(self.weights), -1) * gains


def read_expert(reader: BinaryReader, support: int, betas: int) -> CcnfExpert | None:
    """Reads one expert.

    Args:
        reader: The file, at the expert's marker.
        support: Side S of the experts before it, which it must share, or 0 for the first.
        betas: Number of its betas.

    Returns:
        The expert, or None for a landmark without neurons.

    Raises:
        ConversionError: It is damaged.
    """
    width, count = _read_size(reader, support)
    if count == 0:
        place = reader.place
        filler = reader.take("i", "the 0 that ends an expert without neurons")
        if filler != 0:
            raise ConversionError(place, expected="the 0 that ends an expert without neurons", found=str(filler))
        return None
    reader.require(count * (44 + 4 * width * width), f"{count} neurons of {width} x {width} pixels")
    numbers, weights = np.empty((count, 3)), np.empty((count, width, width), np.float32)
    for k in range(count):
        _read_neuron(reader, f"neuron {k + 1} of {count}", numbers[k], weights[k])
    *own, confidence = _read_finite(reader, betas + 1, "an expert's betas and its confidence")
    return CcnfExpert(numbers=numbers, weights=weights, betas=tuple(own), confidence=confidence)


def _read_size(reader: BinaryReader, support: int) -> tuple[int, int]:
    """Side and number of neurons, after the marker."""
    place = reader.place
    marker = reader.take("i", f"an expert's marker ({MARKER})")
    if marker != MARKER:
        raise ConversionError(place, expected=f"an expert's marker ({MARKER})", found=str(marker))
    place = reader.place
    width, height, count = reader.take("3i", "an expert's width, height and number of neurons")
    if count < 0 or 48 * count > reader.remaining:
        place = replace(place, byte=reader.offset - 4)
        raise ConversionError(place, expected="a number of neurons that the file can hold", found=str(count))
    if width != height or width < (1 if count else 0) or (count and support not in (0, width)):
        side = support or "S"
        expected = f"an expert of {side} x {side} pixels, as all of a file are"
        raise ConversionError(place, expected=expected, found=f"{width} x {height}")
    return width, count


def _read_neuron(reader: BinaryReader, name: str, numbers: NDArray[np.float64], weights: NDArray[np.float32]) -> None:
    """Reads a neuron into its gain, bias and alpha (3,) and its template (S, S)."""
    place = reader.place
    marker, kind = reader.take("2i", f"marker ({NEURON_MARKER}) and type of {name}")
    if marker != NEURON_MARKER or kind != RAW:
        expected = f"marker {NEURON_MARKER} and type {RAW} (grey levels) of {name}"
        raise ConversionError(place, expected=expected, found=f"{marker} and {kind}")
    numbers[:] = _read_finite(reader, 3, f"gain, bias and alpha of {name}")
    matrix = reader.matrix(f"the weights of {name}")
    if matrix.shape != weights.shape or matrix.code != FLOAT32:
        expected = f"weights of {name}, {' x '.join(map(str, weights.shape))} of float32"
        raise ConversionError(matrix.place, expected=expected, found=_shape(matrix.shape, matrix.code))
    weights[:] = matrix.read()


def _read_finite(reader: BinaryReader, count: int, what: str) -> tuple[float, ...]:
    """Numbers that float32 can hold, too."""
    place = reader.place
    reader.require(8 * count, what)
    values: tuple[float, ...] = tuple(reader.take("d", what) for _ in range(count))
    for k, value in enumerate(values):
        if not abs(value) <= FLOAT32_MAX:  # not a number is not, either
            assert place.byte is not None
            raise ConversionError(replace(place, byte=place.byte + 8 * k), expected=f"{what}, finite", found=str(value))
    return values


def _shape(shape: tuple[int, int], code: int) -> str:
    """A matrix in words."""
    return f"{shape[0]} x {shape[1]} of {TYPE_NAMES[code]}"
