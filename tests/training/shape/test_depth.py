"""`clnf_torch.training.shape.depth`: depths of heads in space, positions of annotated faces."""

from __future__ import annotations

import importlib.util

import pytest
import torch

from clnf_torch.geometry.landmarks68 import INNER_POINTS, MIRROR
from clnf_torch.geometry.rotation import euler_to_matrix
from clnf_torch.training.shape.depth import ANCHORS, DepthShapeConfig, learn_depth_shape
from clnf_torch.training.synthetic.face_mesh import landmark_points
from clnf_torch.training.synthetic.landmark_shapes import LandmarkBlendshapes, opening, random_shapes
from tests.factories import seeded

MIRRORED, SIGNS = torch.tensor(MIRROR), torch.tensor([-1.0, 1.0, 1.0])


def symmetric(points: torch.Tensor) -> torch.Tensor:
    """The mean of points (68, 3) and their mirror image."""
    return (points + points[MIRRORED] * SIGNS) / 2


def make_head() -> torch.Tensor:
    """The points (68, 3) of a symmetric head, a bowl towards the viewer with a nose."""
    x = torch.linspace(-70, 70, 68)[torch.argsort(torch.tensor([*range(68)]))]
    head = torch.stack((x, 60 * torch.randn(68, generator=seeded(1)), torch.zeros(68)), 1)
    head[36], head[45] = torch.tensor([-41.0, 0, 0]), torch.tensor([41.0, 0, 0])
    head = symmetric(head)
    head[27:36, 2] -= 25
    return head + torch.stack((0 * x, 0 * x, head[:, :2].square().sum(1) / 200), 1)


def make_heads(head: torch.Tensor, count: int = 200) -> torch.Tensor:
    """Heads (P, 68, 3) that differ by a few millimetres."""
    moves = torch.randn(6, 68, 3, generator=seeded(2))
    return head + torch.einsum("pm,mnc->pnc", torch.randn(count, 6, generator=seeded(3)), moves)


def make_images(head: torch.Tensor, count: int = 300) -> torch.Tensor:
    """Landmarks (F, 68, 2) of turned heads of any size, anywhere."""
    rng = seeded(4)
    angles = torch.randn(count, 3, generator=rng) * torch.tensor([0.1, 0.3, 0.1])
    heads = make_heads(head, count) @ euler_to_matrix(angles).mT
    size = torch.rand(count, 1, 1, generator=rng) + 0.5
    return size * heads[..., :2] + 100 * torch.rand(count, 1, 2, generator=rng)


def test_depths_are_the_heads_and_positions_those_of_the_images():
    head = make_head()
    annotated = head.clone()
    annotated[51, 1] += 8.0
    annotated[[33, 8], 1] -= 6.0
    shape = learn_depth_shape(make_heads(head), make_images(annotated), MIRRORED)
    mean = shape.pdm.mean + annotated[36] - shape.pdm.mean[36]
    inner = slice(INNER_POINTS.start, None)
    torch.testing.assert_close(mean[inner, :2], annotated[inner, :2], atol=1.5, rtol=0)
    torch.testing.assert_close(mean[:, 2], head[:, 2], atol=1.5, rtol=0)
    assert shape.anchors.tolist() == list(ANCHORS)


def test_both_sides_are_alike():
    """Of the mean, and of what the modes do together."""
    heads = make_heads(make_head())
    heads[:, 48, 0] += 5
    pdm = learn_depth_shape(heads, make_images(make_head()), MIRRORED, DepthShapeConfig(explained=0.9999)).pdm
    torch.testing.assert_close(pdm.mean[MIRRORED] * SIGNS, pdm.mean, atol=1e-3, rtol=0)
    spread = torch.einsum("m,mnc->nc", pdm.variances, pdm.modes.square())
    torch.testing.assert_close(spread[MIRRORED], spread, atol=1e-2, rtol=1e-2)


@pytest.fixture(scope="module")
def blendshapes():
    if importlib.util.find_spec("anny") is None:
        pytest.skip("the package anny is not installed")
    return LandmarkBlendshapes.load()


def test_landmarks_are_linear_in_the_weights(blendshapes):
    model = blendshapes.model
    weights = 0.2 * torch.rand(len(model.names), generator=seeded(5))
    expected = landmark_points(model.base).on(model.surface(model.vertices(weights)))
    torch.testing.assert_close(blendshapes.points(weights)[:68], expected, atol=1e-2, rtol=0)
    closed = blendshapes.points(3 * blendshapes.strokes[0])
    torch.testing.assert_close(
        opening(blendshapes.neutral) - opening(closed), torch.tensor([3.0, 0.0]), atol=0.05, rtol=0
    )


def test_random_heads_are_as_deep_as_heads(blendshapes):
    heads = random_shapes(20, 3)
    assert heads.equal(random_shapes(20, 3)) and not heads.equal(random_shapes(20, 4))
    depth = heads[..., 2] - heads[:, [36, 39, 42, 45], 2].mean(1, keepdim=True)
    # Millimetres behind the eyes: corners of the mouth, tip of the nose, ears
    means = depth[:, [48, 54]].mean(), depth[:, 30].mean(), depth[:, [0, 16]].mean()
    assert -15 < means[0] < 0 and -40 < means[1] < -20 and 45 < means[2] < 75
