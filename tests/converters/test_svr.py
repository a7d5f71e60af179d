"""SVR files: their values in the bundle, and damaged ones, each refused in one line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from clnf_torch.converters import ConversionError
from clnf_torch.converters.openface.svr import convert_svr, read_svr
from tests.converters.openface_files import POINTS, SUPPORT, VIEWS
from tests.converters.refusals import refusal
from tests.converters.template_files import seen, svr_lines, text

EXPERT = "1,2"  # view 1, landmark 2
FLAT = " ".join(["0.5"] * SUPPORT**2)


def convert_one(path: Path, half: bool = False) -> dict:
    return convert_svr([read_svr(path, POINTS)], half)[0]


def write(path: Path, lines: dict[str, str]) -> Path:
    path.write_bytes(text(lines))
    return path


def slots() -> list[tuple[int, int]]:
    return [(view, landmark) for view, landmark in np.ndindex(VIEWS, POINTS) if seen(view, landmark)]


def test_every_number_is_in_its_place(tmp_path):
    lines = svr_lines()
    record = convert_one(write(tmp_path / "svr.txt", lines))
    assert (record["family"], record["scale"], record["support"]) == ("svr", 0.25, SUPPORT)
    assert record["modalities"] == ["raw", "gradient"]
    torch.testing.assert_close(record["view_centers"][:, 1].rad2deg(), torch.tensor([0.0, -30, 30]).double())
    assert record["visible"].tolist() == [[seen(view, point) for point in range(POINTS)] for view in range(VIEWS)]
    for e, (view, landmark) in enumerate(slots()):
        confidence = 0.0
        for k, modality in enumerate(record["modalities"]):
            words = [float(word) for word in lines[f"{modality} {view},{landmark}"].split()][-(6 + SUPPORT**2) :]
            confidence += words[0]
            assert (record["scalings"][e, k], record["biases"][e, k]) == (words[1], words[2])
            template = np.reshape(words[6:], (SUPPORT, SUPPORT)).T.flatten()  # the file's rows are columns
            template = template - template.mean()
            expected = torch.from_numpy(template / np.linalg.norm(template)).float()
            torch.testing.assert_close(record["weights"][e, :, k], expected, rtol=0, atol=1e-7)
        assert record["confidence"][view, landmark] == pytest.approx(confidence)
    assert (record["confidence"][~record["visible"]] == 0).all()


def test_a_flat_template_correlates_perfectly_with_everything(tmp_path):
    lines = svr_lines()
    lines[f"gradient {EXPERT}"] = f"2 1 0.5 4.0 -3.0 {SUPPORT} {SUPPORT} 5 {FLAT} "
    record, e = convert_one(write(tmp_path / "svr.txt", lines)), slots().index((1, 2))
    assert not record["weights"][e, :, 1].any() and record["biases"][e, 1] == 1.0
    assert record["weights"].isfinite().all()


def test_line_ends_do_not_matter(tmp_path):
    unix = convert_one(write(tmp_path / "unix", svr_lines()))
    (tmp_path / "dos").write_bytes(text(svr_lines()).replace(b"\n", b"\r\n"))
    dos = convert_one(tmp_path / "dos")
    assert all(torch.equal(unix[key], dos[key]) for key in ("weights", "scalings", "biases", "visible", "confidence"))


def test_half(tmp_path):
    path = write(tmp_path / "svr.txt", svr_lines())
    half, full = (convert_one(path, half) for half in (True, False))
    assert half["weights"].dtype == torch.float16
    torch.testing.assert_close(half["weights"].float(), full["weights"], atol=1e-3, rtol=1e-3)


def with_word(line: str, index: int, word: str) -> str:
    """A line with one of its words replaced."""
    words = line.split(" ")
    words[index] = word
    return " ".join(words)


RAW, GRADIENT = (svr_lines()[f"{modality} {EXPERT}"] for modality in ("raw", "gradient"))
DAMAGE = {
    "scale is not a number": ("scale", "nan", "the patch scaling, a finite number"),
    "scale is negative": ("scale", "-0.25", "patch scaling from 0.001 to 1000"),
    "two scales": ("scale", "0.25 0.5", "the end of the line after the patch scaling"),
    "no views": ("views", "0", "the number of views, a whole number of at least 1"),
    "absurd views": ("views", "2147483647", "a number of views that the file can hold"),
    "centre of two angles": ("center 1", "2\n1\n6\n0.0\n30.0", "a view centre, 3 values"),
    "centre beyond a turn": ("center 1", "3\n1\n6\n0.0\n1e9\n0.0", "at most 360 degrees"),
    "visibility of too few": ("visible 2", "4\n1\n4\n1 \n1 \n1 \n1 ", "5 values"),
    "visibility of 2": ("visible 2", "5\n1\n4\n1 \n1 \n1 \n1 \n2 ", "visibilities of 0 or 1"),
    "wrong marker": (f"raw {EXPERT}", with_word(RAW, 0, "5"), "an expert's marker (3)"),
    "other support": (f"raw {EXPERT}", with_word(with_word(RAW, 1, "5"), 2, "5"), "3 x 3 pixels"),
    "oblong expert": (f"raw {EXPERT}", with_word(RAW, 2, "4"), "3 x 3 pixels"),
    "no modalities": (f"raw {EXPERT}", with_word(RAW, 3, "0"), "number of modalities, a whole number of at least 1"),
    "absurd modalities": (f"raw {EXPERT}", with_word(RAW, 3, "2147483647"), "2147483647 modalities"),
    "wrong modality marker": (f"gradient {EXPERT}", with_word(GRADIENT, 0, "3"), "the marker of modality 2 of 2 (2)"),
    "unknown modality": (f"gradient {EXPERT}", with_word(GRADIENT, 1, "2"), "a type of modality 2 of 2 from 0 to 1"),
    "modalities in another order": (f"gradient {EXPERT}", with_word(GRADIENT, 1, "0"), "modalities of types [0, 1]"),
    "scaling is infinite": (f"gradient {EXPERT}", with_word(GRADIENT, 3, "inf"), "the scaling of modality 2 of 2"),
    "matrix of another size": (f"gradient {EXPERT}", with_word(GRADIENT, 5, "2"), "weights of modality 2 of 2, 3 x 3"),
    "matrix of another type": (f"gradient {EXPERT}", with_word(GRADIENT, 7, "6"), "element type 5 (float32)"),
    "absurd matrix": (f"gradient {EXPERT}", with_word(GRADIENT, 5, "2147483647"), "numbers"),
    "weight is not a number": (f"gradient {EXPERT}", with_word(GRADIENT, 9, "x"), "number 2 of 9 of the weights"),
    "weight too many": (f"gradient {EXPERT}", GRADIENT + "1.0", "the end of the line after the weights"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_named_with_its_line(tmp_path, name):
    piece, content, expected = DAMAGE[name]
    lines = svr_lines()
    names = list(lines)
    first = 1 + text({name: lines[name] for name in names[: names.index(piece)]}).count(b"\n")
    error = refuse(write(tmp_path / "svr.txt", lines | {piece: content}))
    assert expected in str(error)
    assert first - 1 <= error.place.line <= first + 1 + content.count("\n")
    if EXPERT in piece:
        assert "view 1, landmark 2" in str(error)


def refuse(path: Path) -> ConversionError:
    """The error that reading a file gives, checked for its form."""
    return refusal(path, lambda: convert_one(path))


def test_truncated_at_every_line(tmp_path):
    lines = text(svr_lines()).splitlines(keepends=True)
    for count in range(len(lines)):
        (tmp_path / "svr.txt").write_bytes(b"".join(lines[:count]) + lines[count][: len(lines[count]) // 2])
        refuse(tmp_path / "svr.txt")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "an empty file"),
        (b"\0\0\0\0\0\0\xd0?", "binary data"),
        (b"<!DOCTYPE html>\n<html></html>\n", "found a web page"),
        (text(svr_lines()) + b"7\n", "the end of the file after the last expert"),
    ],
)
def test_other_files(tmp_path, content, expected):
    (tmp_path / "svr.txt").write_bytes(content)
    assert expected in str(refuse(tmp_path / "svr.txt"))
