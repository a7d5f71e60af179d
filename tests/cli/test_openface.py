"""``clnf-torch openface``: OpenFace's flags, names of files and columns."""

from __future__ import annotations

import csv
import json
import os
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

import clnf_torch
from clnf_torch.cli.openface import images as openface_images
from clnf_torch.cli.openface.outputs import output_place
from clnf_torch.cli.videos import run as video_run
from clnf_torch.media.images import read_image, write_image
from clnf_torch.media.video import VideoFile
from tests.media.videos import FixedBox, moving, write_folder, write_video

HEAD = ["frame", "face_id", "timestamp", "confidence", "success"]


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch, box):
    """A folder to work in, as OpenFace's default output is below it; and faces that are found."""
    monkeypatch.chdir(tmp_path)
    for module in (video_run, openface_images):
        monkeypatch.setattr(module, "load_face_detector_for", lambda *_: FixedBox(box))


@pytest.fixture
def openface(clnf_torch_cli, bundle):
    """Runs the command with the free model."""
    return lambda *words: clnf_torch_cli("openface", *words, "-mloc", bundle, "-multi_view", "0")


@pytest.fixture
def clip(image, tmp_path):
    return write_video(tmp_path / "clip.mp4", moving(image, 3))


def table(path) -> tuple[list[str], list[list[str]]]:
    header, *rows = csv.reader(path.read_text().splitlines())
    return header, rows


def details(path) -> dict[str, str]:
    return dict(line.split(":", 1) for line in path.read_text().splitlines())


def test_everything_is_written_where_nothing_is_asked_for(openface, clip, tmp_path):
    done = openface("-f", clip)
    assert done.exit_code == 0, done.stderr
    assert done.stderr.startswith("action units are not computed: their columns hold NaN\n")
    out = tmp_path / "processed"
    assert {path.name for path in out.iterdir()} == {"clip.csv", "clip.avi", "clip_of_details.txt", "manifest.json"}
    header, rows = table(out / "clip.csv")
    assert header[:5] == HEAD and header.index("AU45_c") == 713
    assert [row[0] for row in rows] == ["1", "2", "3"]
    assert len(list(VideoFile(out / "clip.avi"))) == 3
    found = details(out / "clip_of_details.txt")
    assert (found["Input"], found["Output csv"], found["Output video"]) == (str(clip), "clip.csv", "clip.avi")
    # The free model has no eyes
    assert (found["Landmarks 2D"], found["AUs"], found["Gaze"]) == (" 1", " 0", " 0")
    (entry,) = json.loads((out / "manifest.json").read_text())["videos"]
    assert entry["settings"]["single_face"] is True


def test_only_what_is_asked_for(openface, clip, tmp_path):
    done = openface(
        "FeatureExtraction", "-f", clip, "-out_dir", "out", "-2Dfp", "-pose", "-q", "-verbose", "-au_static"
    )
    assert done.exit_code == 0, done.stderr
    header, _ = table(tmp_path / "out" / "clip.csv")
    pose = [f"pose_{kind}{axis}" for kind in "TR" for axis in "xyz"]
    assert header[5:] == [*pose, *(f"{axis}_{number}" for axis in "xy" for number in range(68))]
    assert not (tmp_path / "out" / "clip.avi").exists()
    assert done.stderr.count("\n") == 1


def test_inputs_below_a_root_and_outputs_by_name(openface, clip, tmp_path):
    (tmp_path / "root").mkdir()
    clip.rename(tmp_path / "root" / "clip.mp4")
    assert openface("-inroot", "root", "-f", "clip.mp4", "-of", "sub/first.csv", "-pose").exit_code == 0
    assert (tmp_path / "sub" / "first.csv").exists() and (tmp_path / "sub" / "first_of_details.txt").exists()
    done = openface("-inroot", "root", "-f", "clip.mp4", "-f", "clip.mp4", "-of", "first")
    assert done.exit_code == 2 and "there are 2 inputs" in done.stderr


def test_dots_in_names_of_outputs_and_folders_are_kept(openface, image, tmp_path):
    (tmp_path / "seq").mkdir()
    for name in ("P01.s1", "P01.s2"):
        assert openface("-fdir", write_folder(tmp_path / "seq" / name, moving(image, 1)), "-pose").exit_code == 0
        assert openface("-fdir", tmp_path / "seq" / name, "-of", f"own/{name}", "-pose").exit_code == 0
    for folder in ("processed", "own"):
        found = {path.name for path in (tmp_path / folder).iterdir()} - {"manifest.json"}
        assert found == {f"P01.s{number}{end}" for number in (1, 2) for end in (".csv", "_of_details.txt")}


