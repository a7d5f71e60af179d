"""Frames as players show them, whatever a file says about turns, mirrors, and the shape of its pixels."""

from __future__ import annotations

import gc
import math
import struct
from fractions import Fraction
from itertools import islice

import av
import cv2
import numpy as np
import pytest
import torch
from av.video.frame import VideoFrame

from clnf_torch.media.video import VideoFile
from clnf_torch.media.video_geometry import fitted, square_size
from tests.media.videos import encode, patch, write_video

ONE = 1 << 16


def corners(height: int = 48, width: int = 64) -> np.ndarray:
    """An image of four shades, none of whose turns and mirror images is another: 200, 130 above 60, 0."""
    image = np.zeros((height, width, 3), np.uint8)
    image[: height // 2, : width // 2], image[: height // 2, width // 2 :] = 200, 130
    image[height // 2 :, : width // 2] = 60
    return image


def shades_of_corners(image: torch.Tensor) -> list[int]:
    """The shades at upper left, upper right, lower left and lower right, to the next ten."""
    height, width = image.shape[1:]
    spots = [image[0, y, x] for y in (height // 4, 3 * height // 4) for x in (width // 4, 3 * width // 4)]
    return [10 * round(int(spot) / 10) for spot in spots]


def with_matrix(path, a, b, c, d):
    """A file whose track is shown by x' = a x + c y, y' = b x + d y."""
    entries = [round(value * ONE) for value in (a, b, 0, c, d, 0, 0, 0)]
    return patch(write_video(path, [corners()] * 3), b"tkhd", 44, ">9i", *entries, 1 << 30)


SHOWN = {
    1: ((1, 0, 0, 1), [200, 130, 60, 0]),
    2: ((-1, 0, 0, 1), [130, 200, 0, 60]),
    3: ((-1, 0, 0, -1), [0, 60, 130, 200]),
    4: ((1, 0, 0, -1), [60, 0, 200, 130]),
    5: ((0, 1, 1, 0), [200, 60, 130, 0]),
    6: ((0, 1, -1, 0), [60, 200, 0, 130]),
    7: ((0, -1, -1, 0), [0, 130, 60, 200]),
    8: ((0, -1, 1, 0), [130, 0, 200, 60]),
}
"""By the number that EXIF gives an orientation: the display matrix a, b, c, d, and the shades of the corners."""


@pytest.mark.parametrize("number", SHOWN)
def test_every_turn_and_mirror_image_of_a_container(tmp_path, number):
    matrix, expected = SHOWN[number]
    notes = []
    source = VideoFile(with_matrix(tmp_path / "turned.mp4", *matrix), notes.append)
    assert (source.width, source.height) == ((48, 64) if number >= 5 else (64, 48))
    assert [shades_of_corners(frame.image) for frame in source] == [expected] * 3
    assert notes == []


@pytest.mark.parametrize("number", SHOWN)
def test_every_turn_and_mirror_image_of_exif(tmp_path, number):
    path, (_, expected) = tmp_path / "turned.avi", SHOWN[number]
    jpeg = cv2.imencode(".jpg", corners())[1].tobytes()
    tags = b"Exif\0\0II*\0" + struct.pack("<IHHHIII", 8, 1, 0x112, 3, 1, number, 0)
    content = jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(tags) + 2) + tags + jpeg[2:]
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuvj420p"
        for time in range(3):
            packet = av.Packet(content)
            packet.stream, packet.pts, packet.dts, packet.time_base = stream, time, time, Fraction(1, 25)
            container.mux(packet)
    assert [shades_of_corners(frame.image) for frame in VideoFile(path)] == [expected] * 3


@pytest.mark.parametrize(("degrees", "expected"), [(30, 1), (100, 6), (-80, 8)])
def test_another_angle_is_said_and_the_nearest_one_is_used(tmp_path, degrees, expected):
    sine, cosine = math.sin(math.radians(degrees)), math.cos(math.radians(degrees))
    notes = []
    source = VideoFile(with_matrix(tmp_path / "tilted.mp4", cosine, sine, -sine, cosine), notes.append)
    assert shades_of_corners(next(iter(source)).image) == SHOWN[expected][1]
    (note,) = notes
    assert f"turns by {degrees}.0 degrees" in note and str(source.path) in note


def test_a_matrix_that_shows_nothing_is_left_out(tmp_path):
    notes = []
    source = VideoFile(with_matrix(tmp_path / "nothing.mp4", 0, 0, 0, 1), notes.append)
    assert shades_of_corners(next(iter(source)).image) == SHOWN[1][1]
    assert "shows nothing" in notes[0] and len(notes) == 1


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "avi"])
def test_pixels_become_square(tmp_path, suffix):
    notes = []
    source = VideoFile(encode(tmp_path / f"wide.{suffix}", [corners()] * 3, aspect=2), notes.append)
    assert (source.width, source.height) == (128, 48)
    assert [shades_of_corners(frame.image) for frame in source] == [SHOWN[1][1]] * 3
    (note,) = notes
    assert "64 x 48 pixels are not square; they are read as 128 x 48" in note


def test_pixels_become_square_before_they_are_turned(tmp_path):
    path = encode(tmp_path / "wide.mp4", [corners()] * 3, aspect=2)
    source = VideoFile(patch(path, b"tkhd", 44, ">9i", 0, ONE, 0, -ONE, 0, 0, 0, 0, 1 << 30))
    assert (source.width, source.height) == (48, 128)
    assert shades_of_corners(next(iter(source)).image) == SHOWN[6][1]


def test_pixels_of_no_likely_shape_are_square_and_that_is_said(tmp_path):
    notes = []
    source = VideoFile(encode(tmp_path / "thin.mkv", [corners()] * 3, aspect=40), notes.append)
    assert (source.width, source.height) == (64, 48)
    assert "40 times as wide as high" in notes[0] and len(notes) == 1


def test_a_side_of_square_pixels_is_never_made_smaller():
    assert square_size(720, 576, Fraction(16, 15)) == (768, 576)
    assert square_size(720, 480, Fraction(8, 9)) == (720, 540)
    assert square_size(1920, 1080, Fraction(4319, 4320)) == (1920, 1080)
    assert square_size(64, 48, None) == (64, 48)
    assert square_size(64, 48, Fraction(0)) == (64, 48)


def test_frames_of_another_size_keep_their_ratio(tmp_path):
    path, notes = tmp_path / "both.h264", []
    first = encode(tmp_path / "a.h264", [corners(48, 64)] * 3)
    second = encode(tmp_path / "b.h264", [np.full((96, 64, 3), 200, np.uint8)] * 3)
    path.write_bytes(first.read_bytes() + second.read_bytes())
    frames = [frame.image for frame in VideoFile(path, notes.append)]
    assert [tuple(image.shape) for image in frames] == [(3, 48, 64)] * 6
    assert [shades_of_corners(image) for image in frames[:3]] == [SHOWN[1][1]] * 3
    columns = frames[4].float().mean((0, 1))  # 32 of 64 columns are the image, between black bars
    assert columns[16:48].min() > 190 and columns[:16].max() == columns[48:].max() == 0
    (note,) = notes
    assert "frame 4 is 64 x 96 pixels, not 64 x 48 as the first one" in note


def test_no_frame_waits_for_the_garbage_collection(tmp_path):
    source = VideoFile(write_video(tmp_path / "plain.mp4", [corners()] * 8))
    gc.collect()
    gc.disable()
    try:
        for _ in islice(source, 6):
            alive = sum(type(thing) is VideoFrame for thing in gc.get_objects())
    finally:
        gc.enable()
    # The one that is shown, the one whose time tells whether its own is right, and those that are sorted by time
    assert alive <= 4


def test_what_fits():
    assert fitted((640, 480), (320, 256)) == (320, 240)
    assert fitted((10_000, 1), (64, 48)) == (64, 1)
