"""Tables of landmarks as other programs write them: read to the same numbers, or refused by a line that says where."""

from __future__ import annotations

import csv
import io

import cv2
import pytest
import torch

from clnf_torch.cli.tables.landmarks import COLUMNS, COLUMNS_FROM_1, LandmarkTable, read_table
from clnf_torch.files.table_text import TableError
from tests.media.videos import write_folder

LANDMARKS = torch.arange(3 * 136, dtype=torch.float64).view(3, 2, 68).mT.contiguous() / 8
CHANGED = torch.tensor([False, True, False])
OUTCOMES = ["kept", "refitted", "no image"]


def cells(columns=COLUMNS, first=1):
    """Names, and rows of a frame, a face called B, and the landmarks."""
    rows = [[str(first + row), "B", *map(str, LANDMARKS[row].mT.flatten().tolist())] for row in range(3)]
    return [["frame", "face_id", *columns], *rows]


def text(delimiter=",", rows=None):
    written = io.StringIO()
    csv.writer(written, delimiter=delimiter, lineterminator="\n").writerows(rows or cells())
    return written.getvalue()


def with_commas(delimiter):
    return text(delimiter).replace(".", ",").replace('"', "")


KINDS = {
    "plain": text().encode(),
    "mark": text().encode("utf-8-sig"),
    "UTF-16": text().encode("utf-16"),
    "UTF-16, other order": b"\xfe\xff" + text().encode("utf-16-be"),
    "UTF-16 without a mark": text().encode("utf-16-le"),
    "UTF-32": text().encode("utf-32"),
    "Latin-1": text().replace("B", "Zoë").encode("latin-1"),
    "semicolons": text(";").encode(),
    "tabs": text("\t").encode(),
    "bars": text("|").encode(),
    "blanks": text(" ").replace(" ", "   ").encode(),
    "semicolons and decimal commas": with_commas(";").encode(),
    "tabs and decimal commas": with_commas("\t").encode("utf-16"),
    "Windows' line ends": text().replace("\n", "\r\n").encode(),
    "old line ends": text().replace("\n", "\r").encode(),
    "no end": text().rstrip().encode(),
    "quoted": "".join(",".join(f'"{cell}"' for cell in row) + "\n" for row in cells()).encode(),
    "OpenFace's blanks": text().replace(",", ", ").encode(),
    "quoted after blanks": "".join(", ".join(f'"{cell}"' for cell in row) + "\n" for row in cells()).encode(),
    "capitals": text().replace("frame", "Frame").replace("x_", "X_").encode(),
    "all in capitals": text(rows=[[name.upper() for name in cells()[0]], *cells()[1:]]).encode(),
    "empty lines": text().replace("\n", "\n\n").encode(),
    "rows without content": (text() + "," * 137 + "\n").encode(),
    "comments": ("# made by hand\n" + text().replace("\n", "\n  # and so on, and on\n")).encode(),
    "Excel's note": ("sep=;\n" + text(";")).encode(),
    "delimiters at the end": text().replace("\n", ",\n").encode(),
    "from 1": text(rows=cells(COLUMNS_FROM_1)).encode(),
    "other columns": text(rows=[[*row, "more", "more"] for row in cells()]).encode(),
    "other order": text(rows=[row[::-1] for row in cells()]).encode(),
    "fractions of frames": text().replace("\n2,", "\n2.0,").encode(),
}


def written(table: LandmarkTable, landmarks: torch.Tensor, outcomes: list[str]) -> str:
    """The whole table with other landmarks in the rows that are changed."""
    return table.head() + table.text(enumerate(table.rows), landmarks, CHANGED, outcomes)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_table_says_the_same(tmp_path, kind):
    path = tmp_path / "theirs.csv"
    path.write_bytes(KINDS[kind])
    table = read_table(path)
    assert torch.equal(table.landmarks, LANDMARKS)
    assert table.frame.tolist() == [1, 2, 3] and len(table.identity.unique()) == 1
    path.write_text(written(table, LANDMARKS + 0.125, OUTCOMES), encoding="utf-8")
    again = read_table(path)
    assert torch.equal(again.landmarks, torch.where(CHANGED[:, None, None], LANDMARKS + 0.125, LANDMARKS))
    assert (again.names[-1], again.delimiter) == ("repair", table.delimiter)
    assert [row[-1] for row in again.rows] == OUTCOMES
    assert again.decimal_comma == table.decimal_comma == ("decimal commas" in kind)


