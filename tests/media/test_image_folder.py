"""Folders of images: the frames are what a user sees in them, in the order of the file manager."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from clnf_torch.media.image_folder import description, drawings, image_files, natural_order, notes_on, video_files
from clnf_torch.media.video import open_video
from clnf_torch.media.video_frames import VideoError


def folder_of(path, *names):
    """A folder with files that hold their names."""
    path.mkdir(exist_ok=True)
    for name in names:
        (path / name).write_text(name)
    return path


def names(files):
    return [file.name for file in files]


def test_names_come_in_the_order_of_file_managers(tmp_path):
    expected = ["_x.png", "1.3.png", "1.25.png", "2.png", "010.png", "a1.png", "A2.PNG", "a10.png", "b.png", "É.png"]
    folder = folder_of(tmp_path, *sorted(expected))
    assert names(image_files(folder)) == expected
    assert sorted(reversed(image_files(folder)), key=natural_order) == image_files(folder)


def test_drawn_images_are_left_out_where_their_source_is_there(tmp_path):
    folder = folder_of(tmp_path, "1.jpg", "1_landmarks.png", "2_landmarks.png", "1_landmarks.jpg")
    assert names(image_files(folder)) == ["1.jpg", "1_landmarks.jpg", "2_landmarks.png"]


def test_drawings_of_several_images_of_one_name_are_left_out(tmp_path):
    drawn = ["face_landmarks.png", "face-2_landmarks.png", "face-10_landmarks.png"]
    folder = folder_of(tmp_path, "face.jpg", "face.png", "face-b_landmarks.png", "1-2_landmarks.png", *drawn)
    assert names(image_files(folder)) == ["1-2_landmarks.png", "face-b_landmarks.png", "face.jpg", "face.png"]


def test_what_descriptions_of_outputs_call_drawn_is_left_out(tmp_path):
    folder = folder_of(tmp_path, "a.jpg", "a.png", "b.mp4", "b.avi", "c.png", "d.png")
    (folder / "a_of_details.txt").write_text("Input:a.jpg\nOutput csv:a.csv\nOutput image:a.png\n")
    (folder / "b_of_details.txt").write_text("Input:b.mp4\nOutput video:b.avi\n")
    # A table alone was made of it
    (folder / "c_of_details.txt").write_text("Input:c.png\nOutput csv:c.csv\n")
    (folder / "d_of_details.txt").mkdir()
    assert names(image_files(folder)) == ["a.jpg", "c.png", "d.png"]
    assert names(video_files(folder)) == ["b.mp4"]
    assert names(drawings(folder)) == ["a.png", "b.avi"]


def test_what_is_no_image_and_what_is_hidden_is_left_out(tmp_path):
    folder = folder_of(tmp_path, "1.png", "._1.png", ".2.png", "Thumbs.db", ".DS_Store", "notes.txt")
    folder_of(tmp_path / "3.png", "4.png")
    assert names(image_files(folder)) == ["1.png"]


def test_two_images_of_one_name_are_said_in_a_line(tmp_path):
    folder = folder_of(tmp_path, "frame1.jpg", "frame2.jpg", "frame2.png", "frame3.PNG", "frame3.bmp")
    (line,) = notes_on(folder, image_files(folder))
    assert line.endswith("several images of one name (2 times), as frame2.jpg and frame2.png; each one is a frame")


def test_decimal_numbers_are_said_to_be_in_another_order(tmp_path):
    folder = folder_of(tmp_path, "1.3.png", "1.25.png")
    (line,) = notes_on(folder, image_files(folder))
    assert "1.3.png comes before 1.25.png" in line
    assert notes_on(folder, image_files(folder_of(tmp_path / "padded", "1.25.png", "1.30.png"))) == []


@pytest.mark.parametrize(
    ("files", "found"),
    [
        ((), "a folder without images"),
        (("a.mp4", "b.MOV"), "a folder of videos (2); give them to clnf-torch track one by one"),
        (("a.png", "b.heic"), "a folder of images (2); give them one by one, or the folder to clnf-torch track"),
    ],
)
def test_a_folder_in_the_wrong_place_is_described(tmp_path, files, found):
    assert description(folder_of(tmp_path / "folder", *files)).startswith(found)


def test_a_folder_of_videos_is_no_video(tmp_path):
    with pytest.raises(VideoError, match=r"expected a folder of images, found a folder of videos \(1\)"):
        open_video(folder_of(tmp_path / "folder", "a.mp4"))


def test_notes_are_told_when_a_folder_is_opened(tmp_path):
    said = []
    for name in ("1.png", "1.bmp"):
        cv2.imwrite(str(tmp_path / name), np.zeros((4, 6, 3), np.uint8))
    assert open_video(tmp_path, said.append).count == 2
    assert len(said) == 1 and "several images of one name (1 times)" in said[0]


def test_detect_names_the_command_for_a_folder_of_videos(clnf_torch_cli, bundle, tmp_path):
    done = clnf_torch_cli("detect", folder_of(tmp_path / "clips", "a.mp4"), "--model", bundle, "--box", 1, 1, 9, 9)
    assert done.exit_code == 1 and "give them to clnf-torch track" in done.stderr and done.stderr.count("\n") == 1
