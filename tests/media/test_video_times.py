"""Times that increase, frames that are repeated, and rates that are no resolution of a clock."""

from __future__ import annotations

import struct
from fractions import Fraction

import numpy as np
import pytest

from clnf_torch.media.video import VideoFile
from clnf_torch.media.video_times import Gap, filled, frame_rate, increasing, measured_rate
from tests.media.videos import assert_shades, damage_frame, encode, levels, patch, shades, write_key_frames


def test_a_browsers_recording_has_the_rate_of_its_frames(tmp_path):
    times = [33 * number + number % 3 for number in range(20)]
    source = VideoFile(encode(tmp_path / "browser.webm", shades(20), "libvpx", times=times, clock=1000))
    assert float(source.rate) == pytest.approx(30.2, abs=0.3)
    np.testing.assert_allclose([frame.time for frame in source], np.array(times) / 1000, atol=1e-9)


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_a_variable_rate_is_the_average(tmp_path, suffix):
    times = [9000 * number + (4500 if number > 10 else 0) for number in range(20)]
    source = VideoFile(encode(tmp_path / f"clock.{suffix}", shades(20), times=times, clock=90_000, bf="0"))
    assert float(source.rate) == pytest.approx(19 / (times[-1] / 90_000), rel=0.01)
    np.testing.assert_allclose([frame.time for frame in source], np.array(times) / 90_000, atol=1e-3)


def test_a_gap_among_usual_steps_changes_no_rate():
    times = [Fraction(round(1000 * number / 30), 1000) for number in range(20)]
    gap = [time + 2 * (number > 9) for number, time in enumerate(times)]
    assert measured_rate(gap, Fraction(30)) == 30
    assert measured_rate(gap, Fraction(1000)) == 19 / gap[-1]
    assert measured_rate(times[:1], Fraction(30)) is None


def test_a_camera_of_a_thousand_frames_a_second_is_believed(tmp_path):
    assert VideoFile(encode(tmp_path / "fast.mp4", shades(20), clock=1000)).rate == 1000


def test_a_timelapse_is_slow(tmp_path):
    source = VideoFile(encode(tmp_path / "slow.mp4", shades(5), times=[0, 50, 100, 150, 200], clock=10, bf="0"))
    assert source.rate == Fraction(1, 5)
    assert [frame.time for frame in source] == [0, 5, 10, 15, 20]


@pytest.mark.parametrize(
    ("claimed", "measured", "expected"),
    [
        (Fraction(25), None, 25),
        (None, None, 30),
        (Fraction(90_000), None, 30),
        (Fraction(30_000, 1001), Fraction(2999, 100), Fraction(30_000, 1001)),
        (Fraction(1000), Fraction(29_999, 1000), 30),
        (Fraction(1000), Fraction(50, 3), Fraction(50, 3)),
        (Fraction(25), Fraction(10**9), 25),
    ],
)
def test_a_claim_counts_where_the_times_agree(claimed, measured, expected):
    assert frame_rate(claimed, measured) == expected


def test_an_empty_packet_repeats_the_image(tmp_path):
    kept = [number for number in range(18) if number % 3 != 1]
    images = [shades(18)[number] for number in kept]
    source = VideoFile(encode(tmp_path / "empty.avi", images, "mjpeg", times=kept))
    found = levels(source)
    assert found[1::3] == found[::3]
    assert_shades(level + 10 * (number % 3 == 1) for number, level in enumerate(found))
    assert source.rate == 25 and source.problem is None
    np.testing.assert_allclose([frame.time for frame in source], np.arange(18) / 25, atol=1e-9)


def test_an_empty_sample_of_an_mp4_file_repeats_the_image(tmp_path):
    images = [
        np.pad(image[:, 4 * number :], ((0, 0), (0, 4 * number), (0, 0))) for number, image in enumerate(shades(6))
    ]
    path = write_key_frames(tmp_path / "empty.mp4", images)
    table = path.read_bytes().index(b"stsz") + 16
    second, third = struct.unpack_from(">2I", path.read_bytes(), table + 4)
    source = VideoFile(patch(path, b"stsz", 16 + 4, ">2I", second + third, 0))
    found = levels(source)
    assert len(found) == 6 and found[2] == found[1] < found[3] and source.problem is None