def test_what_stays_stays_to_the_letter(tmp_path):
    rows = cells()
    rows[1][5], rows[3][7] = " 0012.50 ", "NaN"
    (tmp_path / "theirs.csv").write_text(text(rows=rows))
    lines = written(read_table(tmp_path / "theirs.csv"), LANDMARKS, OUTCOMES).splitlines()
    assert lines[1] == text(rows=rows).splitlines()[1] + ",kept"
    assert lines[3] == text(rows=rows).splitlines()[3] + ",no image"


def test_landmarks_that_stay_in_a_row_that_changes_keep_their_letters(tmp_path):
    rows = cells()
    # An unknown landmark, and three others, of which the last two move
    rows[2][2:6], rows[2][70:74] = ["NA", "1.23456", "7.0", "5"], ["", "05.50", " 8.75 ", "9"]
    (tmp_path / "theirs.csv").write_text(text(rows=rows))
    landmarks = (table := read_table(tmp_path / "theirs.csv")).landmarks.clone()
    landmarks[1, 2, 1] += 0.25
    landmarks[1, 3] = 4
    rows[2][4:6], rows[2][72:74] = ["7.000", "4.000"], ["9.000", "4.000"]
    assert written(table, landmarks, OUTCOMES).splitlines()[2] == ",".join([*rows[2], "refitted"])


def test_a_second_repair_replaces_the_outcomes(tmp_path):
    (tmp_path / "theirs.csv").write_text(text())
    (tmp_path / "theirs.csv").write_text(written(read_table(tmp_path / "theirs.csv"), LANDMARKS, OUTCOMES))
    once = read_table(tmp_path / "theirs.csv")
    (tmp_path / "theirs.csv").write_text(written(once, LANDMARKS, OUTCOMES[::-1]))
    twice = read_table(tmp_path / "theirs.csv")
    assert once.names == twice.names and [row[-1] for row in twice.rows] == OUTCOMES[::-1]


@pytest.mark.parametrize("columns", [COLUMNS, COLUMNS_FROM_1])
@pytest.mark.parametrize(("frame", "depth"), [("frame", True), ("frame", False), ("FRAME", True)])
def test_millimetres_alone_are_not_read_as_pixels(tmp_path, columns, frame, depth):
    first, *rest = cells([name.upper() for name in columns])
    first[0] = frame
    rows = [first + ["Z_0", "Z_1"] * depth, *(row + ["700", "700"] * depth for row in rest)]
    (path := tmp_path / "theirs.csv").write_text(text(rows=rows))
    number = columns[0][1:]
    expected = f"expected landmarks in pixels, x{number} and so on, found those in millimetres alone, X{number}"
    with pytest.raises(TableError, match=expected):
        read_table(path)


@pytest.mark.parametrize("columns", [COLUMNS, COLUMNS_FROM_1])
def test_millimetres_stand_beside_pixels(tmp_path, columns):
    millimetres = [f"{axis}_{point}" for axis in "XYZ" for point in range(68)]
    first, *rest = cells(columns)
    rows = [["Frame", *millimetres, *first], *([str(8 + row), *["-1.5"] * 204, *one] for row, one in enumerate(rest))]
    (tmp_path / "theirs.csv").write_text(text(rows=rows))
    table = read_table(tmp_path / "theirs.csv")
    assert torch.equal(table.landmarks, LANDMARKS) and table.frame.tolist() == [1, 2, 3]
    row = written(table, LANDMARKS + 1, OUTCOMES).splitlines()[2].split(",")
    assert row[:205] == rows[2][:205] and float(row[207]) == LANDMARKS[1, 0, 0] + 1


@pytest.mark.parametrize("cell", ["", " ", "nan", "-NaN", "NA", "null", "inf", "-1e999"])
def test_unknown_landmarks_are_no_numbers(tmp_path, cell):
    rows = cells()
    rows[2][9] = cell
    (tmp_path / "theirs.csv").write_text(text(rows=rows))
    landmarks = read_table(tmp_path / "theirs.csv").landmarks
    assert (~landmarks.isfinite()).nonzero().tolist() == [[1, 7, 0]]


def test_faces_may_have_names(tmp_path):
    rows = cells()
    rows[1][1], rows[2][1], rows[3][1] = "Ann", "", " Ann "
    (tmp_path / "theirs.csv").write_text(text(rows=rows))
    first, second, third = read_table(tmp_path / "theirs.csv").identity.tolist()
    assert first == third != second


