"""``clnf-torch fit``: JSON, drawings, and what happens to images and boxes that cannot be used."""

from __future__ import annotations

import json
import subprocess
import sys

import cv2
import numpy as np
import pytest
import torch

import clnf_torch
from clnf_torch.cli.images import read_image

KEYS = {
    "image", "box", "success", "likelihood", "view", "params_global", "params_local", "landmarks",
    "landmark_likelihoods",
}  # fmt: skip


def parsed(done):
    """The JSON on stdout; refuses NaN and Infinity, which Python would read but JSON does not know."""
    return json.loads(done.stdout, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


def test_json_holds_what_the_api_returns(clnf_torch_cli, bundle, image, box):
    done = clnf_torch_cli("fit", image, "--model", bundle, "--box", *box, "--json", "-")
    result = clnf_torch.load(bundle).fit(read_image(image)[None], torch.tensor([box]))
    (face,) = parsed(done)["faces"]
    assert done.exit_code == 0
    assert done.stderr == ""
    assert face.keys() == KEYS
    assert (face["image"], face["box"], face["view"]) == (str(image), box, int(result.view))
    assert face["success"] is bool(result.success)
    torch.testing.assert_close(torch.tensor(face["landmarks"]), result.landmarks[0])
    torch.testing.assert_close(torch.tensor(face["params_local"]), result.params.local[0])
    torch.testing.assert_close(torch.tensor(face["landmark_likelihoods"]), result.landmark_likelihoods[0])
    pose = torch.cat((result.params.scale[0, None], result.params.rotation[0], result.params.translation[0]))
    torch.testing.assert_close(torch.tensor(face["params_global"]), pose)


def test_options_reach_the_fit(clnf_torch_cli, bundle, image, box):
    words = ["fit", image, "--model", bundle, "--box", *box]
    plain, exact, wild, turned = (
        parsed(clnf_torch_cli(*words, *more))["faces"][0]["landmarks"]
        for more in ([], ["--numerics", "exact"], ["--preset", "wild"], ["--preset", "wild", "--no-multi-view"])
    )
    assert plain != exact
    assert plain != wild
    assert plain != turned


def test_results_keep_the_order_and_do_not_depend_on_the_batch(clnf_torch_cli, bundle, image, box, tmp_path):
    whole = cv2.imread(str(image))
    names = {"a.png": whole, "b.png": whole[:220], "c.png": whole[::-1], "d.png": whole}
    for name, pixels in names.items():
        cv2.imwrite(str(tmp_path / name), pixels)
    other = [box[0] + 3, box[1] - 2, box[2], box[3]]
    table = {"a.png": [box, other], "b.png": [box], "c.png": [], "d.png": [other]}
    (tmp_path / "boxes.json").write_text(json.dumps(table))
    words = "--model", bundle, "--boxes", tmp_path / "boxes.json"
    together = parsed(clnf_torch_cli("fit", *(tmp_path / name for name in names), *words))["faces"]
    alone = [face for name in names for face in parsed(clnf_torch_cli("fit", tmp_path / name, *words))["faces"]]
    assert [face["image"][-5:] for face in together] == ["a.png", "a.png", "b.png", "d.png"]
    assert [face["box"] for face in together] == [box, other, box, other]
    for one, same in zip(together, alone, strict=True):
        np.testing.assert_allclose(one["landmarks"], same["landmarks"], atol=1e-3)


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
    done = clnf_torch_cli("fit", image, "--model", bundle, "--boxes", tmp_path / "boxes.json")
    (line,) = done.stderr.splitlines()
    assert done.exit_code == 1
    assert line.startswith(f"clnf-torch: error: {image}: box ")
    assert why in line
    assert [face["box"] for face in parsed(done)["faces"]] == [box]


@pytest.mark.parametrize("contents", [None, b"", b"no image", "folder"], ids=["missing", "empty", "text", "folder"])
def test_a_bad_image_is_named_and_the_others_are_done(clnf_torch_cli, bundle, image, box, tmp_path, contents):
    bad = tmp_path / "bad.png"
    if contents == "folder":
        bad.mkdir()
    elif contents is not None:
        bad.write_bytes(contents)
    done = clnf_torch_cli("fit", bad, image, "--model", bundle, "--box", *box)
    (line,) = done.stderr.splitlines()
    assert done.exit_code == 1
    assert line.startswith(f"clnf-torch: error: {bad}: ")
    assert [face["image"] for face in parsed(done)["faces"]] == [str(image)]


def test_a_image_without_entry_is_named(clnf_torch_cli, bundle, image, box, tmp_path):
    (tmp_path / "boxes.json").write_text('{"other.png": []}')
    done = clnf_torch_cli("fit", image, "--model", bundle, "--boxes", tmp_path / "boxes.json")
    assert done.exit_code == 1
    assert "no entry 'image.png'" in done.stderr
    assert parsed(done)["faces"] == []


@pytest.mark.parametrize(
    "contents", [None, "", "[]", "{", "[" * 100_000], ids=["missing", "empty", "list", "cut", "deep"]
)
def test_a_bad_file_of_boxes_is_one_line(clnf_torch_cli, bundle, image, tmp_path, contents):
    boxes = tmp_path / "boxes.json"
    if contents is not None:
        boxes.write_text(contents)
    done = clnf_torch_cli("fit", image, "--model", bundle, "--boxes", boxes)
    (line,) = done.stderr.splitlines()
    assert done.exit_code == 1
    assert line.startswith(f"clnf-torch: error: {boxes}: ")


def test_a_face_without_result_has_nulls(clnf_torch_cli, bundle, image):
    done = clnf_torch_cli("fit", image, "--model", bundle, "--box", 0, 0, 1e308, 10)
    (face,) = parsed(done)["faces"]
    assert done.exit_code == 0
    assert face["success"] is False
    assert face["landmarks"][0] == [None, None]


def test_json_goes_to_a_file_in_one_piece(clnf_torch_cli, bundle, image, box, tmp_path):
    target = tmp_path / "out" / "faces.json"
    target.parent.mkdir()
    done = clnf_torch_cli("fit", image, "--model", bundle, "--box", *box, "--json", target)
    assert done.exit_code == 0
    assert done.stdout == ""
    assert json.loads(target.read_text())["model"] == str(bundle)
    assert list(target.parent.iterdir()) == [target]


def test_drawings_get_names_of_their_own(clnf_torch_cli, bundle, image, box, tmp_path):
    done = clnf_torch_cli("fit", image, image, "--model", bundle, "--box", *box, "--draw", tmp_path / "drawn")
    assert done.exit_code == 0
    assert done.stdout == ""
    drawn = sorted((tmp_path / "drawn").iterdir())
    assert [path.name for path in drawn] == ["image-2_landmarks.png", "image_landmarks.png"]
    assert (cv2.imread(str(drawn[0])) != cv2.imread(str(image))).any(axis=-1).sum() > 68


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["--box", 1, 2, 3],
        ["--box", 1, 2, 3, "x"],
        ["--box", 1, 2, 3, 4, "--boxes", "b.json"],
        ["--box", 1, 2, 3, 4, "--preset", "x"],
        ["--box", 1, 2, 3, 4, "--device", "x"],
    ],
)
def test_wrong_words_are_usage_errors(clnf_torch_cli, bundle, image, words):
    done = clnf_torch_cli("fit", image, "--model", bundle, *words)
    assert done.exit_code == 2
    assert "Error: " in done.stderr


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA device")
def test_a_device_that_is_not_there_is_one_line(clnf_torch_cli, bundle, image, box):
    done = clnf_torch_cli("fit", image, "--model", bundle, "--box", *box, "--device", "cuda")
    (line,) = done.stderr.splitlines()
    assert done.exit_code == 1
    assert line.startswith("clnf-torch: error: --device cuda: ")


def test_ctrl_c_ends_with_130(clnf_torch_cli, bundle, image, box, monkeypatch):
    def interrupted(*_args, **_options):
        raise KeyboardInterrupt

    monkeypatch.setattr(clnf_torch.LandmarkDetector, "fit", interrupted)
    done = clnf_torch_cli("fit", image, "--model", bundle, "--box", *box)
    assert done.exit_code == 130
    assert done.stdout == ""
    assert done.stderr.splitlines() == ["clnf-torch: interrupted"]


def test_the_module_is_the_program(bundle, image, box):
    words = [sys.executable, "-W", "error", "-m", "clnf_torch.cli", "fit", image, "--model", bundle, "--box", *box]
    done = subprocess.run(list(map(str, words)), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert len(parsed(done)["faces"][0]["landmarks"]) == 68
