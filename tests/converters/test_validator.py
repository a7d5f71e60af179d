"""Validator files: what becomes of them, and damage named with its place."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import torch

from clnf_torch.converters import ConversionError
from clnf_torch.converters.openface.validator import convert_validator
from clnf_torch.detection.validator import DetectionValidator
from clnf_torch.fitting.images import ImageBatch
from clnf_torch.models.numerics import OPENFACE
from tests.converters.openface_files import POINTS, Pieces, matrix, offset_of
from tests.converters.refusals import refusal
from tests.converters.validator_files import SMALL, YAWS, validator_pieces
from tests.factories import make_images
from tests.validators import BINS, make_warp_frame


def whole(pieces: Pieces) -> bytes:
    return b"".join(pieces.values())


def read(path: Path, content: bytes) -> dict:
    path.write_bytes(content)
    return convert_validator(path, POINTS, SMALL)


def refuse(path: Path, content: bytes) -> ConversionError:
    """The error that reading these bytes gives, checked for its form."""
    return refusal(path, lambda: read(path, content))


def numbers(content: bytes, dtype: str, columns: int) -> np.ndarray:
    """The elements of a written matrix."""
    return np.frombuffer(content[12:], dtype).reshape(-1, columns)


def test_a_record_of_plain_values(tmp_path):
    pieces = validator_pieces()
    record = read(tmp_path / "v.txt", whole(pieces))
    assert (record["kind"], record["size"]) == ("cnn", list(SMALL))
    torch.testing.assert_close(record["orientations"][:, 1].rad2deg(), torch.tensor(YAWS, dtype=torch.float64))
    _, table = make_warp_frame()
    front, side = record["views"]
    assert torch.equal(front["triangles"], table["triangles"]) and torch.equal(
        side["triangles"], table["triangles"][1:]
    )
    assert torch.equal(front["alpha"], table["alpha"]) and torch.equal(front["beta"], table["beta"])
    assert torch.equal(front["triangle"], table["triangle"])
    column, row = front["pixels"] % SMALL[1], front["pixels"] // SMALL[1]
    torch.testing.assert_close(torch.stack((column, row), -1) + front["origin"], table["pixels"])
    assert [layer["kind"] for layer in front["layers"]] == ["conv", "relu", "max_pool", "linear", "linear", "sigmoid"]


def test_pixels_change_from_column_by_column_to_row_by_row(tmp_path):
    pieces = validator_pieces()
    record = read(tmp_path / "v.txt", whole(pieces))
    for k, view in enumerate(record["views"]):
        mask = numbers(pieces[f"mask {k}"], "<i4", SMALL[1]).astype(bool)
        for name in ("mean", "deviation"):
            image = np.zeros(SMALL, np.float32)
            image.T[mask.T] = numbers(pieces[f"{name} {k}"], "<f8", 1)[:, 0]  # as OpenFace fills it
            assert torch.equal(view[name], torch.from_numpy(image).flatten()[view["pixels"]])


def test_what_is_converted_judges_faces(tmp_path):
    validator = DetectionValidator.from_record(read(tmp_path / "v.txt", whole(validator_pieces())), torch.float64)
    landmarks = 4 * make_warp_frame()[0] + torch.tensor([[[36.0, 36.0]], [[30.0, 40.0]]])
    rotation = torch.tensor([[0.0, 0.1, 0.0], [0.0, -0.6, 0.0]], dtype=torch.float64)
    confidence = validator(ImageBatch(make_images(1), torch.zeros(2, dtype=torch.int64)), rotation, landmarks, OPENFACE)
    assert set(confidence.tolist()) <= {1 - (k + 0.5) / BINS for k in range(BINS)}


@pytest.mark.parametrize("name", ["validator_cnn", "validator_cnn_68"])
def test_openface_itself(openface_models, name):
    record = convert_validator(openface_models / "detection_validation" / f"{name}.txt", 68)
    degrees = record["orientations"].rad2deg().round().long()
    assert degrees[:, 1].tolist() == [0, -20, -45, -70, 20, 45, 70] and not degrees[:, ::2].any()
    assert [len(view["pixels"]) for view in record["views"]] == [2642, 2469, 1665, 1491, 2494, 1690, 1536]
    assert [len(view["triangles"]) for view in record["views"]] == [97, 97, 36, 31, 97, 36, 31]
    bins = 20 if name.endswith("68") else 30
    assert {len(view["layers"][-1]["bias"]) for view in record["views"]} == {bins}


INT = struct.Struct("<i").pack
DAMAGE = {
    "the older type": ("type", INT(2), "type 2; OpenFace 2.2 refuses the older types too"),
    "no type at all": ("type", INT(77), "type 77"),
    "no orientations": ("views", INT(0), "number of orientations"),
    "absurd orientations": ("views", INT(2**31 - 1), "number of orientations"),
    "beyond a turn": ("orientation 1", matrix(np.full((3, 1), 1e9)), "at most 360 degrees"),
    "an orientation of two": ("orientation 1", matrix(np.ones((2, 1))), "3 values of float64"),
    "a mean of floats": ("mean 1", matrix(np.ones((1, 9), "<f4")), "some values of float64"),
    "a mean too large": ("mean 1", matrix(np.full((1, 9), 1e200)), "as float32"),
    "a mean that is none": ("mean 1", matrix(np.full((1, 9), np.nan)), "a finite number"),
    "fewer deviations": ("deviation 1", matrix(np.ones((1, 9))), "values of float64"),
    "no layers": ("layers 1", INT(0), "number of layers"),
    "absurd layers": ("layers 1", INT(2**31 - 1), "number of layers"),
    "an unknown layer": ("relu 1", INT(9), "layer 2 of 6"),
    "three inputs": ("convolution 1", struct.pack("<3i", 0, 3, 2), "1 inputs"),
    "absurd kernels": ("convolution 1", struct.pack("<3i", 0, 1, 2**30), "numbers"),
    "kernels of two sizes": ("kernel 1 1", matrix(np.ones((2, 2), "<f4")), "another kernel"),
    "layers that do not chain": ("connected weights 1", matrix(np.ones((7, 5), "<f4")), "x 5 of float32"),
    "another number of pixels": ("count 1", INT(3), "as the mean image has"),
    "an origin that is none": ("origin 1", struct.pack("<2d", np.nan, 0), "finite least x and y"),
    "corners of four": ("corners 1", matrix(np.ones((8, 1))), "10 values of float64"),
    "corners too far": ("corners 1", matrix(np.full((10, 1), 1e200)), "corners of the warp that fit"),
    "corners elsewhere": ("corners 1", matrix(np.arange(10.0)[:, None]), "weights of their triangles"),
    "triangles of four": ("triangles 1", matrix(np.zeros((3, 4), "<i4")), "any x 3 of int32"),
    "a corner that is no landmark": ("triangles 1", matrix(np.full((3, 3), 5, "<i4")), "from 0 to 4"),
    "a map of another size": ("map 1", matrix(np.zeros((7, 7), "<i4")), "7 x 8 of int32"),
    "a triangle that is none": ("map 1", matrix(np.full((7, 8), 3, "<i4")), "from -1 to 2"),
    "pixels outside": ("map 1", matrix(np.full((7, 8), -1, "<i4")), "of them outside"),
    "pixels in another triangle": ("map 1", matrix(np.zeros((7, 8), "<i4")), "lie in their triangles"),
    "a mask of twos": ("mask 1", matrix(np.full((7, 8), 2, "<i4")), "from 0 to 1"),
    "a mask of all": ("mask 1", matrix(np.ones((7, 8), "<i4")), "a mask of"),
    "alpha of one triangle": ("alpha 1", matrix(np.ones((1, 3))), "3 x 3 of float64"),
    "alpha too large": ("alpha 1", matrix(np.full((3, 3), 1e300)), "fit into float32"),
    "beta of others": ("beta 1", matrix(np.ones((3, 3))), "do not belong together"),
}


TABLES = [f"{name} 1" for name in ("corners", "triangles", "map", "mask", "alpha", "beta")]


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_named_with_its_place(tmp_path, name):
    piece, content, expected = DAMAGE[name]
    pieces = validator_pieces()
    error = refuse(tmp_path / "v.txt", whole(pieces | {piece: content}))
    assert expected in str(error)
    start, end = offset_of(pieces, piece), offset_of(pieces, piece) + max(len(pieces[piece]), len(content))
    if piece in TABLES:  # which are compared with one another
        start, end = offset_of(pieces, TABLES[0]), offset_of(pieces, TABLES[-1])
    assert start - 20 <= error.place.byte <= end
    if piece.endswith(" 1"):
        assert error.place.view == 1 and "view 1" in str(error)


def test_a_deviation_of_zero(tmp_path):
    pieces = validator_pieces()
    values = numbers(pieces["deviation 0"], "<f8", 1).T.copy()
    values[0, 2] = 0
    assert "standard deviations from" in str(
        refuse(tmp_path / "v.txt", whole(pieces | {"deviation 0": matrix(values)}))
    )


def test_a_network_that_ends_in_maps(tmp_path):
    pieces = validator_pieces() | {"layers 0": INT(3)}
    shorter = {n: c for n, c in pieces.items() if n.split()[0] not in ("connected", "last", "sigmoid") or n[-1] != "0"}
    assert "ends in a list of scores, found maps of 2 x 3 x 4" in str(refuse(tmp_path / "v.txt", whole(shorter)))


def test_truncated_at_any_byte(tmp_path):
    content = whole(validator_pieces())
    for size in range(1, len(content), 7):
        error = refuse(tmp_path / "v.txt", content[:size])
        assert (error.place.byte or 0) <= size


def test_trailing_bytes_and_files_that_are_something_else(tmp_path):
    content = whole(validator_pieces())
    assert "1 further bytes" in str(refuse(tmp_path / "v.txt", content + b"\0"))
    page = b"<!DOCTYPE html>\n<html><body>Sorry, too many downloads</body></html>" * 20
    for other, words in ((b"", "an empty file"), (page, "a web page"), (b"# mean\n204\n1\n6\n" * 9, "found text")):
        assert words in str(refuse(tmp_path / "v.txt", other))
    with pytest.raises(ConversionError, match="no such file"):
        convert_validator(tmp_path / "none.txt", POINTS)
