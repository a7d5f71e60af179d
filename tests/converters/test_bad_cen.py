"""Damaged CEN files: one line that says where, what was expected, what was found and what to do."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from clnf_torch.converters import ConversionError, convert
from clnf_torch.converters.openface.cen import read_cen
from tests.converters.openface_files import POINTS, SUPPORT, VIEWS, Pieces, cen_pieces, matrix, offset_of
from tests.converters.refusals import refusal

EXPERT = "1,2"  # view 1, landmark 2


def refuse(path: Path, content: bytes) -> ConversionError:
    """The error that reading these bytes gives, checked for its form."""
    path.write_bytes(content)
    return refusal(path, lambda: read_cen(path, POINTS))


def whole(pieces: Pieces) -> bytes:
    return b"".join(pieces.values())


def header(rows: int, cols: int, code: int) -> bytes:
    return struct.pack("<3i", rows, cols, code)


def floats(*shape: int, value: float = 0.5, dtype: str = "<f4") -> bytes:
    return matrix(np.full(shape, value, dtype))


INT = struct.Struct("<i").pack
DOUBLE = struct.Struct("<d").pack
DAMAGE = {
    "scale is not a number": ("scale", DOUBLE(float("nan")), "patch scaling from 0.001 to 1000"),
    "scale is negative": ("scale", DOUBLE(-0.25), "patch scaling from 0.001 to 1000"),
    "no views": ("views", INT(0), "number of views"),
    "negative views": ("views", INT(-7), "number of views"),
    "absurd views": ("views", INT(2**31 - 1), "number of views"),
    "centre of two angles": ("center 1", floats(2, 1, dtype="<f8"), "3 values of float64"),
    "centre of floats": ("center 1", floats(3, 1), "3 values of float64"),
    "centre is infinite": ("center 1", floats(3, 1, value=np.inf, dtype="<f8"), "a finite number"),
    "centre beyond a turn": ("center 1", floats(3, 1, value=1e9, dtype="<f8"), "at most 360 degrees"),
    "visibility of too few": ("visible 2", matrix(np.ones((4, 1), "<i4")), "5 values of int32"),
    "visibility of 2": ("visible 2", matrix(np.full((5, 1), 2, "<i4")), "visibilities of 0 or 1"),
    "mirrored landmark beyond the last": ("mirror_inds", matrix(np.full((1, 5), 5, "<i4")), "from 0 to 4"),
    "negative mirrored view": ("mirror_views", matrix(np.full((1, 3), -1, "<i4")), "from 0 to 2"),
    "wrong marker": (f"marker {EXPERT}", INT(3), "marker (6)"),
    "negative size": (f"size {EXPERT}", struct.pack("<2i", -11, -11), "at least 0"),
    "oblong expert": (f"size {EXPERT}", struct.pack("<2i", SUPPORT, 4), "3 x 3 pixels"),
    "other support": (f"size {EXPERT}", struct.pack("<2i", 5, 5), "3 x 3 pixels"),
    "negative layers": (f"layers {EXPERT}", INT(-1), "number of layers"),
    "absurd layers": (f"layers {EXPERT}", INT(2**31 - 1), "number of layers"),
    "unknown activation": (f"activation {EXPERT} 0", INT(4), "activation of layer 1"),
    "unknown element type": (f"weight {EXPERT} 0", header(3, 10, 7), "element type 0 (uint8)"),
    "integer weights": (f"weight {EXPERT} 0", matrix(np.ones((3, 10), "<i4")), "as float32 or float64"),
    "negative rows": (f"weight {EXPERT} 0", header(-3, 10, 5), "at least one row"),
    "empty matrix": (f"weight {EXPERT} 0", header(0, 10, 5), "at least one row"),
    "absurd rows": (f"weight {EXPERT} 0", header(2**31 - 1, 2**31 - 1, 6), "2147483647 x 2147483647 float64"),
    "first layer of too few pixels": (f"weight {EXPERT} 0", floats(3, 9), "any x 10"),
    "layers that do not chain": (f"weight {EXPERT} 1", floats(1, 4), "1 x 3"),
    "two outputs": (f"weight {EXPERT} 1", floats(2, 3), "1 x 3"),
    "too few biases": (f"bias {EXPERT} 0", floats(2, 1), "3 biases"),
    "confidence is not a number": (f"confidence {EXPERT}", DOUBLE(float("nan")), "confidence (float64), finite"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_named_with_its_place(tmp_path, name):
    piece, content, expected = DAMAGE[name]
    pieces = cen_pieces(mixed=False)
    start = offset_of(pieces, piece)
    length = len(pieces[piece])
    error = refuse(tmp_path / "cen.dat", whole(pieces | {piece: content}))
    assert expected in str(error)
    assert start - 20 - length <= error.place.byte <= start + max(length, len(content))
    if EXPERT in piece:
        assert (error.place.view, error.place.landmark) == (1, 2)
        assert "view 1, landmark 2" in str(error)


def test_truncated_at_any_byte(tmp_path):
    content = whole(cen_pieces())
    step = 1 if len(content) < 6000 else 3
    for size in range(1, len(content), step):
        error = refuse(tmp_path / "cen.dat", content[:size])
        assert (error.place.byte or 0) <= size


def test_trailing_bytes(tmp_path):
    content = whole(cen_pieces())
    error = refuse(tmp_path / "cen.dat", content + b"\0")
    assert error.place.byte == len(content) and "1 further bytes" in str(error)


def test_the_older_layout_is_recognised(tmp_path):
    pieces = cen_pieces()
    del pieces["mirror_inds"], pieces["mirror_views"]
    assert "older CE-CLM layout" in str(refuse(tmp_path / "cen.dat", whole(pieces)))


def test_files_that_are_something_else(tmp_path):
    page = b"<!DOCTYPE html>\n<html><body>Sorry, too many downloads</body></html>" * 20
    for content, words in (
        (b"", "an empty file"),
        (page, "a web page"),
        (b"\xef\xbb\xbf\n " + page.lower(), "a web page"),
        (b"# The mean values of the components (in mm)\n204\n1\n6\n-73.39\n" * 9, "found text"),
    ):
        assert words in str(refuse(tmp_path / "cen.dat", content))


def test_another_number_of_landmarks(tmp_path):
    (tmp_path / "cen.dat").write_bytes(whole(cen_pieces()))
    with pytest.raises(ConversionError, match="68 values of int32"):
        read_cen(tmp_path / "cen.dat", 68)


def test_empty_experts_only(tmp_path):
    pieces = cen_pieces(mixed=False)
    pieces = {
        name: content for name, content in pieces.items() if name.split()[0] not in ("activation", "bias", "weight")
    }
    pieces |= {name: INT(0) for name in pieces if name.startswith("layers")}
    assert "empty experts only" in str(refuse(tmp_path / "cen.dat", whole(pieces)))


# What only the numbers themselves show appears while the bundle is written, and then nothing is left behind.


def refuse_model(main: Path, pieces: Pieces, half: bool = False) -> ConversionError:
    (main.parent / "cen_patches_0.25_of.dat").write_bytes(whole(pieces))
    out = main.parent.parent / "out" / "m.pt"
    out.parent.mkdir(exist_ok=True)
    with pytest.raises(ConversionError) as caught:
        convert(main, out, half=half)
    assert not list(out.parent.iterdir())
    return caught.value


@pytest.mark.parametrize("piece", ["bias", "weight"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", ["<f4", "<f8"])
def test_numbers_that_are_none(model_main, piece, value, dtype):
    pieces, name = cen_pieces(mixed=False), f"{piece} {EXPERT} 0"
    values = np.ones((3, 1 if piece == "bias" else 10), dtype)
    values[2, 0] = value
    error = refuse_model(model_main, pieces | {name: matrix(values)})
    item = values.itemsize
    assert "a finite number" in str(error) and (error.place.view, error.place.landmark) == (1, 2)
    assert error.place.byte == offset_of(pieces, name) + 12 + (len(values[0]) * 2) * item


def test_numbers_too_large_for_their_type(model_main):
    name = f"weight {EXPERT} 1"
    error = refuse_model(model_main, cen_pieces(mixed=False) | {name: floats(1, 3, value=1e300, dtype="<f8")})
    assert "fit into float32" in str(error)
    large = cen_pieces(mixed=False) | {name: floats(1, 3, value=1e5)}
    assert "convert without --half" in str(refuse_model(model_main, large, half=True))


def test_a_visible_landmark_without_any_expert(model_main):
    no_mirror = {"mirror_views": matrix(np.array([[0, 1, 2]], "<i4"))}
    (model_main.parent / "cen_patches_0.50_of.dat").write_bytes(whole(cen_pieces(scale=0.5, mixed=False) | no_mirror))
    pieces = cen_pieces(mixed=False) | no_mirror
    error = refuse_model(model_main, pieces)
    assert (error.place.view, error.place.landmark) == (2, 0)
    assert "its own or that of landmark 1 in view 2" in str(error)


def test_scales_of_other_views(model_main):
    pieces = cen_pieces(mixed=False)
    fewer = {
        name: content
        for name, content in pieces.items()
        if "2" not in name.split()[-1].split(",")[0] or "," not in name
    }
    fewer = {name: content for name, content in fewer.items() if name not in ("center 2", "visible 2")}
    fewer |= {"views": INT(VIEWS - 1), "mirror_views": matrix(np.array([[0, 1]], "<i4"))}
    fewer |= {"visible 1": matrix(np.array([[1, 1, 1, 1, 0]], "<i4"))}
    assert "expected 2 views" in str(refuse_model(model_main, fewer))


def test_a_file_that_shrinks_while_it_is_read(tmp_path):
    path = tmp_path / "cen.dat"
    path.write_bytes(whole(cen_pieces()))
    cen = read_cen(path, POINTS)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(ConversionError, match="changed while it was read"):
        cen.experts[0].layers[0].weight.read()
