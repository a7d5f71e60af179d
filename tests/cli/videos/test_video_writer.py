"""Drawn videos grow as Matroska, get their own format at the end, and go on to the last bit behind a key frame."""

from __future__ import annotations

import errno
import resource
from fractions import Fraction

import numpy as np
import pytest
import torch

from clnf_torch.cli.videos.video_writer import FORMATS, KEY_INTERVAL, Place, image_count, video_file
from clnf_torch.files.growing import PartialError
from clnf_torch.files.writing import partial_of
from clnf_torch.media.video import VideoFile
from tests.media.videos import assert_shades, levels, shades

COUNT = 3 * KEY_INTERVAL + 5


def images(count: int, height: int = 48, width: int = 64) -> list[np.ndarray]:
    """Noise that moves to the right, and another one that it turns to halfway."""
    noise = np.random.default_rng(68).integers(0, 255, (2, height, width, 3), dtype=np.uint8)
    return [np.roll(noise[int(number > count // 2)], number, axis=1) for number in range(count)]


def frames_of(path) -> torch.Tensor:
    return torch.stack([frame.image for frame in VideoFile(path)])


def test_what_stops_it_leaves_an_older_file_and_the_images(tmp_path):
    path = tmp_path / "drawn.mp4"
    path.write_bytes(b"older")
    with pytest.raises(KeyboardInterrupt), video_file(path, Fraction(25)) as video:
        for image in shades(5):
            video.append(image)
        raise KeyboardInterrupt
    assert_shades(levels(VideoFile(partial_of(path))))
    assert path.read_bytes() == b"older"


def test_a_killed_process_loses_a_tenth_of_a_second(tmp_path):
    with video_file(tmp_path / "drawn.mp4", Fraction(25)) as video:
        for image in images(20):
            video.append(image)
        assert image_count(partial_of(tmp_path / "drawn.mp4")) >= 17


def test_without_images_nothing_is_left(tmp_path):
    with video_file(tmp_path / "none.mp4", Fraction(25)):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("stop", [KEY_INTERVAL - 1, 2 * KEY_INTERVAL, COUNT - 3])
def test_gone_on_with_its_images_are_the_same(suffix, stop, tmp_path):
    rate, drawn = Fraction(30000, 1001), images(COUNT)
    with video_file(tmp_path / f"whole{suffix}", rate) as video:
        for image in drawn:
            video.append(image)
    path = tmp_path / f"again{suffix}"
    with pytest.raises(KeyboardInterrupt), video_file(path, rate) as video:
        for image in drawn[:stop]:
            video.append(image)
        kept = video.kept
        raise KeyboardInterrupt
    assert kept.images % KEY_INTERVAL == 0 and stop - 2 * KEY_INTERVAL <= kept.images <= stop
    with video_file(path, rate, kept) as video:
        for image in drawn[kept.images :]:
            video.append(image)
    whole, again = VideoFile(tmp_path / f"whole{suffix}"), VideoFile(path)
    assert again.rate == whole.rate and abs(whole.rate - rate) < 0.01
    assert torch.equal(frames_of(path), frames_of(tmp_path / f"whole{suffix}"))
    times = [[frame.time for frame in video] for video in (whole, again)]
    off = 2e-3 if suffix == ".mkv" else 2e-4
    assert times[0] == times[1] == pytest.approx([number / float(rate) for number in range(COUNT)], abs=off)
    assert sorted(each.name for each in tmp_path.iterdir()) == [f"again{suffix}", f"whole{suffix}"]


def test_too_few_images_are_refused_and_stay(tmp_path):
    path = tmp_path / "drawn.mp4"
    with pytest.raises(PartialError, match="expected a video"), video_file(path, Fraction(25), Place(KEY_INTERVAL)):
        pass
    with pytest.raises(KeyboardInterrupt), video_file(path, Fraction(25)) as video:
        video.append(shades(1)[0])
        raise KeyboardInterrupt
    with pytest.raises(PartialError, match="expected 25 images to go on with, found 1"):
        with video_file(path, Fraction(25), Place(KEY_INTERVAL)):
            pass
    assert image_count(partial_of(path)) == 1


def test_a_full_disk_is_told_as_such(tmp_path):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    # A file that may not grow is what a full disk is; PyAV's error had another number and "<none>"
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
    try:
        with pytest.raises(OSError) as caught, video_file(tmp_path / "v.mp4", Fraction(25)) as video:
            for image in images(COUNT):
                video.append(image)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert (caught.value.errno, caught.value.filename) == (errno.EFBIG, str(tmp_path / "v.mp4.partial"))
