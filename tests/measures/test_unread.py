"""Faces measured where nothing may be read: on a card, in a captured fit, and as one program."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from clnf_torch.fitting import initialise
from clnf_torch.geometry.host import unread
from clnf_torch.measures.face_measures import face_measures
from clnf_torch.measures.measure import Measures, measure
from tests.measures.heads import CAMERA
from tests.measures.test_head_in_space import YAW, fitted, turned_heads
from tests.measures.test_measure import make_parts
from tests.transfers import count_transfers

SHAPES = ["depth shape", "own shape"]


def measuring(shape: str) -> Callable[[], Measures]:
    """Measures faces, one of which has no landmarks."""
    heads = turned_heads(YAW)
    face = fitted(heads)
    landmarks = face.landmarks.clone()
    landmarks[3] = torch.nan
    face, parts = replace(face, landmarks=landmarks), make_parts(len(YAW))
    face = face if shape == "depth shape" else replace(face, depth=None)
    return lambda: measure(face, parts, CAMERA)


def assert_same(found: Measures, expected: Measures) -> None:
    """A search that nobody watches ends behind the step at which the other one does."""
    for value, other in (
        (found.pose.values, expected.pose.values),
        (found.points, expected.points),
        (found.eyes.gaze, expected.eyes.gaze),
    ):
        torch.testing.assert_close(value, other, rtol=1e-6, atol=1e-5, equal_nan=True)


@pytest.mark.parametrize("shape", SHAPES)
def test_nothing_is_read_or_sent(shape):
    run = measuring(shape)
    expected = run()
    with unread():
        assert_same(run(), expected)
        counted = count_transfers(run)
    assert not counted.to_host and not counted.to_device


def test_distances_and_angles_send_nothing():
    points = measuring("depth shape")().points
    rest = points[:1].clone()
    counted = count_transfers(lambda: face_measures(points, rest))
    assert not counted.to_host and not counted.to_device


@pytest.mark.skipif(torch.__version__ < (2, 5), reason="torch 2.4 cannot trace functions in contexts")
@pytest.mark.filterwarnings("ignore:.*lru_cache.*:UserWarning")
@pytest.mark.parametrize("shape", SHAPES)
def test_it_is_traced_without_a_break(shape, monkeypatch):
    # Every step is traced; a few are as good as many
    monkeypatch.setattr(initialise, "UNSEEN_STEPS", 2)
    torch.compiler.reset()
    run = measuring(shape)
    with unread():
        expected = run()
    assert_same(torch.compile(run, fullgraph=True, backend="eager")(), expected)
