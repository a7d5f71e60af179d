"""Video files as they are read, whole or not, and drawn videos as they are written."""

from __future__ import annotations

import wave
from fractions import Fraction

import numpy as np
import pytest
import torch

from clnf_torch.cli.videos.video_writer import FORMATS, video_file
from clnf_torch.media.video import VideoFile
from clnf_torch.media.video_frames import VideoError
from tests.media.image_files import several_images
from tests.media.videos import assert_shades, damage_frame, levels, shades, write_key_frames, write_video


@pytest.mark.parametrize("suffix", FORMATS)
def test_what_is_written_is_read(tmp_path, suffix):
    source = VideoFile(write_video(tmp_path / f"video{suffix}", shades(20)))
    frames = list(source)
    assert (source.width, source.height, source.rate) == (64, 48, 25)
    assert abs(source.count - 20) <= 1  # some formats say how long they last only
    assert_shades(levels(frames))
    assert len(frames) == 20
    np.testing.assert_allclose([frame.time for frame in frames], np.arange(20) / 25, atol=2e-3)
    assert source.problem is None


def test_colours_come_as_rgb(tmp_path):
    red = np.zeros((48, 64, 3), np.uint8)
    red[..., 2] = 200
    (frame,) = VideoFile(write_video(tmp_path / "red.mp4", [red]))
    assert frame.image.shape == (3, 48, 64)
    assert frame.image.dtype == torch.uint8
    torch.testing.assert_close(frame.image.float().mean((1, 2)), torch.tensor([200.0, 0, 0]), atol=6, rtol=0)


def test_odd_sides_lose_a_line(tmp_path):
    source = VideoFile(write_video(tmp_path / "odd.mp4", shades(3, width=65, height=49)))
    assert (source.width, source.height) == (64, 48)


def test_pages_of_a_file_that_are_not_read_are_said(tmp_path):
    several_images(path := tmp_path / "two.tiff", [np.full((16, 24, 3), shade, np.uint8) for shade in (255, 0)])
    said = list[str]()
    assert len(list(VideoFile(path, said.append))) == 1
    assert said == [f"{path}: holds several images; the first one is used"]


def test_frames_of_an_animation_are_read(tmp_path):
    several_images(path := tmp_path / "two.gif", [np.full((16, 24, 3), shade, np.uint8) for shade in (255, 0)])
    said = list[str]()
    assert len(list(VideoFile(path, said.append))) == 2 and not said


def test_a_telephones_video_is_turned_upright(tmp_path):
    path, turned = tmp_path / "flat.mp4", tmp_path / "turned.mp4"
    half = np.zeros((48, 64, 3), np.uint8)
    half[:, :32] = 200  # left half bright
    write_video(path, [half] * 3)
    content = path.read_bytes()
    one, matrix = (1 << 16).to_bytes(4, "big"), b"\0" * 4
    straight = one + matrix * 3 + one + matrix * 3 + (1 << 30).to_bytes(4, "big")
    clockwise = matrix + one + matrix + (-(1 << 16)).to_bytes(4, "big", signed=True) + matrix * 4
    clockwise += (1 << 30).to_bytes(4, "big")  # "turn clockwise to see it", in the track's header
    header = content.index(b"tkhd")
    place = content.index(straight, header)
    turned.write_bytes(content[:place] + clockwise + content[place + len(clockwise) :])
    source = VideoFile(turned)
    assert (source.width, source.height) == (48, 64)
    image = next(iter(source)).image.float().mean(0)
    assert image[:28].mean() > 150  # now the upper half
    assert image[36:].mean() < 40


def test_a_damaged_frame_is_named_and_the_others_are_read(tmp_path):
    path = damage_frame(write_key_frames(tmp_path / "video.avi", shades(10)), number=4)
    source = VideoFile(path)
    frames = list(source)
    assert_shades(levels(frames), damaged=[4])
    np.testing.assert_allclose([frame.time for frame in frames], np.arange(10) / 25, atol=1e-9)
    assert source.problem == f"{path}: 1 of 10 frames is damaged: frame 5"


def test_a_damaged_first_frame_does_not_hide_the_others(tmp_path):
    source = VideoFile(damage_frame(write_key_frames(tmp_path / "video.avi", shades(10)), number=0))
    assert_shades(levels(source), damaged=[0])


def test_a_cut_video_is_read_as_far_as_it_goes(tmp_path):
    path = write_key_frames(tmp_path / "video.avi", shades(10))
    path.write_bytes(path.read_bytes()[:-3000])
    source = VideoFile(path)
    assert 2 <= len(list(source)) < 10
    assert "of the 10 frames that it promises" in source.problem


@pytest.mark.parametrize(
    ("contents", "why"),
    [(None, "cannot be read"), (b"", "expected a video"), (b"no video at all", "expected a video"), ("cut", "video")],
    ids=["missing", "empty", "text", "cut"],
)
def test_what_is_no_video_is_an_error(tmp_path, contents, why):
    path = tmp_path / "wrong.mp4"
    if contents == "cut":  # without the index at its end, an MP4 file cannot be read
        write_video(path, shades(20))
        contents = path.read_bytes()[:-900]
    if contents is not None:
        path.write_bytes(contents)
    with pytest.raises(VideoError, match=why) as caught:
        VideoFile(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_raw_stream_of_zeros_is_not_read_to_its_end(tmp_path):
    with open(tmp_path / "zeros.h264", "wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(VideoError, match="expected a video, found zeros"):
        VideoFile(tmp_path / "zeros.h264")


def test_a_name_with_a_colon_is_a_name(tmp_path):
    assert len(list(VideoFile(write_video(tmp_path / "http:a.mp4", shades(3))))) == 3


def test_a_file_with_sound_alone_is_an_error(tmp_path):
    path = tmp_path / "sound.wav"
    with wave.open(str(path), "wb") as sound:
        sound.setparams((1, 2, 8000, 0, "NONE", ""))
        sound.writeframes(bytes(1600))
    with pytest.raises(VideoError, match="without images"):
        VideoFile(path)


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_a_drawn_video_keeps_times_but_no_long_breaks(tmp_path, suffix):
    path = tmp_path / f"drawn.{suffix}"
    with video_file(path, Fraction(25)) as video:
        for image, time in zip(shades(5), [0.0, 0.04, 0.5, 3600.0, 3600.04], strict=True):
            video.append(image, time)
    found = [frame.time for frame in VideoFile(path)]
    np.testing.assert_allclose(found, [0.0, 0.04, 0.5, 10.5, 10.54], atol=2e-3)


def test_a_line_is_drawn_twice(tmp_path):
    source = VideoFile(write_video(tmp_path / "line.mp4", shades(4, height=1)))
    assert (source.width, source.height) == (64, 2)
    assert_shades(levels(source))