def test_a_folder_that_cannot_be_made_is_named_with_what_to_do(openface, image, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    done = openface("-f", image, "-out_dir", "file/out")
    assert done.exit_code == 2 and "-out_dir file/out: expected a folder at " in done.stderr
    done = openface("-f", image, "-of", "file/first")
    assert done.exit_code == 2 and "-of file: expected a folder at " in done.stderr
    monkeypatch.setattr(os, "access", lambda path, _mode: Path(path) != tmp_path)
    done = openface("-f", image)
    assert done.exit_code == 2
    assert f"-out_dir processed: the folder {tmp_path} cannot be written to; give another one" in done.stderr


@pytest.mark.parametrize("name", ["first.csv", "first.AVI", "first.mp4", "first.png", "first.txt", "first"])
def test_suffixes_of_tables_and_videos_are_no_part_of_a_name(name):
    assert output_place(None, Path("sub") / name, [Path("clip.mp4")]) == (Path("sub"), ["first"])


def test_a_folder_is_a_video_or_photographs(openface, image, tmp_path):
    folder = write_folder(tmp_path / "frames", moving(image, 2))
    assert openface("-fdir", folder, "-2Dfp").exit_code == 0
    header, rows = table(tmp_path / "processed" / "frames.csv")
    assert (header[:5], len(rows)) == (HEAD, 2)
    done = openface("FaceLandmarkImg", "-fdir", folder, "-out_dir", "each", "-2Dfp", "-tracked")
    assert done.exit_code == 0 and done.stdout.split()[:2] == ["2", "images"]
    expected = {f"{name}{end}" for name in "01" for end in (".csv", ".png", "_of_details.txt")} | {"manifest.json"}
    assert {path.name for path in (tmp_path / "each").iterdir()} == expected
    header, rows = table(tmp_path / "each" / "0.csv")
    assert (header[:3], header[-1], len(rows)) == (["face", "confidence", "x_0"], "y_67", 1)


def test_a_photograph_is_one_without_saying_so(openface, image, tmp_path):
    shutil.copy(image, tmp_path / "face.png")
    assert openface("-f", "face.png", "--header-blanks", "-pose").exit_code == 0
    assert (tmp_path / "processed" / "face.csv").read_text().startswith("face, confidence, pose_Tx, ")
    again = openface("-f", "face.png", "-pose", "--skip-existing")
    assert again.exit_code == 0 and "1 images have their outputs; skipped" in again.stderr


def test_photographs_are_known_to_the_manifest(openface, image, tmp_path):
    for name in ("a.png", "b.png", "x/b.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(image, tmp_path / name)
    write_image(tmp_path / "x" / "b.png", np.full((300, 300, 3), 90, np.uint8))
    write_image(tmp_path / "dark.png", np.zeros((300, 300, 3), np.uint8))
    (tmp_path / "bad.png").write_bytes(b"none")
    words = [word for name in ("a", "b", "dark", "bad") for word in ("-f", f"{name}.png")] + ["-pose"]
    assert openface(*words).exit_code == 1
    place = tmp_path / "processed" / "manifest.json"
    (entry,) = json.loads(place.read_text())["images"]
    assert [one["faces"] for one in entry["inputs"]] == [1, 1, 0, None]
    assert entry["inputs"][1]["outputs"] == {"--csv": str(tmp_path / "processed" / "b.csv")}
    assert [bool(one["problem"]) for one in entry["inputs"]] == [False, False, False, True]
    again = openface(*words[:-3], "-pose", "--skip-existing")
    assert (again.exit_code, again.stderr.splitlines()) == (
        0,
        [
            "3 images have their outputs; skipped",
            "in 1 of them an earlier run found no face; leave out --skip-existing to look again",
        ],
    )
    other = openface("-f", "x/b.png", "-pose", "--skip-existing")
    assert other.exit_code == 1
    assert "x/b.png: skipped, though its outputs were made of another image" in " ".join(other.stderr.split())
    place.write_text("{}")
    refused = openface(*words)
    assert refused.exit_code == 2 and place.read_text() == "{}"


@pytest.mark.parametrize("number", [1, 2])
def test_drawings_beside_photographs_are_not_read_the_next_time(openface, image, tmp_path, number):
    (photos := tmp_path / "photos").mkdir()
    for name in range(number):
        assert cv2.imwrite(str(photos / f"{name}.jpg"), cv2.imread(str(image)))
    words = "FaceLandmarkImg", "-fdir", photos, "-out_dir", photos, "-pose", "-tracked"
    assert openface(*words).exit_code == 0
    there = set(photos.iterdir())
    for more in ([], ["--skip-existing"]):
        again = openface(*words, *more)
        assert again.exit_code == 0, again.stderr
        assert f"{photos}: drawings of earlier runs ({number}) are left out" in again.stderr
        assert ("skipped" in again.stderr) == bool(more)
        assert {path.name for path in set(photos.iterdir()) - there} <= {"manifest.json"}
    # Frames of a video are the photographs too
    assert openface("-fdir", photos, "-pose").exit_code == 0
    assert len(table(tmp_path / "processed" / "photos.csv")[1]) == number


def test_drawings_beside_videos_are_not_read_the_next_time(openface, clip, tmp_path):
    (clips := tmp_path / "clips").mkdir()
    for name in "ab":
        shutil.copy(clip, clips / f"{name}.mp4")
    words = "-fdir", clips, "-out_dir", clips, "-pose", "-tracked"
    assert openface(*words).exit_code == 0
    there = set(clips.iterdir())
    for more, skipped in (([], 0), (["--skip-existing"], 2), (["--resume"], 2)):
        again = openface(*words, *more)
        assert again.exit_code == 0, again.stderr
        assert f"{clips}: drawings of earlier runs (2) are left out" in again.stderr
        assert again.stderr.count("; skipped") == skipped
        assert set(clips.iterdir()) == there


def test_a_photograph_that_is_described_without_drawing_is_read(openface, image, tmp_path):
    (photos := tmp_path / "photos").mkdir()
    shutil.copy(image, photos / "a.png")
    words = "FaceLandmarkImg", "-fdir", photos, "-out_dir", photos, "-pose"
    for _ in range(2):
        done = openface(*words)
        assert done.exit_code == 0 and "left out" not in done.stderr


def test_a_photograph_and_a_video_of_one_name_have_outputs_of_their_own(openface, clip, image, tmp_path):
    clip.rename(tmp_path / "subj.mp4")
    shutil.copy(image, tmp_path / "subj.png")
    for folder, files, photograph, video in (
        ("one", ("subj.png", "subj.mp4"), "subj", "subj-2"),
        ("other", ("subj.mp4", "subj.png"), "subj-2", "subj"),
    ):
        done = openface("-f", files[0], "-f", files[1], "-out_dir", folder, "-pose")
        assert done.exit_code == 0, done.stderr
        assert table(tmp_path / folder / f"{photograph}.csv")[0][:2] == ["face", "confidence"]
        header, rows = table(tmp_path / folder / f"{video}.csv")
        assert (header[:5], len(rows)) == (HEAD, 3)


@pytest.mark.parametrize("damaged", [True, False])
def test_a_photograph_that_cannot_be_read_spares_the_videos(openface, clip, tmp_path, damaged):
    if damaged:
        (tmp_path / "bad.png").write_bytes(b"none")
    # The second time there is nothing to do for the video
    for _ in range(2):
        done = openface("-f", "bad.png", "-f", clip, "-pose", "--skip-existing")
        assert done.exit_code == 1 and "bad.png" in done.stderr
        assert len(table(tmp_path / "processed" / "clip.csv")[1]) == 3


def test_aligned_faces_of_a_video(openface, clip, bundle, image, tmp_path):
    done = openface("-f", clip, "-simalign", "-simsize", "64", "-simscale", "0.4", "-nomask", "-2Dfp")
    assert done.exit_code == 0, done.stderr
    out = tmp_path / "processed"
    names = [f"frame_det_00_00000{number}.bmp" for number in (1, 2, 3)]
    assert sorted(path.name for path in (out / "clip_aligned").iterdir()) == names
    assert not (out / "clip.avi").exists()
    found = details(out / "clip_of_details.txt")
    assert (found["Output aligned faces"], found["Aligned size, scale, mask"]) == ("clip_aligned", "64,0.4,0")
    header, rows = table(out / "clip.csv")
    x = header.index("x_0")
    landmarks = torch.tensor([[float(cell) for cell in row[x : x + 136]] for row in rows]).view(3, 2, 68).mT
    frames = [frame.image for frame in VideoFile(clip)]
    expected = clnf_torch.align_faces(frames, landmarks, clnf_torch.load(bundle).model.pdm, size=64, scale=0.4)
    for name, aligned in zip(names, expected, strict=True):
        written = read_image(out / "clip_aligned" / name).float()
        torch.testing.assert_close(written, aligned, rtol=0, atol=1.0)


def test_aligned_faces_are_complete_or_made_again(openface, clip, tmp_path):
    words = "-f", clip, "-simalign", "--skip-existing"
    assert openface(*words).exit_code == 0
    folder = tmp_path / "processed" / "clip_aligned"
    first = folder / "frame_det_00_000001.bmp"
    assert not read_image(first)[:, -1, [0, -1]].any()  # masked
    (folder / "frame_det_07_000009.bmp").touch()
    (folder / "notes.txt").touch()
    assert "its outputs exist; skipped" in openface(*words).stderr
    # As a run leaves them that was killed
    (tmp_path / "processed" / "clip_of_details.txt").unlink()
    assert openface(*words).exit_code == 0
    left = {path.name for path in folder.iterdir()}
    assert left == {"notes.txt", *(f"frame_det_00_00000{number}.bmp" for number in (1, 2, 3))}


def test_aligned_faces_of_a_photograph(openface, image, tmp_path):
    shutil.copy(image, tmp_path / "face.png")
    assert openface("-f", "face.png", "-simalign", "-q", "-nobadaligned").exit_code == 0
    out = tmp_path / "processed"
    assert {path.name for path in out.iterdir()} == {"face_aligned", "face_of_details.txt"}
    assert [path.name for path in (out / "face_aligned").iterdir()] == ["face_det_000000.bmp"]
    assert read_image(out / "face_aligned" / "face_det_000000.bmp").shape == (3, 112, 112)


def test_the_camera(openface, clip, tmp_path):
    for words in (["-cam", "300", "310", "120", "110"], ["-fx", "300", "-fy", "310", "-cx", "120", "-cy", "110"]):
        assert openface("-f", clip, "-pose", *words).exit_code == 0
        assert details(tmp_path / "processed" / "clip_of_details.txt")["Camera parameters"] == "300,310,120,110"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["-f", "a.avi", "-simalign", "-simscale", "0"], "-simscale 0.0: give pixels per millimetre, above 0"),
        (["-f", "a.avi", "-hogalign"], "-hogalign: HOG features are not computed here"),
        (["FaceLandmarkImg", "-f", "a.png", "--resume"], "--resume: a photograph has nothing to go on from; use"),
        (["-2Dfp"], "give -f FILE, -fdir DIR or -device N"),
        (["-f", "a.avi", "-fx", "-3"], "give a focal length"),
    ],
)
def test_what_is_not_done_is_said_in_a_sentence(openface, words, sentence):
    done = openface(*words)
    assert done.exit_code == 2
    assert sentence in " ".join(done.stderr.replace("│", " ").split())


