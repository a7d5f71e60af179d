"""A clinician who worked with OpenFace measures clips of patients: the same flags, files and columns.

Read from top to bottom. Faces are found by the detector and the model that ship; the clips are made of a photograph.
"""

from __future__ import annotations

import csv
import math
import shutil
from pathlib import Path

import pytest

from clnf_torch.media.images import read_image
from tests.media.videos import write_video

PHOTOGRAPH = Path(__file__).resolve().parents[2] / "docs" / "images" / "astronaut.jpg"


@pytest.fixture
def clips(tmp_path, monkeypatch):
    """A folder of clips, as they come from the camera, in the folder where the clinician works."""
    monkeypatch.chdir(tmp_path)
    # Head and shoulders, half as large: a quick clip
    face = read_image(PHOTOGRAPH)[:, :320, 64:384].permute(1, 2, 0).numpy()[::2, ::2, ::-1]
    frames = [face[number:, number:][:152, :152].copy() for number in range(4)]
    (tmp_path / "clips").mkdir()
    for name, count in (("anna before", 4), ("anna after", 3)):
        write_video(tmp_path / "clips" / f"{name}.mp4", frames[:count])
    return tmp_path / "clips"


def sure_rows(path):
    """The rows that OpenFace's users keep, by names as OpenFace writes them."""
    with open(path, newline="") as file:
        return [row for row in csv.DictReader(file) if row["success"] == "1" and float(row["confidence"]) >= 0.8]


def test_from_a_folder_of_clips_to_numbers(clnf_torch_cli, clips, tmp_path):
    # One command for all clips. OpenFace wrote into "processed" too
    words = "-fdir", "clips", "-2Dfp", "-3Dfp", "-pose", "-aus", "-tracked"
    done = clnf_torch_cli("openface", "FeatureExtraction", *words)
    assert done.exit_code == 0, done.stderr
    out = tmp_path / "processed"
    for name in ("anna before", "anna after"):
        assert {f"{name}.csv", f"{name}.avi", f"{name}_of_details.txt"} <= {path.name for path in out.iterdir()}

    # The screen says how well each clip went, and so does a table that opens in a spreadsheet
    assert "anna before" in done.stdout
    with open(out / "summary.csv", newline="") as file:
        summary = {Path(row["input"]).stem: row for row in csv.DictReader(file)}
    assert summary["anna before"]["frames"] == "4"
    assert float(summary["anna before"]["mean_confidence"]) > 0.8

    # The script from the days of OpenFace: head rotation in degrees, the width of the mouth in millimetres
    rows = sure_rows(out / "anna before.csv")
    assert [int(row["frame"]) for row in rows] == [1, 2, 3, 4]
    yaw = [math.degrees(float(row["pose_Ry"])) for row in rows]
    assert max(map(abs, yaw)) < 45
    corners = [[float(row[f"{axis}_{point}"]) for axis in "XYZ"] for row in rows for point in (48, 54)]
    widths = [math.dist(left, right) for left, right in zip(corners[::2], corners[1::2], strict=True)]
    assert all(30 < width < 90 for width in widths)

    # Action units are no zeros that pass for a still face: they are no numbers
    assert all(math.isnan(float(row["AU12_r"])) for row in rows)
    assert "action units are not computed" in done.stderr


def test_a_new_clip_next_week(clnf_torch_cli, clips, tmp_path):
    words = "openface", "-fdir", "clips", "-pose", "-out_dir", "results", "--skip-existing"
    assert clnf_torch_cli(*words).exit_code == 0
    before = (tmp_path / "results" / "anna before.csv").stat().st_mtime_ns
    shutil.copy(clips / "anna after.mp4", clips / "ben.mp4")
    done = clnf_torch_cli(*words)
    assert done.exit_code == 0, done.stderr
    assert done.stderr.count("its outputs exist; skipped") == 2
    assert (tmp_path / "results" / "anna before.csv").stat().st_mtime_ns == before
    assert len(sure_rows(tmp_path / "results" / "ben.csv")) == 3


def test_photographs_and_what_is_not_done(clnf_torch_cli, clips, tmp_path):
    # A script that strips no blanks, from before OpenFace 2.2
    shutil.copy(PHOTOGRAPH, tmp_path / "anna.jpg")
    done = clnf_torch_cli("openface", "FaceLandmarkImg", "-f", "anna.jpg", "-pose", "-gaze", "--header-blanks")
    assert done.exit_code == 0, done.stderr
    header, row = (tmp_path / "processed" / "anna.csv").read_text().splitlines()
    found = dict(zip(header.split(","), row.split(","), strict=True))
    assert float(found[" confidence"]) > 0.8 and float(found[" pose_Tz"]) > 0
    # She looks into the camera
    assert float(found[" gaze_0_z"]) < -0.9 and float(found[" gaze_1_z"]) < -0.9

    # Aligned faces, for a program that reads expressions from them
    assert clnf_torch_cli("openface", "-f", "anna.jpg", "-simalign", "-simsize", "96").exit_code == 0
    aligned = read_image(tmp_path / "processed" / "anna_aligned" / "face_det_000000.bmp")
    assert aligned.shape == (3, 96, 96) and aligned[:, 40:60, 40:60].float().mean() > 60

    # Habits that cannot be met are told in a sentence, before anything is computed
    refused = clnf_torch_cli("openface", "-f", "anna.jpg", "-hogalign")
    assert refused.exit_code == 2
    assert "-hogalign: HOG features are not computed here" in " ".join(refused.stderr.split())
    missing = clnf_torch_cli("openface", "-fdir", "clps")
    assert missing.exit_code == 1 and "clps" in missing.stderr
