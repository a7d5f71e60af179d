"""Folders of images as videos, and frames that are read ahead."""

from __future__ import annotations

import threading
import time

import cv2
import numpy as np
import pytest

from clnf_torch.media import video_frames
from clnf_torch.media.video import open_video
from clnf_torch.media.video_frames import FrameFolder, VideoError, ahead
from tests.media.videos import assert_shades, levels, shades, write_folder


def test_a_folder_is_read_by_number(tmp_path):
    source = FrameFolder(write_folder(tmp_path / "frames", shades(12)))
    (source.path / "notes.txt").write_text("not a frame")
    assert (source.width, source.height, source.count) == (64, 48, 12)
    frames = list(source)
    assert levels(frames) == [10 * number for number in range(12)]
    assert frames[-1].time == pytest.approx(11 / 30)


def test_images_of_a_folder_that_cannot_be_used_are_damaged_frames(tmp_path):
    folder = write_folder(tmp_path / "frames", shades(6))
    (folder / "0.png").write_bytes(b"no image")
    cv2.imwrite(str(folder / "3.png"), np.zeros((10, 10, 3), np.uint8))
    source = FrameFolder(folder)
    assert (source.width, source.height) == (64, 48)
    assert_shades(levels(source), damaged=[0, 3])
    assert source.problem.startswith(f"{folder}: 2 of 6 images cannot be used, the first: ")
    assert "0.png" in source.problem


def test_a_folder_of_videos_is_named_and_so_are_videos_beside_images(tmp_path):
    (tmp_path / "a.mp4").touch()
    (tmp_path / "b.MOV").touch()
    with pytest.raises(VideoError, match=r"a folder of videos \(2\); give them to clnf-torch track one by one"):
        open_video(tmp_path)
    notes = []
    cv2.imwrite(str(tmp_path / "thumbnail.png"), np.zeros((10, 10, 3), np.uint8))
    open_video(tmp_path, notes.append)
    assert notes == [f"{tmp_path}: its 1 images are the frames; videos beside them (2) are left out"]


def test_a_folder_without_images_is_an_error(tmp_path):
    with pytest.raises(VideoError, match="found a folder without images"):
        FrameFolder(tmp_path)


def test_reading_ahead_changes_nothing():
    assert list(ahead(range(50), depth=3)) == list(range(50))


def test_reading_ahead_waits_and_stops(tmp_path):
    made = []
    items = ahead((made.append(number) or number for number in range(1000)), depth=3)
    assert next(items) == 0
    time.sleep(0.3)
    assert len(made) <= 6
    threads = threading.active_count()
    items.close()
    assert threading.active_count() == threads - 1


def test_errors_of_the_other_thread_come_after_the_items_before_it():
    def broken():
        yield 1
        raise VideoError("no more")

    items = ahead(broken())
    assert next(items) == 1
    with pytest.raises(VideoError, match="no more"):
        next(items)


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_whatever_ends_the_other_thread_is_raised_here(error):
    def ended():
        yield 1
        raise error("pressed q")

    items, found = ahead(ended()), []

    def read():
        try:
            found.extend(items)
        except BaseException as raised:
            found.append(type(raised))

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    reader.join(20)
    assert found == [1, error]


def test_items_that_do_not_come_are_not_waited_for(monkeypatch):
    monkeypatch.setattr(video_frames, "PATIENCE", 0.2)
    goes_on, closed = threading.Event(), threading.Event()

    def stalled():
        try:
            yield 1
            goes_on.wait(20)
            yield 2
        finally:
            closed.set()

    items = ahead(stalled())
    assert next(items) == 1
    start = time.monotonic()
    items.close()
    assert time.monotonic() - start < 10
    assert not closed.is_set()
    # The thread ends with what it waits for
    del items
    goes_on.set()
    assert closed.wait(20)
