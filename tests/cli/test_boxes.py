"""Bounding boxes that cannot be used are named, and the others are done."""

from __future__ import annotations

import json

import pytest

from clnf_torch.media.boxes import BoxError, read_boxes_file


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        ([0, 0, 0, 10], "must be above 0"),
        ([0, 0, 10, -1], "must be above 0"),
        ([500, 0, 10, 10], "outside the image of 240 x 240"),
        ([0, -20, 10, 10], "outside the image"),
        ([float("nan"), 0, 10, 10], "not finite"),
        ([0, 0, float("inf"), 10], "not finite"),
        ([0, 0, 10], "not four numbers"),
        ([0, 0, 10, "10"], "not four numbers"),
        ("0 0 10 10", "not four numbers"),
    ],
)
def test_a_bad_box_is_named_and_the_others_are_done(clnf_torch_cli, bundle, image, box, tmp_path, bad, why):
    (tmp_path / "boxes.json").write_text(json.dumps({"image.png": [bad, box]}))
    done = clnf_torch_cli("detect", image, "--model", bundle, "--boxes", tmp_path / "boxes.json")
    (line,) = done.stderr.splitlines()
    assert done.exit_code == 1
    assert line.startswith(f"clnf-torch: error: {image}: box ")
    assert why in line
    assert [face["box"] for face in json.loads(done.stdout)["faces"]] == [box]


def test_an_image_without_entry_is_named(clnf_torch_cli, bundle, image, box, tmp_path):
    (tmp_path / "boxes.json").write_text('{"other.png": []}')
    done = clnf_torch_cli("detect", image, "--model", bundle, "--boxes", tmp_path / "boxes.json")
    assert done.exit_code == 1
    assert "no entry 'image.png'" in done.stderr
    assert json.loads(done.stdout)["faces"] == []


@pytest.mark.parametrize(
    "contents", [None, "", "[]", "{", "[" * 100_000], ids=["missing", "empty", "list", "cut", "deep"]
)
def test_a_bad_file_of_boxes_is_one_line(clnf_torch_cli, bundle, image, tmp_path, contents):
    boxes = tmp_path / "boxes.json"
    if contents is not None:
        boxes.write_text(contents)
    done = clnf_torch_cli("detect", image, "--model", bundle, "--boxes", boxes)
    (line,) = done.stderr.splitlines()
    assert done.exit_code == 1
    assert line.startswith(f"clnf-torch: error: {boxes}: ")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le"])
def test_boxes_are_read_in_every_encoding(tmp_path, encoding):
    (tmp_path / "boxes.json").write_text('{"Zoë.jpg": [[1, 2, 3, 4]]}', encoding=encoding)
    assert read_boxes_file(tmp_path / "boxes.json") == {"Zoë.jpg": [[1, 2, 3, 4]]}


def test_an_image_that_is_named_twice_is_refused(tmp_path):
    (tmp_path / "boxes.json").write_text('{"a.jpg": [[1, 2, 3, 4]], "b.jpg": [], "a.jpg": []}')
    with pytest.raises(BoxError, match=r"names 'a\.jpg' twice; put all its boxes in one list"):
        read_boxes_file(tmp_path / "boxes.json")


@pytest.mark.parametrize(
    "content",
    [b"", b"\0\0", b"\xff\xfe", b"[" * 100_000, b'{"a": ' + b"9" * 5000 + b"}", b"{'a': []}"],
    ids=["empty", "zeros", "mark", "deep", "long number", "single quotes"],
)
def test_what_is_no_file_of_boxes_is_named_in_a_short_line(tmp_path, content):
    (tmp_path / "boxes.json").write_bytes(content)
    with pytest.raises(BoxError, match="expected a JSON object") as error:
        read_boxes_file(tmp_path / "boxes.json")
    assert len(str(error.value).replace(str(tmp_path), "")) < 250 and "\n" not in str(error.value)
