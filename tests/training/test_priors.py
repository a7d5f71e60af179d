"""Shapes from files: blendshapes, bundles, and what is neither."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from clnf_torch.training.shape import PriorError, read_prior
from tests.training.heads import round_head


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
