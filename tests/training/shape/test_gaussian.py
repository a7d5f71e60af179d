"""Gaussians over shapes: PDMs and back, mirror images, and what pose is."""

from __future__ import annotations

import torch

from clnf_torch.geometry.rotation import euler_to_matrix
from clnf_torch.training.shape.gaussian import ShapeGaussian, projection_off_pose
from tests.training.heads import MIRROR, make_gaussian, round_head
from tests.transfers import OneDevice


def test_a_pdm_and_its_gaussian_say_the_same():
    shapes = make_gaussian()
    again = ShapeGaussian.of_pdm(shapes.pdm())
    torch.testing.assert_close(again.covariance, shapes.covariance, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(again.mean, shapes.mean)


def test_modes_are_as_many_as_their_variance_asks_for():
    shapes = make_gaussian(modes=6)
    whole = shapes.pdm()
    half = shapes.pdm(explained=0.5)
    kept = float(half.variances.sum() / whole.variances.sum())
    assert half.num_modes < whole.num_modes and kept >= 0.5
    assert kept - float(half.variances[-1] / whole.variances.sum()) < 0.5
    assert shapes.pdm(most=2).num_modes == 2


def test_symmetrised_shapes_are_their_own_mirror_image():
    shapes = make_gaussian()
    other = shapes.mirrored(MIRROR)
    torch.testing.assert_close(other.mean, shapes.mean)
    torch.testing.assert_close(other.covariance, shapes.covariance)
    modes = shapes.pdm().modes
    mirrored = modes[:, MIRROR] * torch.tensor([-1.0, 1, 1])
    either = torch.minimum((mirrored - modes).flatten(1).norm(dim=1), (mirrored + modes).flatten(1).norm(dim=1))
    assert either.max() < 1e-4  # every mode is symmetric or antisymmetric


def test_small_poses_are_projected_away():
    mean = round_head()
    turned = mean @ euler_to_matrix(torch.tensor([1e-4, -2e-4, 3e-4], dtype=torch.float64)).mT
    moved = 1.0002 * turned + torch.tensor([0.01, -0.02, 0.03], dtype=torch.float64) - mean
    left = projection_off_pose(mean) @ moved.flatten()
    assert left.norm() < 1e-5 < moved.norm()


def test_blendshapes_come_in_millimetres_and_camera_axes():
    mean = round_head() / 10 * torch.tensor([1.0, -1, -1])
    shapes = ShapeGaussian.of_blendshapes(mean, torch.zeros(1, 68, 3), torch.zeros(1, 68, 3))
    torch.testing.assert_close(shapes.mean, round_head() - round_head().mean(0))
    moves = 0.1 * torch.ones(1, 68, 3)
    shifted = ShapeGaussian.of_blendshapes(mean, moves, torch.zeros(1, 68, 3))
    assert shifted.covariance.abs().max() < 1e-9  # a shift of the whole face is pose, not shape


def test_shapes_stay_on_their_device():
    """The meta device stands for a card."""
    shapes = make_gaussian()
    there = ShapeGaussian(shapes.mean.to("meta"), shapes.covariance.to("meta"))
    with OneDevice():
        other = there.symmetrised(MIRROR.to("meta"))
    assert other.mean.device.type == other.covariance.device.type == "meta"
