"""`clnf_torch.measures.pnp`: known motions are found, minima are minima, and derivatives are theirs."""

from __future__ import annotations

import pytest
import torch

from clnf_torch.compilation.conditions import load_kernels
from clnf_torch.geometry.camera import Intrinsics, project
from clnf_torch.geometry.rotation import euler_to_matrix, turn
from clnf_torch.measures import pnp
from clnf_torch.measures.pnp import LOOSE_TOLERANCE, STEP_TOLERANCE, Correspondences, RigidMotion, solve_pnp
from tests.measures.heads import CAMERA, FACE


def true_motion(rng, rows: int) -> RigidMotion:
    """Heads half a metre to a metre away."""
    shift = 60 * torch.randn(rows, 3, generator=rng, dtype=torch.float64)
    shift[:, 2] += 700
    return RigidMotion(euler_to_matrix(0.4 * torch.randn(rows, 3, generator=rng, dtype=torch.float64)), shift)


def correspondences_of(rng, motion: RigidMotion, noise: float = 0.0) -> Correspondences:
    """What the camera sees of them."""
    points = FACE.mean.detach().expand(len(motion.translation), -1, -1)
    seen = project(points @ motion.rotation.mT + motion.translation[:, None], CAMERA)
    return Correspondences(points, seen + noise * torch.randn(seen.shape, generator=rng, dtype=torch.float64), CAMERA)


def nearby(rng, motion: RigidMotion) -> RigidMotion:
    """Ten degrees and a few centimetres away."""
    delta = torch.randn(len(motion.translation), 6, generator=rng, dtype=torch.float64)
    return motion.step(delta * torch.tensor((0.17, 0.17, 0.17, 30.0, 30.0, 90.0)))


def test_equations_are_the_derivatives_of_the_cost(rng):
    motion = true_motion(rng, 1)
    correspondences = correspondences_of(rng, motion, noise=2.0)
    still = torch.zeros(1, 6, dtype=torch.float64)
    slope = torch.func.grad(lambda delta: correspondences.equations(motion.step(delta))[2].sum())(still)
    jacobian = torch.func.jacrev(lambda delta: correspondences.residuals(motion.step(delta))[1].flatten())(still)[:, 0]
    hessian, descent, cost = correspondences.equations(motion)
    torch.testing.assert_close(descent, -slope)
    torch.testing.assert_close(hessian[0], jacobian.mT @ jacobian)
    torch.testing.assert_close(cost, correspondences.residuals(motion)[1].square().sum()[None] / 2)


@pytest.mark.parametrize("rows", [0, 1, 5])
def test_finds_known_motions(rng, rows):
    motion = true_motion(rng, rows)
    found = solve_pnp(correspondences_of(rng, motion), nearby(rng, motion))
    torch.testing.assert_close(found.rotation, motion.rotation, rtol=0, atol=1e-8)
    torch.testing.assert_close(found.translation, motion.translation, rtol=0, atol=1e-5)


def test_ends_at_a_minimum(rng):
    motion = true_motion(rng, 4)
    correspondences = correspondences_of(rng, motion, noise=3.0)
    found = solve_pnp(correspondences, nearby(rng, motion))
    hessian, descent, cost = correspondences.equations(found)
    assert (descent.abs() < 1e-5 * hessian.diagonal(dim1=-2, dim2=-1).sqrt() * cost.sqrt()[:, None]).all()
    for _ in range(20):
        delta = 1e-3 * torch.randn(4, 6, generator=rng, dtype=torch.float64)
        assert (correspondences.equations(found.step(delta))[2] > cost).all()


def test_rows_do_not_see_each_other(rng):
    motion = true_motion(rng, 3)
    correspondences, start = correspondences_of(rng, motion, noise=3.0), nearby(rng, motion)
    together = solve_pnp(correspondences, start)
    for row in range(3):
        one = slice(row, row + 1)
        alone = solve_pnp(
            Correspondences(correspondences.points[one], correspondences.pixels[one], CAMERA),
            RigidMotion(start.rotation[one], start.translation[one]),
        )
        torch.testing.assert_close(together.translation[one], alone.translation, rtol=0, atol=1e-8)
        torch.testing.assert_close(together.rotation[one], alone.rotation, rtol=0, atol=1e-11)


