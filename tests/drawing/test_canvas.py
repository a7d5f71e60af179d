"""Lines, dashes, arrows and labels on a canvas."""

import numpy as np
import pytest
import torch

from clnf_torch.drawing.canvas import Canvas, dashed, finite_parts

RED = (255, 0, 0)


def black(height=40, width=60):
    return Canvas(np.zeros((height, width, 3), np.uint8))


def path(*points):
    return np.array(points, dtype=float)


def test_tensors_and_arrays_are_copied_alike():
    image = torch.randint(0, 255, (3, 7, 9), dtype=torch.uint8)
    array = image.permute(1, 2, 0).numpy()
    for source in (image, array, np.ascontiguousarray(array)):
        canvas = Canvas.on(source)
        np.testing.assert_array_equal(canvas.pixels, array)
        canvas.pixels[:] = 0
    assert array.any()


@pytest.mark.parametrize("image", [torch.zeros(1, 4, 4, dtype=torch.uint8), torch.zeros(3, 4, 4), np.zeros((4, 4))])
def test_other_images_are_refused(image):
    with pytest.raises(ValueError, match="expected uint8 of shape"):
        Canvas.on(image)


def test_a_line_is_as_wide_as_asked_for_and_cased():
    canvas = black()
    canvas.pixels[:] = 255
    canvas.lines([path((-5, 20), (70, 20))], RED, 4, casing=3)
    column = canvas.pixels[:, 30]
    assert (column == RED).all(-1).sum() in (3, 4, 5)
    assert (column.max(-1) < 60).sum() in (4, 5, 6, 7)
    assert (column[[10, 30]] == 255).all()


def test_a_thin_line_is_transparent():
    thin, thick = black(), black()
    thin.lines([path((5, 20), (50, 20))], RED, 0.4)
    thick.lines([path((5, 20), (50, 20))], RED, 1)
    assert (
        thin.pixels[20, 30, 0] == pytest.approx(0.4 * thick.pixels[20, 30, 0], abs=1) and thick.pixels[20, 30, 0] > 200
    )


@pytest.mark.parametrize("width", [0.4, 1, 5])
def test_strays_leave_gaps(width):
    canvas = black()
    canvas.lines([path((5, 20), (20, 20), (np.nan, 0), (40, 20), (55, 20)), path((1e30, 4), (5, 5))], RED, width)
    drawn = canvas.pixels[20].any(-1)
    assert drawn[12] and drawn[48] and not drawn[25:35].any()
    assert not canvas.pixels[5].any()


def test_finite_parts_have_two_points_or_more():
    nan = (np.nan, np.nan)
    parts = finite_parts(path((0, 0), (1, 1), nan, (2, 2), nan, (3, 3), (4, 4), (5, 5)))
    assert [len(part) for part in parts] == [2, 3]
    assert finite_parts(path(nan, nan)) == [] and finite_parts(path((1, 1))) == []


def test_dashes_cover_half_of_a_path_evenly():
    pieces = dashed(path((0, 0), (30, 0), (30, 30)), dash=5)
    assert len(pieces) == 6
    assert pieces[0][0, 0] > 0 and pieces[-1][-1, 1] < 30
    np.testing.assert_allclose([np.ptp(piece[:, 0]) for piece in pieces[:3]], 5)
    assert all(np.isfinite(piece).all() for piece in dashed(path((3, 3), (3, 3)), dash=5))


def test_an_arrow_is_wider_at_its_tip():
    canvas = black()
    canvas.arrow(np.array([5.0, 20]), np.array([50.0, 20]), RED, 2)
    assert np.ptp(np.flatnonzero(canvas.pixels[:, 44].any(-1))) > np.ptp(np.flatnonzero(canvas.pixels[:, 20].any(-1)))


@pytest.mark.parametrize("corner", [(5, 30), (-100, -100), (1000, 1000)])
def test_a_label_stays_inside(corner):
    canvas = black(60, 120)
    canvas.label("no face é", corner, 8, RED)
    ys, xs = (canvas.pixels == RED).all(-1).nonzero()
    assert len(ys) > 200 and ys.max() - ys.min() == 15
    assert (canvas.pixels == 255).all(-1).any() or (canvas.pixels == 0)[ys.min() : ys.max(), xs.min() : xs.max()].any()


def test_a_frame_lies_along_the_edges():
    canvas = black()
    canvas.frame(RED, 4)
    assert (canvas.pixels[[0, -1]] == RED).all() and not canvas.pixels[10:30, 10:50].any()