def test_a_damaged_packet_beside_empty_ones_is_one_damaged_frame(tmp_path):
    kept = [0, 1, 4, 5]
    path = encode(tmp_path / "empty.avi", [shades(6)[number] for number in kept], "mjpeg", times=kept)
    source = VideoFile(damage_frame(path, number=1))
    assert [level if level is None else round(level, -1) for level in levels(source)] == [0, None, None, None, 40, 50]
    assert source.problem.endswith("1 of 6 frames is damaged: frame 2")


@pytest.mark.parametrize(("codec", "number"), [("mjpeg", 4), ("mjpeg", 9), ("mpeg4", 4)])
def test_a_packet_without_its_beginning_is_one_damaged_frame(tmp_path, codec, number):
    content = bytearray(encode(tmp_path / "whole.avi", shades(10), codec).read_bytes())
    entry = content.index(b"idx1") + 8 + 16 * number
    _, _, place, _ = struct.unpack_from("<4s3I", content, entry)
    place += content.index(b"movi")
    content[place : place + 8] = bytes(8)
    (path := tmp_path / "damaged.avi").write_bytes(content)
    frames = list(source := VideoFile(path))
    assert [at for at, frame in enumerate(frames) if frame.image is None] == [number]
    np.testing.assert_allclose([frame.time for frame in frames], np.arange(10) / 25, atol=1e-9)
    assert source.problem.endswith(f"1 of 10 frames is damaged: frame {number + 1}")
    if codec == "mjpeg":
        assert [level and round(level, -1) for level in levels(source)][5:9] == [50, 60, 70, 80]
    shown = [at for at, _ in source.images({number, number + 1, number + 2})]
    assert shown == [at for at in (number, number + 2) if at <= 10]


def test_an_index_that_names_other_places_loses_no_frame(tmp_path):
    content = bytearray(encode(tmp_path / "whole.avi", shades(10), "mjpeg").read_bytes())
    start = content.index(b"idx1") + 8
    for number in range(10):
        (place,) = struct.unpack_from("<I", content, start + 16 * number + 8)
        struct.pack_into("<I", content, start + 16 * number + 8, place + 2 * number)
    (path := tmp_path / "moved.avi").write_bytes(content)
    source = VideoFile(path)
    assert_shades(levels(source))
    assert source.problem is None


def test_frames_of_an_avi_file_are_numbered_as_they_are_shown(tmp_path):
    source = VideoFile(encode(tmp_path / "reordered.avi", shades(20), bf="2"))
    frames = list(source)
    assert_shades(levels(frames))
    np.testing.assert_allclose([frame.time for frame in frames], np.arange(20) / 25, atol=1e-9)


def test_an_edit_list_takes_nothing_away(tmp_path):
    path = encode(tmp_path / "trimmed.mp4", shades(20), g="5")
    path = patch(path, b"elst", 12, ">II", 400, 1024 + 512 * 12)  # 0.4 s from frame 12 on
    source = VideoFile(path)
    found = levels(source)
    assert found == pytest.approx([10 * number for number in range(12, 12 + len(found))], abs=5)
    assert 8 <= len(found) <= 10 and source.problem is None


def test_times_without_sense_are_replaced_by_usual_steps():
    times = [0.0, 1.0, 0.5, 3.0, 1e14, 4.0, float("nan"), 5.5]
    found = [time for time, _ in increasing(((time, Gap.DAMAGED) for time in times), 0.5)]
    assert found == [0.0, 1.0, 1.5, 3.0, 3.5, 4.0, 4.5, 5.5]


@pytest.mark.parametrize("wrong", [3, 9])
def test_one_time_far_ahead_puts_no_other_off(wrong):
    times = [0.5 * number for number in range(10)]
    ahead = [3600.0 if number == wrong else time for number, time in enumerate(times)]
    found = [time for time, _ in increasing(((time, Gap.DAMAGED) for time in ahead), 0.5)]
    # Of the last one nobody can say
    assert found == (times if wrong < 9 else ahead)


def test_a_broadcast_that_begins_anew_goes_on_by_usual_steps():
    times = [7.0, 7.5, 8.0, 0.0, 0.5, 1.0]
    found = [time for time, _ in increasing(((time, Gap.DAMAGED) for time in times), 0.5)]
    assert found == [7.0, 7.5, 8.0, 8.5, 9.0, 9.5]


def test_repeats_are_bounded():
    gaps = [(0.0, Gap.DAMAGED), (1e9, Gap.DAMAGED), (1e9 + 3, Gap.DAMAGED)]
    assert [time for time, _ in filled(gaps, 1.0, 10)] == [0.0, 1e9, 1e9 + 1, 1e9 + 2, 1e9 + 3]
