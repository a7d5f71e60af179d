"""`clnf_torch.geometry.landmarks68`: the parts cover the face once, and mirror images keep them."""

from __future__ import annotations

import pytest

from clnf_torch.geometry import landmarks68
from clnf_torch.geometry.landmarks68 import MIRROR, NUM_LANDMARKS

POINTS = range(NUM_LANDMARKS)


def test_the_parts_follow_one_another():
    parts = (landmarks68.JAW, landmarks68.BROWS, landmarks68.NOSE, landmarks68.EYES, landmarks68.MOUTH)
    assert [point for part in parts for point in POINTS[part]] == list(POINTS)
    assert [*POINTS[landmarks68.JAW], *POINTS[landmarks68.INNER_POINTS]] == [*POINTS[landmarks68.ALL_POINTS]]
    assert [*POINTS[landmarks68.LEFT_EYE], *POINTS[landmarks68.RIGHT_EYE]] == [*POINTS[landmarks68.EYES]]


def test_the_mirror_pairs_68_points():
    assert sorted(MIRROR) == list(POINTS)
    assert all(MIRROR[MIRROR[point]] == point for point in POINTS)
    assert [point for point in POINTS if MIRROR[point] == point] == [8, 27, 28, 29, 30, 33, 51, 57, 62, 66]


@pytest.mark.parametrize("part", ["JAW", "BROWS", "NOSE", "EYES", "MOUTH", "INNER_POINTS"])
def test_a_part_is_its_own_mirror_image(part):
    points = POINTS[getattr(landmarks68, part)]
    assert {MIRROR[point] for point in points} == set(points)


@pytest.mark.parametrize("name", ["EYELIDS", "LIPS"])
def test_pairs_across_are_mirrored_as_they_are(name):
    pairs = getattr(landmarks68, name)
    assert {tuple(MIRROR[point] for point in pair) for pair in pairs} == set(pairs)


@pytest.mark.parametrize("name", ["EYE_CORNERS", "ALONG_EYES", "ALONG_MOUTH", "ALONG_JAW"])
def test_pairs_along_are_mirrored_the_other_way_round(name):
    pairs = getattr(landmarks68, name)
    assert {tuple(MIRROR[point] for point in pair[::-1]) for pair in pairs} == set(pairs)


def test_the_outer_corners_are_mirror_images():
    left, right = landmarks68.OUTER_EYE_CORNERS
    assert MIRROR[left] == right and (left, right) == (landmarks68.EYE_CORNERS[0][0], landmarks68.EYE_CORNERS[1][1])
