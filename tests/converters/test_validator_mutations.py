"""Damaged validators and lines of parts: each converts or is refused in one line, soon, and in little memory."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from clnf_torch.converters.openface.description import read_description
from clnf_torch.converters.openface.parts import part_record, read_part_line
from clnf_torch.converters.openface.validator import convert_validator
from clnf_torch.detection.validator import DetectionValidator
from tests.converters.openface_files import POINTS
from tests.converters.test_mutations import BINARY_EDITS, TEXT_EDITS, changed, check, mutations
from tests.converters.test_mutations import folder as folder
from tests.converters.validator_files import SMALL, validator_pieces

PIECES = validator_pieces()
PART = b"LandmarkDetector_part eye.txt left_eye_28 0 1 2 3 4 4 3 2\r\n"


def convert_small(path: Path) -> None:
    """Converts a validator; what passes can be built."""
    DetectionValidator.from_record(convert_validator(path, POINTS, SMALL))


def read_parts(path: Path) -> None:
    """Reads lines of parts, for a face and parts of five landmarks."""
    for module in read_description(path, "a description"):
        part_record(read_part_line(module), POINTS, {"pdm": {"mean": [0.0] * POINTS}})


@mutations(300)
@given(edits=BINARY_EDITS)
def test_validators(folder, edits):
    check(folder / "validator.txt", changed(b"".join(PIECES.values()), edits), convert_small)


@mutations(150)
@given(piece=st.sampled_from(list(PIECES)), edits=BINARY_EDITS)
def test_pieces_of_validators(folder, piece, edits):
    pieces = PIECES | {piece: changed(PIECES[piece], edits)}
    check(folder / "validator.txt", b"".join(pieces.values()), convert_small)


@mutations(300)
@given(edits=TEXT_EDITS)
def test_lines_of_parts(folder, edits):
    check(folder / "main.txt", changed(PART, edits), read_parts)