def test_openfaces_own_model_files_are_named_with_what_to_do(clnf_torch_cli):
    done = clnf_torch_cli("openface", "-f", "a.avi", "-mloc", "model/main_ceclm_general.txt")
    assert done.exit_code == 2
    assert "clnf-torch convert model/main_ceclm_general.txt -o openface.pt" in " ".join(done.stderr.split())


@pytest.mark.parametrize(
    ("words", "flag", "remedy"),
    [
        (["-mask"], "-mask", "leave it out"),
        (["-format_aligned", "jpg"], "-format_aligned", "leave it out"),
        (["-oc", "XVID"], "-oc", "leave it out"),
        (["-2dfp"], "-2dfp", "did you mean -2Dfp?"),
        (["-multi-view", "1"], "-multi-view", "did you mean -multi_view?"),
    ],
)
def test_flags_that_are_not_known_are_named_whole(clnf_torch_cli, clip, tmp_path, words, flag, remedy):
    done = clnf_torch_cli("openface", "FeatureExtraction", "-f", clip, *words)
    assert done.exit_code == 2
    text = " ".join(done.stderr.split())
    assert f"expected a flag of those in clnf-torch openface --help, found {flag}; {remedy}" in text
    assert not (tmp_path / "processed").exists()


def test_values_may_look_like_flags(openface, clip, tmp_path):
    shutil.copy(clip, tmp_path / "-oc.mp4")
    done = openface("-f", "-oc.mp4", "-of", "-g", "-pose", "-cam", "300", "310", "-20", "-5", "-out_dir=o")
    assert done.exit_code == 0, done.stderr
    assert details(tmp_path / "o" / "-g_of_details.txt")["Camera parameters"] == "300,310,-20,-5"


def test_refused_outputs_are_named_by_flags_of_openface(openface, image, clip, tmp_path):
    shutil.copy(image, tmp_path / "face.png")
    done = openface("-f", "face.png", "-out_dir", ".")
    assert done.exit_code == 2 and "error: -out_dir face.png: would overwrite the input face.png" in done.stderr
    shutil.copy(clip, tmp_path / "clip.avi")
    done = openface("-f", "clip.avi", "-out_dir", ".", "-tracked")
    assert done.exit_code == 2 and "error: -out_dir clip.avi: would overwrite the input clip.avi" in done.stderr
    (tmp_path / "clip_of_details.txt").mkdir()
    done = openface("-f", "clip.mp4", "-pose", "-out_dir", ".")
    assert done.exit_code == 2 and "-out_dir clip_of_details.txt: " in done.stderr
    assert not (tmp_path / "clip.csv").exists()
