"""`clnf_torch.export.json`: documents that are valid whatever they hold, and whatever ends them."""

from __future__ import annotations

import io
import json
import math
from dataclasses import replace

import pytest
import torch

from clnf_torch.export.json import face_lines, json_document, json_file
from clnf_torch.files.writing import partial_of
from clnf_torch.models.pdm import ShapeParams
from clnf_torch.pipeline import FitResult
from tests.export.tables import make_table


def make_result(rows: int) -> FitResult:
    """Fits of faces of 68 landmarks and 34 modes."""
    yes, none = torch.ones(rows, dtype=torch.bool), torch.zeros(rows, dtype=torch.int64)
    return FitResult(
        landmarks=torch.zeros(rows, 68, 2),
        params=ShapeParams(torch.ones(rows), torch.zeros(rows, 3), torch.zeros(rows, 2), torch.zeros(rows, 34)),
        likelihood=torch.tensor([1 / 3] * rows),
        landmark_likelihoods=torch.full((rows, 68), -torch.inf),
        view=none,
        visible=torch.ones(rows, 68, dtype=torch.bool),
        hypothesis=none,
        confidence=torch.ones(rows),
        success=yes,
        parts={},
    )


def line(face: int) -> bytes:
    """A record of a face."""
    return b'{"face": %d}' % face


def face_records(*of: object) -> list[dict]:
    """What the lines of faces say."""
    return [strict(face) for face in face_lines(*of)]


def strict(text: str | bytes) -> dict:
    """What a document says; refuses NaN and Infinity, which Python would read but JSON does not know."""
    return json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


def test_a_record_holds_the_fit_and_what_was_measured():
    table = make_table(2)
    first, second = face_records([{"image": "a.png"}, {"image": "b.png"}], make_result(2), table)
    assert list(first)[:4] == ["image", "success", "confidence", "likelihood"]
    assert (first["image"], second["image"], first["success"], second["success"]) == ("a.png", "b.png", True, False)
    torch.testing.assert_close(torch.tensor(second["landmarks_3d"]), table.points[1])
    torch.testing.assert_close(torch.tensor(second["eye_landmarks_3d"]), table.eye_points[1])
    assert second["confidence"] == pytest.approx(table.confidence[1].item(), rel=1e-8)


def test_groups_that_are_not_in_the_table_are_left_out():
    (record,) = face_records([{}], make_result(1), make_table(1).without("gaze", "eye_points"))
    assert "gaze" not in record and "eye_landmarks_3d" not in record and "gaze_angle" in record


def test_numbers_that_are_not_finite_are_null_and_others_tell_float32_apart():
    (record,) = face_records([{}], make_result(1), make_table(1, confidence=torch.tensor([torch.nan])))
    assert record["confidence"] is None and record["landmark_likelihoods"] == [None] * 68
    assert torch.tensor(record["likelihood"]) == torch.tensor(1 / 3)


@pytest.mark.parametrize("count", [0, 1, 3])
def test_a_document_has_one_face_on_each_line(count):
    file = io.BytesIO()
    with json_document(file, {"model": "é.pt"}) as rows:
        for number in range(count):
            rows.append([line(number)])
    document = strict(file.getvalue())
    assert document == {"model": "é.pt", "faces": [{"face": number} for number in range(count)]}
    assert file.getvalue().count(b"\n") == count + 1


def test_lines_are_whole_whatever_ends_them(tmp_path):
    path = tmp_path / "faces.json"
    path.write_text("older")
    with pytest.raises(KeyboardInterrupt), json_file(path, {"model": "m.pt"}) as rows:
        rows.append([line(0)])
        raise KeyboardInterrupt
    assert [strict(line) for line in partial_of(path).read_bytes().splitlines()] == [{"model": "m.pt"}, {"face": 0}]
    assert path.read_text() == "older"


@pytest.mark.parametrize("count", [0, 1, 3])
def test_gone_on_with_it_is_the_same_document(count, tmp_path):
    path, head, faces = tmp_path / "faces.json", {"model": "é.pt"}, list(map(line, range(count)))
    with json_document(expected := io.BytesIO(), head) as document:
        document.append(faces)
    with pytest.raises(KeyboardInterrupt), json_file(path, head) as rows:
        rows.append(faces[:1])
        position = rows.position()
        rows.append([line(9)])
        raise KeyboardInterrupt
    with json_file(path, head, position=position) as rows:
        rows.append(faces[1:])
    assert path.read_bytes() == expected.getvalue() and list(tmp_path.iterdir()) == [path]


def test_a_line_is_what_the_standard_library_writes():
    """To the last byte, of whole numbers and those that have an exponent too."""
    values = torch.tensor([[0.0, -0.0], [3.0, 1e-7], [1.5e20, -2.25], [1e6, 123456.789], [torch.inf, 1e-3]])
    fits = replace(make_result(1), landmarks=values[None], landmark_likelihoods=values[None, :, 0].double())
    expected = [[float(f"{v:.9g}") if math.isfinite(v) else None for v in row] for row in values.tolist()]
    for head in ({"image": 'a "b" é.png', "box": [1.0, 2.5, 3, 4]}, {}):
        (found,) = face_lines([head], fits, make_table(1))
        record = json.loads(found)
        assert json.dumps(record).encode() == found and repr(record["landmarks"]) == repr(expected)
        assert (
            record["landmark_likelihoods"] == [row[0] for row in expected[:4]] + [None]
            and head.items() <= record.items()
        )
