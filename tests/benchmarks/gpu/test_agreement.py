"""Distances, choices and gradients of two results."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from benchmarks.gpu.agreement import DOUBLE, SINGLE, compare_fits, compare_gradients, compare_points, distances
from clnf_torch import LandmarkDetector
from tests.factories import CONFIG, make_boxes, make_images, make_model


@pytest.fixture(scope="module")
def result():
    return LandmarkDetector(make_model()).fit(make_images(), make_boxes(4), preset=CONFIG)


def test_distances_are_between_points():
    expected = torch.zeros(1, 200, 2)
    found = expected.clone()
    found[0, 0], found[0, 1:4] = torch.tensor([3.0, 4.0]), torch.tensor([0.0, 1.0])
    apart = distances(found, expected)
    assert (apart.median_px, apart.p99_px, apart.max_px, apart.one_sided) == (0.0, 1.0, 5.0, 0)


def test_nans_agree_with_nans_alone():
    expected = torch.zeros(3, 2)
    expected[0] = torch.nan
    assert distances(expected, expected).one_sided == 0
    values = compare_points(torch.zeros(3, 2), expected, SINGLE)
    assert values["one_sided"] == 1 and values["within"] is False
    assert distances(expected[:1], expected[:1]).max_px == 0
    with pytest.raises(ValueError, match=r"\(2, 2\)"):
        distances(torch.zeros(2, 2), expected)


def test_a_result_agrees_with_itself(result):
    values = compare_fits(result, result, DOUBLE)
    assert values["within"] is True and values["max_px"] == 0 and values["same_view"] == values["faces"] == 4


@pytest.mark.parametrize("name", ["view", "hypothesis", "success"])
def test_another_choice_is_noticed(result, name):
    value = getattr(result, name).clone()
    value[1] = ~value[1] if value.dtype == torch.bool else value[1] + 1
    values = compare_fits(replace(result, **{name: value}), result, SINGLE)
    assert values[f"same_{name}"] == 3 and values["within"] is False


def test_moved_landmarks_are_noticed(result):
    moved = replace(result, landmarks=result.landmarks + 1e-4)
    assert compare_fits(moved, result, SINGLE)["within"] and not compare_fits(moved, result, DOUBLE)["within"]


def test_the_worst_gradient_is_named():
    expected = {"a": torch.ones(4), "b": torch.ones(4), "c": None}
    found = {"a": torch.ones(4), "b": torch.tensor([1.0, 1.0, 1.0, 1.2]), "c": None}
    values = compare_gradients(found, expected, bound=0.01)
    assert values["worst"] == "b" and values["relative_error"] == pytest.approx(0.1) and not values["within"]
    assert compare_gradients(expected, expected, bound=0.0)["within"]
    for wrong in ({**expected, "a": torch.full((4,), torch.nan)}, {**expected, "c": torch.ones(1)}):
        assert not compare_gradients(wrong, expected, bound=1.0)["within"]
