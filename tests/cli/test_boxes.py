"""Bounding boxes that cannot be used are named, and the others are done."""

from __future__ import annotations

import json

import pytest


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
