"""Parts of the face: their lines, their files, and what is said of those that are not there."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from clnf_torch.converters import ConversionError, convert
from clnf_torch.models.bundle import build_model, load_bundle

LINE = "LandmarkDetector_part eye/main.txt left_eye_28 0 1 2 3"


def rewrite(main: Path, *lines: str) -> Path:
    """The description with other lines in place of its part's."""
    assert LINE in main.read_text()
    main.write_text(main.read_text().replace(LINE, "\n".join(lines)))
    return main


def test_a_part_is_a_model_of_its_own(model_main, tmp_path):
    report = convert(model_main, tmp_path / "m.pt")
    bundle = load_bundle(tmp_path / "m.pt")
    (record,) = bundle["model"]["parts"]
    assert (record["name"], record["in_parent"].tolist(), record["in_part"].tolist()) == ("left_eye_28", [0, 2], [1, 3])
    assert [expert["scale"] for expert in record["model"]["experts"]] == [1.0] and record["model"]["parts"] == []
    names = [source.name for source in report.sources]
    assert {"eye/main.txt", "eye/eye.txt", "eye/pdm.txt", "eye/cen_patches_1.00_of.dat"} < set(names)
    assert len(set(names)) == len(names)
    (part,) = build_model(bundle).parts
    assert part.name == "left_eye_28" and part.model.pdm.num_landmarks == 5 and part.model.patch_scales == (1.0,)
    assert part.in_parent.dtype == torch.int64


def test_half_reaches_the_parts(model_main, tmp_path):
    convert(model_main, tmp_path / "m.pt", half=True)
    (record,) = load_bundle(tmp_path / "m.pt")["model"]["parts"]
    assert {w.dtype for stack in record["model"]["experts"][0]["stacks"] for w in stack["weights"]} == {torch.float16}


def test_parts_keep_their_order_and_have_parts_themselves(model_main, tmp_path):
    rewrite(model_main, "LandmarkDetector_part eye/main.txt inner 4 4", LINE)
    (model_main.parent / "eye" / "main.txt").write_text(
        "LandmarkDetector eye.txt\r\nLandmarkDetector_part eye.txt pupil 3 0\r\nDetectionValidator v.txt\r\nHat h.txt"
    )
    report = convert(model_main, tmp_path / "m.pt")
    parts = load_bundle(tmp_path / "m.pt")["model"]["parts"]
    assert [part["name"] for part in parts] == ["inner", "left_eye_28"]
    assert [part["model"]["parts"][0]["name"] for part in parts] == ["pupil", "pupil"]
    entries = [line.entry for line in report.skipped if line.entry.startswith("inner")]
    assert entries == ["inner: DetectionValidator v.txt", "inner: Hat h.txt"]


def test_a_validator_of_a_part_is_not_used(model_main, tmp_path):
    with open(model_main.parent / "eye" / "main.txt", "a") as file:
        file.write("\nDetectionValidator ../validator.txt")
    report = convert(model_main, tmp_path / "m.pt")
    said = {line.entry: line.reason for line in report.skipped}
    assert said["left_eye_28: DetectionValidator validator.txt"] == "OpenFace validates the whole face alone"
    assert "eye/../validator.txt" not in [source.name for source in report.sources]


def test_an_incomplete_pair_is_left_out_and_said(model_main, tmp_path):
    report = convert(rewrite(model_main, LINE + " 4"), tmp_path / "m.pt")
    (record,) = load_bundle(tmp_path / "m.pt")["model"]["parts"]
    assert record["in_parent"].tolist() == [0, 2]
    assert "4, has no partner" in next(line.reason for line in report.skipped if "left_eye_28" in line.entry)


@pytest.mark.parametrize("missing", ["eye/main.txt", "validator.txt"])
def test_a_directory_may_hold_the_whole_face_alone(model_main, tmp_path, missing):
    (model_main.parent / missing).unlink()
    report = convert(model_main, tmp_path / "m.pt")
    said = {line.entry: line.reason for line in report.skipped}
    assert any(missing in entry and reason.startswith("there is no such file") for entry, reason in said.items())
    bundle = load_bundle(tmp_path / "m.pt")
    assert (bundle["validator"] is None) == (missing == "validator.txt")
    assert (bundle["model"]["parts"] == []) == (missing == "eye/main.txt")


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["LandmarkDetector_part"], "a path after LandmarkDetector_part"),
        (["LandmarkDetector_part eye/main.txt"], "pairs of landmarks, found the end of the line"),
        (["LandmarkDetector_part eye/main.txt left_eye_28"], "pairs of landmarks, found 0 landmarks"),
        (["LandmarkDetector_part eye/main.txt left_eye_28 7"], "pairs of landmarks, found 1 landmarks"),
        (["LandmarkDetector_part eye/main.txt left_eye_28 0 one"], 'found "one"'),
        (["LandmarkDetector_part eye/main.txt left_eye_28 0 -1"], 'found "-1"'),
        (["LandmarkDetector_part eye/main.txt left_eye_28 0 " + "9" * 5000], 'found "999'),
        (["LandmarkDetector_part eye/main.txt left_eye_28 5 0"], "landmarks of the whole face from 0 to 4, found 5"),
        (["LandmarkDetector_part eye/main.txt left_eye_28 0 5"], "of the part left_eye_28 from 0 to 4, found 5"),
        ([LINE, LINE], "one part left_eye_28, found another one"),
        ([LINE.replace("_28", f"_{k}") for k in range(17)], "at most 16 parts"),
        (["LandmarkDetector_part main_ceclm_general.txt itself 0 0"], "is a model its own part"),
        (["LandmarkDetector_part validator.txt left_eye_28 0 0"], "binary data"),
        (["LandmarkDetector_part tris.txt left_eye_28 0 0"], "a line LandmarkDetector"),
    ],
)
def test_lines_that_lead_nowhere(model_main, tmp_path, lines, expected):
    with pytest.raises(ConversionError, match=expected) as caught:
        convert(rewrite(model_main, *lines), tmp_path / "m.pt")
    assert not (tmp_path / "m.pt").exists() and len(str(caught.value)) < 500


def test_a_damaged_file_of_a_part(model_main, tmp_path):
    path = model_main.parent / "eye" / "cen_patches_1.00_of.dat"
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(ConversionError) as caught:
        convert(model_main, tmp_path / "m.pt")
    assert caught.value.place.file == path


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("main_ceclm_general.txt", ["left_eye_28", "right_eye_28"]),
        ("main_clnf_general.txt", ["inner", "left_eye_28", "right_eye_28"]),
        ("main_clnf_wild.txt", ["left_eye_28", "right_eye_28"]),
        ("main_clm_general.txt", ["left_eye_28", "right_eye_28"]),
    ],
)
def test_openface_itself(openface_models, tmp_path, name, parts):
    convert(openface_models / name, tmp_path / "m.pt")
    bundle = load_bundle(tmp_path / "m.pt")
    found = {part.name: part for part in build_model(bundle).parts}
    assert list(found) == parts and bundle["validator"] is not None
    for part in found.values():
        size = {"inner": (51, 32, (1.0,))}.get(part.name, (28, 10, (1.0, 1.5)))
        assert (part.model.pdm.num_landmarks, part.model.pdm.num_modes, part.model.patch_scales) == size
        assert part.model.family.name == "ccnf"
    assert found["left_eye_28"].in_parent.tolist() == list(range(36, 42))
    assert found["right_eye_28"].in_part.tolist() == list(range(8, 20, 2))