def changed(row, column, value):
    rows = cells()
    rows[row][column] = value
    return text(rows=rows)


FAULTS = {
    "empty": ("", "expected a table, found an empty file"),
    "blank lines": ("\n\n \n", "found an empty file"),
    "few columns": ("frame,x_0\n1,2\n", "found no x_1"),
    "no frame": (text(rows=[row[1:] for row in cells()]), "found no frame"),
    "one column less": (text(rows=[row[:-1] for row in cells()]), "found no y_67"),
    "twice": (text(rows=[[*row, row[9]] for row in cells()]), "expected one column x_7, found 2; remove the others"),
    "two frames": (text(rows=[[*row, row[0]] for row in cells()]), "expected one column frame, found 2"),
    "short row": (text() + "4,B\n", "row 5 has 2 cells for 138 columns"),
    "long row": (text() + "4," * 140 + "\n", "row 5 has 141 cells for 138 columns"),
    "decimal commas": (with_commas(","), "row 2 has 274 cells for 138 columns; .* Separate cells by semicolons"),
    "no number": (changed(1, 137, "far"), "row 2, y_67: expected a number, found 'far'"),
    "no number, quoted": (changed(3, 2, 'fa"r'), "row 4, x_0: expected a number"),
    "thousands": (changed(2, 3, "1,234.5"), "row 3, x_1: expected a number, found '1,234.5'"),
    "a long cell": (changed(2, 3, "a" * 1000), r"row 3, x_1: expected a number, found 'a{40}\.\.\.'"),
    "a huge cell": (changed(2, 3, "1" * 200_000), "row 3: field larger than field limit"),
    "an open quote": (text() + '"4,B', "row 5 has 1 cells for 138 columns"),
    "no frame number": (changed(2, 0, ""), "row 3, frame: expected a whole number, found ''"),
    "half a frame": (changed(2, 0, "1.5"), "row 3, frame: expected a whole number, found '1.5'"),
    "frames without end": (changed(2, 0, "inf"), "row 3, frame: expected a whole number"),
    "frames beyond": (changed(2, 0, "1e300"), "row 3, frame: expected a whole number"),
    "a zero byte": (changed(2, 3, "1\0"), "row 3: expected text, found a zero byte"),
    "a workbook": ("PK\3\4" + "\0\1" * 400, "row 1: expected text, found a zero byte"),
}


@pytest.mark.parametrize("kind", FAULTS)
def test_what_cannot_be_read_is_named_with_its_place(tmp_path, kind):
    content, message = FAULTS[kind]
    (tmp_path / "theirs.csv").write_bytes(content.encode())
    with pytest.raises(TableError, match=message) as caught:
        read_table(tmp_path / "theirs.csv")
    assert "\n" not in str(caught.value) and len(str(caught.value).replace(str(tmp_path), "")) < 200


def test_a_bad_table_ends_the_command_with_one_line(clnf_torch_cli, bundle, tmp_path):
    (tmp_path / "theirs.csv").write_text("frame;x_0\n1;2\n")
    words = "--landmarks", tmp_path / "theirs.csv", "--csv", tmp_path / "o.csv", "--model", bundle
    done = clnf_torch_cli("repair", tmp_path, *words)
    assert done.exit_code == 1 and done.stderr.count("\n") == 1 and "found no x_1" in done.stderr
    assert not (tmp_path / "o.csv").exists()


@pytest.mark.parametrize(
    ("first", "words", "outside"),
    [(0, (), 0), (0, ("--first-frame", 1), 1), (2, (), 1)],
)
def test_frames_are_counted_from_0_where_the_table_has_a_frame_0(
    clnf_torch_cli, bundle, image, tmp_path, first, words, outside
):
    folder = write_folder(tmp_path / "frames", [cv2.imread(str(image))] * 3)
    (tmp_path / "theirs.csv").write_text(text(rows=cells(first=first)))
    options = "--landmarks", tmp_path / "theirs.csv", "--csv", tmp_path / "o.csv", "--model", bundle, *words
    done = clnf_torch_cli("repair", folder, *options, "--no-multi-view")
    assert done.exit_code == 0, done.output
    assert ("holds a frame 0, so frames are counted from 0" in done.stderr) == (first == 0 and not words)
    assert [row[-1] for row in read_table(tmp_path / "o.csv").rows].count("no image") == outside
    assert ("1 of 3 rows are of frames" in done.stderr) == bool(outside)
