"""Boxes as corners, and the hint where most of a call's boxes leave the image."""

from __future__ import annotations

import warnings

import pytest
import torch

from clnf_torch.geometry.host import unread
from clnf_torch.pipeline import LandmarkDetector
from tests.factories import CONFIG, make_boxes, make_images, make_model


@pytest.fixture
def detector():
    return LandmarkDetector(make_model())


def test_corners_are_boxes(detector):
    boxes = make_boxes(3)
    corners = torch.cat((boxes[:, :2], boxes[:, :2] + boxes[:, 2:]), 1)
    expected = detector.fit(make_images(), boxes, preset=CONFIG)
    found = detector.fit(make_images(), corners, box_format="xyxy", preset=CONFIG)
    torch.testing.assert_close(found.landmarks, expected.landmarks)
    with pytest.raises(ValueError, match="box_format is 'yxyx'; expected 'xywh'"):
        detector.fit(make_images(), corners, box_format="yxyx")


# Images are 80 x 72 pixels
@pytest.mark.parametrize(
    ("boxes", "count"),
    [
        ([[30.0, 20.0, 70.0, 65.0]], 1),
        ([[30.0, 20.0, 70.0, 65.0], [50.0, 40.0, 78.0, 70.0], [5.0, 5.0, 30.0, 30.0]], 2),
    ],
)
def test_corners_that_are_taken_for_sizes_are_warned_of_once(detector, boxes, count):
    with pytest.warns(UserWarning, match=rf"{count} of {len(boxes)} boxes leave .* 80 x 72 .*box_format=\"xyxy\""):
        detector.fit(make_images(), torch.tensor(boxes), preset=CONFIG)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        detector.fit(make_images(), torch.tensor(boxes), preset=CONFIG)


def test_faces_at_the_edge_are_not_warned_of(detector):
    boxes = torch.tensor([[60.0, 50.0, 24.0, 26.0], [-5.0, -5.0, 40.0, 40.0], [20.0, 20.0, 90.0, 90.0]])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        detector.fit(make_images(), boxes, preset=CONFIG)


def test_nothing_is_read_where_reading_waits(detector):
    with warnings.catch_warnings(), unread():
        warnings.simplefilter("error")
        detector.fit(make_images(), torch.tensor([[30.0, 20.0, 70.0, 65.0]]), preset=CONFIG)


def test_flags_are_no_boxes(detector):
    with pytest.raises(ValueError, match="boxes are True and False; expected real numbers, pixels"):
        detector.fit(make_images(), [[True, True, True, True]], preset=CONFIG)
    with pytest.raises(ValueError, match="regularisation is True; expected a finite number"):
        detector.fit(make_images(), make_boxes(1), preset=CONFIG, regularisation=True)


@pytest.mark.parametrize(("given", "kind"), [(None, "NoneType"), (torch.zeros(1, 4), "Tensor")])
def test_what_is_no_parameters_is_named(detector, given, kind):
    with pytest.raises(ValueError, match=f"params are of type {kind}; expected ShapeParams, such as a fit's params"):
        detector.fit_from_params(make_images(), given)
