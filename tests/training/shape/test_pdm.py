"""Training of shape models: structure from motion finds the modes, and priors are read from files."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from clnf_torch.training.shape.gaussian import ShapeGaussian
from clnf_torch.training.shape.pdm import PriorError, ShapeConfig, read_prior, train_shape
from tests.training.heads import MIRROR, make_gaussian, make_heads, round_head


def test_variation_is_learned_from_images():
    """The prior knows the true head, but little of how it varies, and much of something else."""
    truth, other = make_gaussian(modes=3, seed=2), make_gaussian(modes=3, seed=9)
    prior = ShapeGaussian(truth.mean, 0.05 * truth.covariance + 2 * other.covariance)
    pdm = truth.pdm()
    landmarks = pdm.landmarks(make_heads(pdm, 80))
    errors: list[float] = []
    config = ShapeConfig(rounds=5, noise=0.5, prior_faces=2.0)
    found = train_shape(landmarks, prior, MIRROR, config, lambda _, error: errors.append(error))
    learned = ShapeGaussian.of_pdm(found)
    assert len(errors) == 5 and errors[-1] < errors[0]
    assert distance(learned, truth) < 0.3 * distance(prior, truth)
    torch.testing.assert_close(learned.mirrored(MIRROR).covariance, learned.covariance, rtol=1e-4, atol=1e-4)


def distance(one: ShapeGaussian, other: ShapeGaussian) -> float:
    """Of two covariances."""
    return float((one.covariance - other.covariance).norm())


def test_slack_lets_points_move_by_themselves():
    shapes = make_gaussian(modes=2)
    loose = shapes.with_point_noise(0.5)
    torch.testing.assert_close(loose.covariance.trace() - shapes.covariance.trace(), torch.tensor(204 * 0.25).double())
    assert loose.pdm(most=300).num_modes > shapes.pdm(most=300).num_modes


def test_the_unit_of_length_is_the_priors():
    truth = make_gaussian()
    pdm = truth.pdm()
    landmarks = 7 * pdm.landmarks(make_heads(pdm, 40))  # larger images, not larger heads
    found = train_shape(landmarks, truth, MIRROR, ShapeConfig(rounds=2))
    torch.testing.assert_close(found.mean.norm(), truth.mean.norm(), rtol=1e-3, atol=0)


def write(path, mean, identity, expression) -> None:
    np.savez(path, mean=mean, identity=identity, expression=expression)


def test_blendshapes_are_read(tmp_path):
    mean = round_head().numpy() / 10 * np.array([1, -1, -1])
    write(tmp_path / "shapes.npz", mean, np.random.default_rng(1).normal(size=(3, 68, 3)), np.zeros((2, 68, 3)))
    shapes = read_prior(tmp_path / "shapes.npz")
    torch.testing.assert_close(shapes.mean, round_head() - round_head().mean(0))
    assert int((torch.linalg.eigvalsh(shapes.covariance) > 1e-6).sum()) == 3


def test_shapes_that_do_not_belong_together_are_refused(tmp_path):
    write(tmp_path / "shapes.npz", np.zeros((68, 3)), np.zeros((3, 67, 3)), np.zeros((2, 68, 3)))
    with pytest.raises(PriorError, match=r"identity \(3, 67, 3\).* do not belong together"):
        read_prior(tmp_path / "shapes.npz")


def test_another_file_is_refused(tmp_path):
    (tmp_path / "shapes.npz").write_bytes(b"no arrays")
    with pytest.raises(PriorError, match=r"shapes\.npz: expected arrays mean, identity and expression"):
        read_prior(tmp_path / "shapes.npz")


def test_the_shapes_of_ict_are_faces(shared):
    path = shared / "shape" / "ict_68.npz"
    if not path.is_file():
        pytest.skip("no ../shared/shape/ict_68.npz")
    mean = read_prior(path).mean
    assert 130 < mean[16, 0] - mean[0, 0] < 160  # millimetres from ear to ear
    assert mean[8, 1] > mean[27, 1] and mean[30, 2] < mean[0, 2]  # chin below the nose's root, nose before the ears


@pytest.mark.parametrize(
    ("arrays", "complaint"),
    [
        ({"mean": np.zeros((4000, 3)), "identity": np.zeros((1, 4000, 3))}, "at most 1024 points, found 4000"),
        ({"mean": np.full((68, 3), np.nan)}, "expected finite floating point numbers"),
        ({"mean": np.zeros((68, 3), np.int64)}, "expected finite floating point numbers"),
        ({"other": np.zeros(9_000_000)}, "more than 67,108,864 bytes, unpacked"),
    ],
)
def test_shapes_that_are_none_or_too_large(tmp_path, arrays, complaint):
    points = len(arrays.get("mean", np.zeros(68)))
    sound = {
        "mean": np.zeros((points, 3)),
        "identity": np.zeros((1, points, 3)),
        "expression": np.zeros((1, points, 3)),
    }
    np.savez_compressed(tmp_path / "shapes.npz", **{**sound, **arrays})
    with pytest.raises(PriorError, match=complaint) as caught:
        read_prior(tmp_path / "shapes.npz")
    assert len(str(caught.value)) <= 300
