"""Faces drawn on images."""

import dataclasses

import numpy as np
import pytest
import torch

from clnf_torch.drawing import DrawingStyle, DrawnFaces, confidence_colour, draw_faces, frame_caption
from clnf_torch.drawing.draw import ring, split_by_side
from clnf_torch.drawing.style import ALARM, FAILED, GOOD_ERROR, POOR_ERROR, error_colour, text_colour

BARE = DrawingStyle(axes=False, boxes=False, labels=False, marks=False)


def face(found=True, confidence=0.9, side=200.0, yaw=0.0, eyes=None, errors=None):
    """A face whose landmarks lie on a circle, in the middle of an image of 300 x 400 pixels."""
    angle = torch.linspace(0, 2 * torch.pi, 69)[:68]
    landmarks = torch.stack([200 + side / 2 * angle.cos(), 150 + side / 2 * angle.sin()], -1)[None]
    return DrawnFaces.of_numbers(
        landmarks=landmarks,
        confidence=torch.tensor([confidence]),
        found=torch.tensor([found]),
        pose=torch.tensor([[1.0, 0, yaw, 0, 200, 150]]),
        eyes=eyes,
        errors=errors,
    )


def blank():
    return torch.full((3, 300, 400), 128, dtype=torch.uint8)


def changed(drawn):
    """Where something was drawn, (H, W)."""
    return (drawn != 128).any(-1)


def has(drawn, colour):
    return bool((np.abs(drawn.astype(int) - colour).max(-1) < 4).any())


def test_contours_have_the_colour_of_the_confidence():
    for confidence in (0.0, 0.5, 1.0):
        drawn = draw_faces(blank(), face(confidence=confidence), BARE)
        assert has(drawn, confidence_colour(confidence))
        # The circle alone, with what the mouth and the eyes cut off
        assert changed(drawn)[150, 295:305].any() and not changed(drawn)[:40].any()


def test_contours_may_have_the_colour_of_the_expected_error():
    # The distance of the points that stand for the outer eye corners
    distance = (face().landmarks[0, 36] - face().landmarks[0, 45]).norm().float()
    errors = torch.full((1, 68), POOR_ERROR) * distance
    errors[:, :17] = GOOD_ERROR * distance
    given, style = face(errors=errors), DrawingStyle(axes=False, boxes=False, labels=False, marks=False, quality=True)
    drawn = draw_faces(blank(), given, style)
    assert has(drawn, confidence_colour(1.0)) and has(drawn, confidence_colour(0.0))
    assert not has(drawn, confidence_colour(0.9)) and has(draw_faces(blank(), given, BARE), confidence_colour(0.9))
    # Nothing is known: the confidence
    assert has(draw_faces(blank(), face(), style), confidence_colour(0.9))


def test_colours_of_errors_run_from_good_to_poor():
    assert error_colour(GOOD_ERROR) == error_colour(0.0) == confidence_colour(1.0)
    assert error_colour(POOR_ERROR) == error_colour(float("inf")) == confidence_colour(0.0)
    assert error_colour(float("nan")) == FAILED


def test_the_image_is_left_as_it_is():
    image = blank()
    draw_faces(image, face(), caption="frame 1")
    assert (image == 128).all()


def test_lines_grow_with_the_face():
    small, large = (changed(draw_faces(blank(), face(side=side), BARE)).sum() for side in (100, 280))
    assert large > 4 * small


@pytest.mark.parametrize(("extent", "size"), [(30, 7), (100, 15), (600, 20)])
def test_labels_of_small_faces_are_small_and_cover_no_other_face(extent, size):
    """Of images with many faces these are small, and one label of the usual size covers several."""
    given = face(found=False, side=extent)
    image = torch.full((3, 1250, 2000), 128, dtype=torch.uint8)
    given = dataclasses.replace(given, landmarks=given.landmarks + 500)
    with_label, without = (draw_faces(image, given, DrawingStyle(labels=labels)) for labels in (True, False))
    rows = (with_label != without).any(-1).any(1).nonzero()[0]
    # Half the letters' height is free above and below them
    assert np.ptp(rows) + 1 == pytest.approx(2 * size, abs=1)
    assert rows.max() < 650 - extent / 2


