"""What is shown over time."""

import dataclasses

import numpy as np
import pytest
import torch

from clnf_torch.report import read_log, signals
from clnf_torch.report.columns import Selection
from clnf_torch.report.signals import at_rest, charts, measured_face, thinned
from tests.report.tables import columns_of, face_68, talking, write_columns


@pytest.fixture
def log(tmp_path):
    return read_log(write_columns(tmp_path / "t.csv", columns_of(talking(20))))


def by_title(log):
    return {chart.title: chart for chart in charts(log, log.of_face(0))}


def test_all_charts_of_a_whole_table(log):
    found = by_title(log)
    assert list(found) == [
        "Confidence", "Head rotation", "Head position", "Gaze", "Eyelid opening", "Mouth opening",
        "Excursion of the corners of the mouth",
    ]  # fmt: skip
    np.testing.assert_allclose(found["Head rotation"].lines["yaw"], np.rad2deg(-0.2), rtol=1e-5)
    np.testing.assert_allclose(found["Gaze"].lines["right"], np.rad2deg(0.3), rtol=1e-5)


def test_openings_are_millimetres_in_space(log):
    log = dataclasses.replace(log, pose=np.tile([0, 0, 500.0, 0, 0, 0], (20, 1)))
    measured, unit = measured_face(log, log.of_face(0))
    assert unit == "mm"
    np.testing.assert_allclose(measured.mouth_opening, 0.1 * np.arange(20), atol=1e-6)
    np.testing.assert_allclose(measured.palpebral_fissure_height_image_left, 10, atol=1e-6)


def test_openings_are_shares_of_the_eye_distance_in_the_image(log):
    measured, unit = measured_face(dataclasses.replace(log, points=None), log.of_face(0))
    assert "eye distance" in unit
    # The outer corners of the eyes are 90 mm apart
    np.testing.assert_allclose(measured.mouth_opening, 100 * 0.1 * np.arange(20) / 90, atol=1e-6)


def test_what_a_table_lacks_has_no_chart(log):
    log = dataclasses.replace(log, points=None, landmarks=None, gaze=None)
    assert list(by_title(log)) == ["Confidence", "Head rotation", "Head position"]


def test_a_model_without_eyes_has_no_gaze(log):
    assert "Gaze" not in by_title(dataclasses.replace(log, gaze=np.full_like(log.gaze, np.nan)))


def test_numbers_that_are_not_known_leave_breaks(log):
    unknown = {name: np.full_like(getattr(log, name), np.nan) for name in ("pose", "gaze", "points", "confidence")}
    for chart in by_title(dataclasses.replace(log, **unknown)).values():
        assert all(np.isnan(values).all() for values in chart.lines.values()), chart.title


def test_images_have_nobody_at_rest(log):
    found = by_title(dataclasses.replace(log, images=tuple("abcdefghijklmnopqrst"), time=None))
    assert "Mouth opening" in found and "Excursion of the corners of the mouth" not in found


def test_landmarks_of_another_scheme_are_not_measured(log):
    log = dataclasses.replace(log, landmarks=log.landmarks[:, :5], points=log.points[:, :5])
    assert "Confidence" in by_title(log) and "Mouth opening" not in by_title(log)


def test_excursion_counts_from_the_frames_of_rest():
    # A smile in most of the frames
    points = face_68().repeat(50, 1, 1)
    points[:35, [48, 54], 0] += torch.tensor([-8.0, 8.0])
    assert torch.equal(at_rest(points)[0], face_68())


def test_short_lines_are_kept_as_they_are():
    values = np.array([1.0, np.nan, 3])
    places, kept = thinned(values, 3)
    assert places.tolist() == [0, 1, 2] and kept is values


def test_long_lines_keep_peaks_and_breaks():
    values = np.sin(np.arange(10_000) / 300)
    values[1234], values[777], values[5000:6000] = 9, -9, np.nan
    places, kept = thinned(values, 200)
    assert len(places) <= 200 and (np.diff(places) > 0).all()
    assert np.nanmax(kept) == 9 and np.nanmin(kept) == -9
    inside = (places > 5100) & (places < 5900)
    assert inside.any() and np.isnan(kept[inside]).all()
    np.testing.assert_array_equal(kept, values[places])


@pytest.mark.parametrize("without", ["gaze_0_x", "Z_36"])
def test_what_is_read_for_timelines_gives_those_of_the_whole_table(tmp_path, monkeypatch, without):
    path = write_columns(tmp_path / "t.csv", columns_of(talking(20), without))
    whole = by_title(read_log(path))
    monkeypatch.setattr(signals, "PIECE", 7)
    found = by_title(read_log(path, Selection(for_signals=True)))
    assert list(found) == list(whole)
    for title, chart in found.items():
        for name, values in chart.lines.items():
            assert np.isfinite(values).all()
            np.testing.assert_allclose(values, whole[title].lines[name], rtol=1e-12, err_msg=title)
