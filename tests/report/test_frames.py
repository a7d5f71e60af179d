"""The frames that a report shows."""

import cv2
import numpy as np
import pytest

from clnf_torch.report import frames as report_frames
from clnf_torch.report import read_log
from clnf_torch.report.frames import BEST, LONGEST_SIDE, WORST, choose_frames, frame_scores, frames_each, shown_frames
from clnf_torch.report.sources import Entry, find_images
from tests.media.videos import write_video
from tests.report.tables import pictures, talking, write_table


def entry_of(folder, table, **known):
    path = write_table(folder / "clip.csv", table)
    return Entry("clip", path, read_log(path), **known)


def test_frames_are_bounded_in_number():
    assert frames_each(1) == frames_each(0) == report_frames.MOST_FRAMES
    assert 30 * frames_each(30) <= report_frames.MOST_IN_ALL


def test_a_frame_is_as_sure_as_its_least_sure_face(tmp_path):
    table = talking(4, faces=2, lost=slice(1, 2))
    table.confidence[:2] = table.confidence.new_tensor([0.9, 0.2])
    numbers, scores = frame_scores(entry_of(tmp_path, table).log)
    assert numbers.tolist() == [1, 2, 3, 4]
    np.testing.assert_allclose(scores[:3], [0.2, -1, 0.7])


def test_best_worst_and_lost_frames_are_chosen(tmp_path):
    log = entry_of(tmp_path, talking(200, lost=slice(100, 120))).log
    chosen = choose_frames(log, 20)
    assert len(chosen) <= 20 and list(chosen) == sorted(chosen)
    # Confidence rises through the recording
    best, worst = ([number for number, why in chosen.items() if why == kind] for kind in (BEST, WORST))
    assert max(best) == 200 and min(best) > 120 and min(worst) == 1
    assert sum(101 <= number <= 120 for number in worst) == 1
    assert np.diff(best).min() > 15


@pytest.mark.parametrize("frames", [1, 2, 5])
def test_short_recordings_are_shown_whole(tmp_path, frames):
    assert list(choose_frames(entry_of(tmp_path, talking(frames)).log, 20)) == list(range(1, frames + 1))


def test_frames_come_from_the_video(tmp_path):
    video = write_video(tmp_path / "v.mp4", pictures(12, width=1200, height=100))
    shown, problem = shown_frames(entry_of(tmp_path, talking(12), pictures=video, drawn=True), 6)
    assert problem is None and len(shown) == 6
    for frame in shown:
        pixels = cv2.imdecode(np.frombuffer(frame.content, np.uint8), cv2.IMREAD_COLOR)
        assert pixels.shape == (frame.height, frame.width, 3) == (40, LONGEST_SIDE, 3)
        assert abs(pixels.mean() - 39 - frame.number) < 3


def test_faces_are_drawn_unless_they_are_already(tmp_path):
    video = write_video(tmp_path / "v.mp4", pictures(3))
    (plain, *_), _ = shown_frames(entry_of(tmp_path, talking(3), pictures=video, drawn=True), 3)
    (drawn, *_), _ = shown_frames(entry_of(tmp_path, talking(3), pictures=video), 3)
    assert len(drawn.content) > 1.5 * len(plain.content)


def test_images_are_found_beside_the_table(tmp_path):
    for name in ("a.png", "b.png"):
        cv2.imwrite(str(tmp_path / name), pictures(1)[0])
    path = write_table(tmp_path / "t.csv", talking(2, image=("a.png", "b.png")), image_mode=True)
    log = read_log(path)
    shown, problem = shown_frames(Entry("t", path, log, images=find_images(path, log)), 5)
    assert [frame.number for frame in shown] == [1, 2] and problem is None


def test_a_broken_video_is_a_line(tmp_path):
    (tmp_path / "v.mp4").write_bytes(b"nothing")
    shown, problem = shown_frames(entry_of(tmp_path, talking(3), pictures=tmp_path / "v.mp4"), 5)
    assert shown == [] and "v.mp4" in problem and "\n" not in problem


def test_videos_with_fewer_frames_than_rows(tmp_path):
    video = write_video(tmp_path / "v.mp4", pictures(4))
    shown, problem = shown_frames(entry_of(tmp_path, talking(12), pictures=video), 12)
    assert [frame.number for frame in shown] == [1, 2, 3, 4] and problem is None