def test_the_far_side_has_gaps():
    assert changed(draw_faces(blank(), face(yaw=1.2), BARE)).sum() < changed(draw_faces(blank(), face(), BARE)).sum()


def test_each_part_can_be_left_out():
    eyes = torch.rand(1, 56, 2) * 20 + 190
    everything = draw_faces(blank(), face(eyes=eyes), caption="frame 1")
    for part in ("contours", "eyes", "axes", "gaze", "boxes", "labels", "marks"):
        drawn = draw_faces(blank(), face(eyes=eyes), DrawingStyle(**{part: False}), caption="frame 1")
        assert (drawn != everything).any(), part


def test_a_face_that_was_not_found_is_gray_and_the_image_says_so():
    drawn = draw_faces(blank(), face(found=False))
    assert has(drawn, FAILED) and has(drawn[:3], ALARM)
    assert not has(drawn, confidence_colour(0.9))
    assert not has(draw_faces(blank(), face())[:3], ALARM)


def test_no_faces_at_all():
    none = DrawnFaces.of_numbers(
        landmarks=torch.zeros(0, 68, 2), confidence=torch.zeros(0), found=torch.zeros(0).bool()
    )
    assert has(draw_faces(blank(), none), ALARM)


@pytest.mark.parametrize("value", [torch.nan, torch.inf, 1e20, -1e9])
def test_landmarks_that_are_nowhere_are_left_out(value):
    faces = face()
    faces.landmarks[0, 5:9] = value
    drawn = changed(draw_faces(blank(), faces, BARE))
    assert 0 < drawn.sum() < 0.1 * drawn.size
    faces.landmarks[:] = value
    assert draw_faces(blank(), faces).shape == (300, 400, 3)


def test_landmarks_of_another_scheme_are_dots():
    points = torch.tensor([[[50.0, 60], [300, 200], [torch.nan, 5]]])
    faces = DrawnFaces.of_numbers(
        landmarks=points,
        confidence=torch.ones(1),
        found=torch.ones(1).bool(),
        visible=torch.tensor([[True, False, True]]),
    )
    drawn = draw_faces(blank(), faces, BARE)
    np.testing.assert_array_equal(drawn[60, 50], confidence_colour(1.0))
    np.testing.assert_array_equal(drawn[200, 300], FAILED)


@pytest.mark.parametrize("size", [(1, 1), (2, 300), (40, 30)])
def test_tiny_images(size):
    image = torch.zeros(3, *size, dtype=torch.uint8)
    assert draw_faces(image, face(), caption=frame_caption(3, 1.5)).shape == (*size, 3)


def test_a_contour_is_split_where_it_goes_out_of_sight():
    near = np.array([True, True, False, False, True, True])
    pieces = split_by_side(np.arange(6), near)
    assert [(piece.tolist(), seen) for piece, seen in pieces] == [([0, 1], True), ([1, 2, 3, 4], False), ([4, 5], True)]


def test_a_ring_goes_through_an_ellipse():
    angle = np.arange(8) * np.pi / 4
    points = np.array([30.0, 20]) + np.stack([6 * np.cos(angle), 3 * np.sin(angle)], 1)
    found = ring(points)
    np.testing.assert_allclose((((found - (30, 20)) / (6, 3)) ** 2).sum(1), 1)
    np.testing.assert_allclose(found[0], found[-1])


def test_colours_rise_in_lightness():
    luma = [np.dot((0.299, 0.587, 0.114), confidence_colour(value)) for value in np.linspace(0, 1, 50)]
    assert (np.diff(luma) > 0).all()
    assert confidence_colour(-1) == confidence_colour(0) and confidence_colour(2) == confidence_colour(1)
    assert confidence_colour(float("nan")) == FAILED
    assert text_colour(confidence_colour(1)) == (0, 0, 0) and text_colour(confidence_colour(0)) == (255, 255, 255)


def test_a_style_has_sizes_that_can_be_drawn():
    with pytest.raises(ValueError, match="line_width is 0"):
        DrawingStyle(line_width=0)


def test_captions():
    assert frame_caption(12, 61.5) == "frame 12   1:01.500"