@pytest.mark.parametrize("tolerance", [STEP_TOLERANCE, LOOSE_TOLERANCE])
def test_loops_end_where_the_torch_form_does(rng, monkeypatch, tolerance):
    pytest.importorskip("numba", reason="the compiled loops need numba")
    motion = true_motion(rng, 40)
    correspondences, start = correspondences_of(rng, motion, noise=3.0), nearby(rng, motion)
    # A row that is no number, one that sees a single point, and one that begins at the minimum
    correspondences.pixels[0] = torch.nan
    points = correspondences.points.clone()
    points[1] = points[1, :1]
    start.rotation[2], start.translation[2] = motion.rotation[2], motion.translation[2]
    correspondences = Correspondences(points, correspondences.pixels, CAMERA)
    begun = RigidMotion(start.rotation.clone(), start.translation.clone())
    found = solve_pnp(correspondences, start, tolerance)
    assert torch.equal(start.rotation, begun.rotation) and torch.equal(start.translation, begun.translation)
    assert load_kernels("clnf_torch.measures.kernels.cpu.pnp") is not None
    monkeypatch.setattr(pnp, "load_kernels", lambda name: None)
    expected = solve_pnp(correspondences, start, tolerance)
    # Near the minimum rounding decides whether a step still helps. Measured: 7e-7 mm and 7e-9
    torch.testing.assert_close(found.translation, expected.translation, rtol=0, atol=1e-5)
    torch.testing.assert_close(found.rotation, expected.rotation, rtol=0, atol=1e-7)


def test_a_hopeless_row_ends_and_spares_the_others(rng):
    motion = true_motion(rng, 2)
    correspondences = correspondences_of(rng, motion)
    correspondences.pixels[0] = torch.nan
    found = solve_pnp(correspondences, nearby(rng, motion))
    torch.testing.assert_close(found.translation[1], motion.translation[1], rtol=0, atol=1e-5)


def test_derivatives_are_those_of_the_minimum(rng):
    motion = true_motion(rng, 2)
    correspondences = correspondences_of(rng, motion, noise=3.0)
    start = nearby(rng, motion)
    inputs = [correspondences.points.clone(), correspondences.pixels, CAMERA.focal.clone(), CAMERA.center.clone()]

    def found(points, pixels, focal, center):
        motion = solve_pnp(Correspondences(points, pixels, Intrinsics(focal, center)), start)
        return motion.translation, motion.rotation

    settings = {"eps": 1e-4, "atol": 1e-5, "rtol": 1e-4}
    assert torch.autograd.gradcheck(found, [value.requires_grad_() for value in inputs], **settings, fast_mode=True)


def test_derivatives_do_not_depend_on_the_start(rng):
    motion = true_motion(rng, 1)
    correspondences = correspondences_of(rng, motion, noise=3.0)
    pixels = correspondences.pixels.requires_grad_()
    slopes = []
    for start in (nearby(rng, motion), motion):
        found = solve_pnp(Correspondences(correspondences.points, pixels, CAMERA), start)
        slopes.append(torch.autograd.grad(found.translation.sum(), pixels)[0])
    torch.testing.assert_close(*slopes, rtol=1e-5, atol=1e-6)


def test_step_turns_on_the_right_and_adds(rng):
    motion = true_motion(rng, 2)
    delta = torch.randn(2, 6, generator=rng, dtype=torch.float64)
    stepped = motion.step(delta)
    torch.testing.assert_close(stepped.rotation, turn(motion.rotation, delta[:, :3]))
    torch.testing.assert_close(stepped.translation, motion.translation + delta[:, 3:])
