"""Drawings of faces: on matplotlib's axes, and as the PNG file of the command line."""

from __future__ import annotations

import numpy as np
import pytest

import clnf_torch
from clnf_torch.geometry.landmarks68 import CONTOURS
from tests.media.videos import moving

matplotlib = pytest.importorskip("matplotlib", reason="matplotlib is not installed: pip install matplotlib")


@pytest.fixture(autouse=True)
def figures(monkeypatch):
    """Figures that no window shows, closed at the end."""
    monkeypatch.setenv("MPLBACKEND", "agg")
    from matplotlib import pyplot

    pyplot.switch_backend("agg")
    yield pyplot
    pyplot.close("all")


@pytest.fixture(scope="module")
def found(bundle, image, box):
    return clnf_torch.detect([image, image], bundle, boxes=[[box], []])


def test_contours_and_axes_are_drawn_where_the_face_is(found):
    axes = found.plot()
    (place, empty) = axes.flat
    lines = np.concatenate([line.get_xydata() for line in place.lines])
    landmarks = found.landmarks[0].numpy()
    assert len(place.lines) == sum(len(contour) - 1 for contour in CONTOURS) and not empty.lines
    np.testing.assert_allclose(lines.min(0), landmarks.min(0), atol=1e-4)
    np.testing.assert_allclose(lines.max(0), landmarks.max(0), atol=1e-4)
    assert len(place.texts) == 3 and place.images and empty.get_title().endswith("no face")


def test_one_face_on_axes_of_ones_own(found, bundle, image, box, figures):
    single = clnf_torch.detect(image, bundle, boxes=box)
    _, axes = figures.subplots()
    assert single.plot(axes) is axes and single[0].plot() is not axes
    with pytest.raises(ValueError, match="axes show one image, found the faces of 2"):
        found.plot(axes)


def test_a_drawing_is_the_one_of_the_command_line(clnf_torch_cli, bundle, image, box, found, tmp_path):
    done = clnf_torch_cli("detect", image, "--model", bundle, "--box", *map(str, box), "--draw", tmp_path / "drawn")
    assert done.exit_code == 0, done.stderr
    clnf_torch.detect(image, bundle, boxes=box).save(tmp_path / "own.png")
    assert (tmp_path / "own.png").read_bytes() == (tmp_path / "drawn" / "image_landmarks.png").read_bytes()
    with pytest.raises(ValueError, match="a drawing shows the faces of one image, found those of 2 images"):
        found.save(tmp_path / "two.png")


def test_one_of_several_images_is_drawn_alone(found, bundle, image, box, tmp_path, figures):
    clnf_torch.detect(image, bundle, boxes=box).save(alone := tmp_path / "alone.png")
    for number, one in enumerate([found.in_image(0), found[0], found.in_image(0)[0], found.in_image(0)[:1]]):
        one.save(path := tmp_path / f"{number}.png")
        assert path.read_bytes() == alone.read_bytes()
        _, axes = figures.subplots()
        assert one.plot(axes) is axes and axes.lines
    empty = found.in_image(1)
    empty.save(path := tmp_path / "empty.png")
    clnf_torch.detect(image, bundle, boxes=[]).save(alone)
    assert path.read_bytes() == alone.read_bytes()
    assert empty.plot().get_title().endswith("no face")


def test_one_image_of_more_than_a_figure_holds(bundle, image, box, monkeypatch):
    monkeypatch.setattr("clnf_torch.faces.plot.MOST_IMAGES", 1)
    found = clnf_torch.detect([image, image], bundle, boxes=[[], box])
    with pytest.raises(ValueError, match="a figure shows at most 1 images, found 2"):
        found.plot()
    assert found.in_image(1).plot().lines and found[0].plot().lines


def test_a_track_is_drawn_over_time(bundle, image, box, tmp_path, figures):
    frames = [frame[..., ::-1] for frame in moving(image, 3)]
    found = clnf_torch.track(frames, bundle, box=box)
    upper, lower = found.plot()
    np.testing.assert_allclose(upper.lines[0].get_xdata(), [0, 1 / 30, 2 / 30])
    assert [line.get_label() for line in lower.lines] == ["pitch 0", "yaw 0", "roll 0"]
    found.save(tmp_path / "track.png")
    height, width, _ = figures.imread(tmp_path / "track.png").shape
    assert width == 2 * height and len(figures.get_fignums()) == 1
    with pytest.raises(ValueError, match="the pixels of frames, frame 1 are not kept"):
        found[0].save(tmp_path / "frame.png")
