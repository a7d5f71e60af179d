"""CCNF files: their values in the bundle, and damaged ones, each refused in one line."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import torch

from clnf_torch.converters import ConversionError
from clnf_torch.converters.openface.ccnf import convert_ccnf, read_ccnf
from tests.converters.openface_files import POINTS, SUPPORT, VIEWS, Pieces, cen_pieces, matrix, offset_of
from tests.converters.refusals import refusal
from tests.converters.template_files import NEURONS, WINDOWS, ccnf_pieces, components, seen

INT, DOUBLE = struct.Struct("<i").pack, struct.Struct("<d").pack
EXPERT = "1,2"  # view 1, landmark 2


def write(path: Path, pieces: Pieces) -> Path:
    path.write_bytes(b"".join(pieces.values()))
    return path


def convert_one(path: Path, half: bool = False) -> dict:
    return convert_ccnf([read_ccnf(path, POINTS)], half)[0]


def slots() -> list[tuple[int, int]]:
    return [(view, landmark) for view, landmark in np.ndindex(VIEWS, POINTS) if seen(view, landmark)]


def test_every_number_is_in_its_place(tmp_path):
    pieces = ccnf_pieces()
    record = convert_one(write(tmp_path / "ccnf.txt", pieces))
    assert (record["family"], record["scale"], record["support"]) == ("ccnf", 0.25, SUPPORT)
    torch.testing.assert_close(record["view_centers"][:, 1].rad2deg(), torch.tensor([0.0, -30, 30]).double())
    for e, (view, landmark) in enumerate(slots()):
        name = f"{view},{landmark}"
        for k in range(NEURONS):
            gain, bias, alpha = struct.unpack("<3d", pieces[f"numbers {name} {k}"])
            template = np.frombuffer(pieces[f"weight {name} {k}"][12:], "<f4")  # rows along y, as the bundle's
            np.testing.assert_array_equal(record["weights"][e, :, k].numpy(), template * np.float32(gain))
            assert record["biases"][e, k] == bias and record["alphas"][e, k] == alpha
        assert record["betas"][e].tolist() == list(struct.unpack("<2d", pieces[f"betas {name}"]))
        assert record["confidence"][view, landmark] == struct.unpack("<d", pieces[f"confidence {name}"])[0]
    assert record["visible"].tolist() == [[seen(view, point) for point in range(POINTS)] for view in range(VIEWS)]
    assert sorted(record["components"]) == list(WINDOWS)
    for window, matrices in record["components"].items():
        np.testing.assert_array_equal(matrices.numpy(), components(window))


def test_experts_with_fewer_neurons_are_filled_up(tmp_path):
    pieces = ccnf_pieces()
    pieces[f"neurons {EXPERT}"] = INT(1)
    for piece in ("kind", "numbers", "weight"):
        del pieces[f"{piece} {EXPERT} 1"]
    record, e = convert_one(write(tmp_path / "ccnf.txt", pieces)), slots().index((1, 2))
    assert record["alphas"][e, 1] == 0 and not record["weights"][e, :, 1].any() and record["alphas"][e, 0] > 0


def test_half(tmp_path):
    path = write(tmp_path / "ccnf.txt", ccnf_pieces())
    half, full = (convert_one(path, half) for half in (True, False))
    assert half["weights"].dtype == torch.float16 and half["biases"].dtype == torch.float64
    torch.testing.assert_close(half["weights"].float(), full["weights"], atol=1e-3, rtol=1e-3)


def test_half_refuses_weights_that_it_cannot_hold(tmp_path):
    huge = ccnf_pieces() | {f"numbers {EXPERT} 0": struct.pack("<3d", 1e6, 0, 1)}
    path = write(tmp_path / "ccnf.txt", huge)
    convert_one(path)
    with pytest.raises(ConversionError, match=r"view 1, landmark 2: expected numbers that fit into float16"):
        convert_one(path, half=True)


def test_the_components_of_the_last_file_serve_all_scales(tmp_path):
    other = ccnf_pieces(scale=0.5, seed=1) | {"component 5 1": matrix(2 * components(5)[1])}
    files = [write(tmp_path / "a", ccnf_pieces()), write(tmp_path / "b", other)]
    records = convert_ccnf([read_ccnf(file, POINTS) for file in files], half=False)
    assert all(matrices is records[1]["components"][window] for window, matrices in records[0]["components"].items())
    np.testing.assert_array_equal(records[0]["components"][5][1].numpy(), 2 * components(5)[1])


def test_files_without_components(tmp_path):
    bare, full = write(tmp_path / "a", ccnf_pieces(betas=0)), write(tmp_path / "b", ccnf_pieces())
    record = convert_one(bare)
    assert record["components"] == {} and record["betas"].shape == (len(slots()), 0)
    with pytest.raises(ConversionError, match="expected 2 betas for the components that b has, found 0"):
        convert_ccnf([read_ccnf(bare, POINTS), read_ccnf(full, POINTS)], half=False)


def test_the_last_of_several_entries_for_a_window_counts(tmp_path):
    pieces = ccnf_pieces() | {"window 7": struct.pack("<2i", 3, 0)}
    assert sorted(convert_one(write(tmp_path / "ccnf.txt", pieces))["components"]) == [5]


def header(rows: int, cols: int, code: int) -> bytes:
    return struct.pack("<3i", rows, cols, code)


SQUARE = (SUPPORT, SUPPORT)
DAMAGE = {
    "scale is not a number": ("scale", DOUBLE(float("nan")), "patch scaling from 0.001 to 1000"),
    "absurd views": ("views", INT(2**31 - 1), "number of views"),
    "centre beyond a turn": ("center 1", matrix(np.full((3, 1), 1e9)), "at most 360 degrees"),
    "visibility of too few": ("visible 2", matrix(np.ones((4, 1), "<i4")), "5 values of int32"),
    "negative windows": ("windows", INT(-1), "number of window sizes"),
    "absurd windows": ("windows", INT(2**31 - 1), "number of window sizes"),
    "absurd components": ("window 5", struct.pack("<2i", 5, 2**31 - 1), "number of components"),
    "window of 0": ("window 5", struct.pack("<2i", 0, 2), "number of components"),
    "component of another window": ("component 5 0", matrix(components(3)[0]), "25 x 25 of float32"),
    "component of doubles": ("component 5 0", matrix(components(5)[0].astype("<f8")), "25 x 25 of float32"),
    "component is infinite": ("component 5 0", matrix(np.full((25, 25), np.inf, "<f4")), "a finite number"),
    "wrong marker": (f"marker {EXPERT}", INT(6), "marker (5)"),
    "oblong expert": (f"size {EXPERT}", struct.pack("<2i", SUPPORT, 4), "3 x 3 pixels"),
    "other support": (f"size {EXPERT}", struct.pack("<2i", 5, 5), "3 x 3 pixels"),
    "negative neurons": (f"neurons {EXPERT}", INT(-1), "number of neurons"),
    "absurd neurons": (f"neurons {EXPERT}", INT(2**31 - 1), "number of neurons"),
    "no neurons where seen": (f"neurons {EXPERT}", INT(0) + INT(0), "neurons for a landmark that the view shows"),
    "wrong neuron": (f"kind {EXPERT} 0", struct.pack("<2i", 3, 0), "marker 2 and type 0"),
    "depth neuron": (f"kind {EXPERT} 1", struct.pack("<2i", 2, 3), "marker 2 and type 0 (gray levels) of neuron 2"),
    "gain is not a number": (f"numbers {EXPERT} 1", struct.pack("<3d", float("nan"), 0, 1), "of neuron 2 of 2, finite"),
    "alpha beyond float32": (f"numbers {EXPERT} 1", struct.pack("<3d", 1, 0, 1e300), "of neuron 2 of 2, finite"),
    "weights of doubles": (f"weight {EXPERT} 0", matrix(np.ones(SQUARE)), "3 x 3 of float32"),
    "weights of another size": (f"weight {EXPERT} 0", matrix(np.ones((4, 3), "<f4")), "3 x 3 of float32"),
    "weights are not numbers": (f"weight {EXPERT} 0", matrix(np.full(SQUARE, np.nan, "<f4")), "a finite number"),
    "unknown element type": (f"weight {EXPERT} 0", header(3, 3, 7), "element type 0 (uint8)"),
    "beta is infinite": (f"betas {EXPERT}", DOUBLE(float("inf")) + DOUBLE(1), "betas and its confidence, finite"),
    "confidence is not a number": (f"confidence {EXPERT}", DOUBLE(float("nan")), "betas and its confidence, finite"),
    "filler is not 0": ("filler 1,4", INT(7), "the 0 that ends an expert"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_named_with_its_place(tmp_path, name):
    piece, content, expected = DAMAGE[name]
    pieces = ccnf_pieces()
    start, length = offset_of(pieces, piece), len(pieces[piece])
    error = refuse(write(tmp_path / "ccnf.txt", pieces | {piece: content}))
    assert expected in str(error)
    assert start - 20 - length <= error.place.byte <= start + max(length, len(content))
    if EXPERT in piece:
        assert "view 1, landmark 2" in str(error)


def refuse(path: Path) -> ConversionError:
    """The error that reading a file gives, checked for its form."""
    return refusal(path, lambda: convert_one(path))


def test_truncated_at_every_piece(tmp_path):
    pieces = ccnf_pieces()
    content = b"".join(pieces.values())
    for name in pieces:
        for end in (offset_of(pieces, name), offset_of(pieces, name) + len(pieces[name]) - 1):
            (tmp_path / "ccnf.txt").write_bytes(content[:end])
            refuse(tmp_path / "ccnf.txt")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "an empty file"),
        (b"<!DOCTYPE html><html>", "a web page"),
        (b"# a text\n0.25\n", "found text"),
        (b"".join(cen_pieces().values()), "a component of window 5"),  # its mirror tables, taken for window sizes
        (b"".join(ccnf_pieces().values()) + b"\0", "1 further bytes"),
    ],
)
def test_other_files(tmp_path, content, expected):
    (tmp_path / "ccnf.txt").write_bytes(content)
    assert expected in str(refuse(tmp_path / "ccnf.txt"))


def test_unlike_experts_ask_for_no_more_than_twice_what_they_need(tmp_path):
    pieces = ccnf_pieces()
    many = 200
    pieces[f"neurons {EXPERT}"] = INT(many)
    for piece in ("kind", "numbers", "weight"):
        pieces[f"{piece} {EXPERT} 0"] = pieces[f"{piece} {EXPERT} 1"] = b""
    neuron = struct.pack("<2i3d", 2, 0, 1, 0, 1) + matrix(np.ones(SQUARE, "<f4"))
    pieces[f"kind {EXPERT} 0"] = many * neuron
    assert "experts of about as many neurons each, found 2 to 200" in str(refuse(write(tmp_path / "ccnf.txt", pieces)))
