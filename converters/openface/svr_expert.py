"""One SVR expert in a file: a template match for each modality of the picture."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clnf_torch.converters.openface.errors import ConversionError, Place
from clnf_torch.converters.openface.matrix import FLOAT32
from clnf_torch.converters.openface.text import TextReader, shape_text

MARKER, MATCH_MARKER = 3, 2  # begin every expert and every modality
MODALITIES = ("raw", "gradient")  # by the file's number


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Match:
    """What an expert does in one modality.

    Attributes:
        modality: Index into ``MODALITIES``.
        confidence: How far it is to be trusted.
        scaling: Multiplies the correlation.
        bias: Added to it.
        weights: The template as in the file, columns along y, (S, S).
    """

    modality: int
    confidence: float
    scaling: float
    bias: float
    weights: NDArray[np.float32]


def read_expert(reader: TextReader, first: tuple[Match, ...] | None) -> tuple[Match, ...]:
    """Reads one expert.

    Args:
        reader: The file, at the expert's marker.
        first: The file's first expert, whose size and modalities the others share; None when this is it.

    Returns:
        Its modalities, at least one.

    Raises:
        ConversionError: It is damaged, or unlike the first one.
    """
    start = reader.at
    _read_marker(reader, MARKER, "an expert's marker")
    support = len(first[0].weights) if first else None
    width, height = reader.integer("an expert's width", 1), reader.integer("an expert's height", 1)
    if width != height or support not in (None, width):
        side = support or "S"
        expected = f"an expert of {side} x {side} pixels, as all of a file are"
        raise ConversionError(reader.place_of(start + 1), expected=expected, found=f"{width} x {height}")
    count = reader.integer("an expert's number of modalities", 1)
    reader.require_numbers(count * (8 + width * width), f"{count} modalities of {width} x {width} pixels")
    matches = tuple(_read_match(reader, f"modality {k + 1} of {count}", width) for k in range(count))
    modalities, others = ([match.modality for match in expert] for expert in (matches, first or matches))
    if modalities != others:
        expected = f"modalities of types {others}, as all experts of a file have"
        raise ConversionError(reader.place_of(start + 1), expected=expected, found=str(modalities))
    return matches


def _read_match(reader: TextReader, name: str, support: int) -> Match:
    """One modality of an expert."""
    _read_marker(reader, MATCH_MARKER, f"the marker of {name}")
    modality = reader.integer(f"the type of {name}", 0)
    if modality >= len(MODALITIES):
        expected = f"a type of {name} from 0 to {len(MODALITIES) - 1}"
        raise ConversionError(reader.place, expected=expected, found=str(modality))
    confidence, scaling, bias = (reader.number(f"the {word} of {name}") for word in ("confidence", "scaling", "bias"))
    place: Place = reader.place
    weights = reader.matrix_here(f"the weights of {name}", codes=(FLOAT32,))
    if weights.shape != (support, support):
        expected = f"weights of {name}, {support} x {support}"
        raise ConversionError(place, expected=expected, found=shape_text(weights))
    reader.end_line(f"the weights of {name}")
    return Match(
        modality=modality, confidence=confidence, scaling=scaling, bias=bias, weights=weights.astype(np.float32)
    )


def _read_marker(reader: TextReader, marker: int, what: str) -> None:
    """Refuses another word than a marker."""
    found = reader.integer(what, -(2**31))
    if found != marker:
        raise ConversionError(reader.place, expected=f"{what} ({marker})", found=str(found))
