"""PDMs, triangulations and early termination: their values, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from clnf_torch.converters import ConversionError
from clnf_torch.converters.openface.landmark_model import convert_early_termination, convert_triangulations
from clnf_torch.converters.openface.pdm import convert_pdm
from clnf_torch.converters.openface.text import MAX_BYTES
from tests.converters.model_directory import EARLY_TERMINATION, TRIANGULATIONS
from tests.converters.openface_files import pdm_text

POINT_PDM = "# mean\n3\n1\n6\n1 \n2 \n3 \n# modes\n3\n2\n6\n.1 1e-1\n-2. +4\n5 6\n# variances\n1\n2\n6\n9 4"


def read_point_pdm(path: Path) -> object:
    return convert_pdm(path)


def read_triangles(path: Path) -> object:
    return convert_triangulations(path, 5)


def read_early(path: Path) -> object:
    return convert_early_termination(path, 3)


def test_pdm_of_one_point(tmp_path):
    (tmp_path / "pdm.txt").write_text(POINT_PDM)
    pdm = convert_pdm(tmp_path / "pdm.txt")
    assert pdm["mean"].tolist() == [[1, 2, 3]]
    assert pdm["modes"].tolist() == [[[0.1, -2, 5]], [[0.1, 4, 6]]]
    assert pdm["variances"].tolist() == [9, 4]
    assert {t.dtype for t in pdm.values()} == {torch.float64}


def test_openface_pdm_agrees_with_openface(openface_models, shared):
    with np.load(shared / "golden" / "pdm_68.npz") as golden:
        values = [golden[name] for name in ("mean_shape", "princ_comp", "eigen_values")]
    pdm = convert_pdm(openface_models / "pdms" / "In-the-wild_aligned_PDM_68.txt")
    stacked = [pdm["mean"].mT.reshape(-1, 1), pdm["modes"].mT.flatten(1).mT, pdm["variances"][None]]
    for ours, theirs in zip(stacked, values, strict=True):
        np.testing.assert_allclose(ours.numpy(), theirs, rtol=1e-6)


def test_line_ends_do_not_matter(tmp_path):
    for name, text in (("unix", pdm_text()), ("dos", pdm_text().replace("\n", "\r\n")), ("bom", "\ufeff" + pdm_text())):
        (tmp_path / name).write_bytes(text.encode())
    unix, dos, bom = (convert_pdm(tmp_path / name) for name in ("unix", "dos", "bom"))
    assert all(torch.equal(unix[key], dos[key]) and torch.equal(unix[key], bom[key]) for key in unix)


def test_triangulations(tmp_path):
    (tmp_path / "tris.txt").write_text(TRIANGULATIONS)
    triangles = convert_triangulations(tmp_path / "tris.txt", 5)
    assert [t.tolist() for t in triangles] == [[[0, 1, 2], [2, 3, 4]]] * 3
    assert triangles[0].dtype == torch.int64


def test_early_termination(tmp_path):
    (tmp_path / "early.txt").write_text(EARLY_TERMINATION)
    early = convert_early_termination(tmp_path / "early.txt", 3)
    assert {name: values.tolist() for name, values in early.items()} == {
        "weights": [1.0, 1.1, 1.1],
        "biases": [0.0, 0.1, 0.1],
        "cutoffs": [-0.2, -0.3, -0.3],
    }


@pytest.mark.parametrize(
    ("read", "text", "old", "new", "line", "expected"),
    [
        (read_point_pdm, POINT_PDM, "# mean\n3", "# mean\n4", 8, "number 4 of 4 of the mean shape"),
        (read_point_pdm, POINT_PDM, "# mean\n3", "# mean\nthree", 2, "rows of the mean shape"),
        (read_point_pdm, POINT_PDM, "3\n1\n6", "3\n1\n4", 2, "element type 5 (float32) or 6 (float64)"),
        (read_point_pdm, POINT_PDM, "3\n1\n6", "-3\n-1\n6", 2, "at least 0"),
        (read_point_pdm, POINT_PDM, "3\n1\n6", "0\n1\n6", 2, "at least one row"),
        (read_point_pdm, POINT_PDM, "3\n1\n6", "3000000\n1000000\n6", 4, "3000000000000 numbers"),
        (read_point_pdm, POINT_PDM, "3\n1\n6", "1e400\n1\n6", 2, "finite"),
        (read_point_pdm, POINT_PDM, "# modes\n3\n2", "# modes\n2\n3", 9, "components of 3 rows"),
        (read_point_pdm, POINT_PDM, "1\n2\n6\n9 4", "1\n1\n6\n9", 16, "2 eigenvalues"),
        (read_point_pdm, POINT_PDM, "9 4", "9 0", 16, "greater than 0"),
        (read_point_pdm, POINT_PDM, "9 4", "9 1e-300", 16, "greater than 0"),
        (read_point_pdm, POINT_PDM, "9 4", "9 1e39", 19, "a finite number"),
        (read_point_pdm, POINT_PDM, "9 4", "9 nan", 19, "a finite number"),
        (read_point_pdm, POINT_PDM, "9 4", "9", 18, "the eigenvalues, 2 numbers"),
        (read_point_pdm, POINT_PDM, "9 4", "9 4 1", 19, "the end of the line after the eigenvalues"),
        (read_point_pdm, POINT_PDM, "9 4", "9 4\n\n 1", 21, "the end of the file"),
        (read_point_pdm, POINT_PDM, "-2.", "1_000", 13, "a finite number"),
        (read_triangles, TRIANGULATIONS, "views\n3", "views\n4", 21, "rows of triangulation 3"),
        (read_triangles, TRIANGULATIONS, "views\n3", "views\n-1", 2, "at least 0"),
        (read_triangles, TRIANGULATIONS, "0 1 2", "0 1 5", 4, "corners from 0 to 4"),
        (read_triangles, TRIANGULATIONS, "0 1 2", "0 1 1.5", 4, "whole numbers"),
        (read_triangles, TRIANGULATIONS, "2\n3\n4", "3\n2\n4", 4, "triangles of 3 corners"),
        (read_triangles, TRIANGULATIONS, "2\n3\n4", "2\n3\n6", 4, "element type 4 (int32)"),
        (read_early, EARLY_TERMINATION, "1.1", "", 1, "number 9 of 9"),
        (read_early, EARLY_TERMINATION, "1.1", "inf", 1, "a finite number"),
        (read_early, EARLY_TERMINATION, "1.1", "1.1 1.1", 1, "the end of the line after 9 numbers"),
        (read_early, EARLY_TERMINATION, "1.1", "1.1\x001.1", None, "a text file"),
        (read_early, EARLY_TERMINATION, EARLY_TERMINATION, "", None, "early termination's"),
    ],
)
def test_what_is_refused(tmp_path, read: Callable, text, old, new, line, expected):
    path = tmp_path / "file.txt"
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(ConversionError) as caught:
        read(path)
    assert expected in str(caught.value) and "\n" not in str(caught.value)
    assert caught.value.place.line == line


@pytest.mark.parametrize("read", [read_point_pdm, read_triangles, read_early])
def test_no_text_file_at_all(tmp_path, read):
    with pytest.raises(ConversionError, match="found no such file"):
        read(tmp_path / "none.txt")
    with pytest.raises(ConversionError, match="found a folder"):
        read(tmp_path)
    with open(tmp_path / "huge.txt", "wb") as file:
        file.truncate(MAX_BYTES + 1)
    with pytest.raises(ConversionError, match="found a file of"):
        read(tmp_path / "huge.txt")
