"""The rigid motion that puts known points where a camera sees them: batched Levenberg-Marquardt, differentiable."""

from dataclasses import dataclass

import torch
from torch import Tensor

from clnf_torch.fitting.gauss_newton import normal_equations, solve
from clnf_torch.geometry.camera import Intrinsics, project, projection_jacobian
from clnf_torch.geometry.records import Rows
from clnf_torch.geometry.rotation import turn

# At most, as cv::solvePnP; faces need six to twelve
ITERATIONS = 20
# Radians, and share of the distance: smaller steps do not matter
STILL = 1e-9
# To begin with: ten times less after a step that helps, ten times more after one that does not
DAMPING = 1e-3


@dataclass(frozen=True)
class RigidMotion(Rows):
    """Rotation and translation from an object's space to the camera's, B rows."""

    rotation: Tensor  # (B, 3, 3)
    translation: Tensor  # (B, 3) millimetres

    def step(self, delta: Tensor) -> "RigidMotion":
        """After small turns on the right of the rotation and a shift, shape (B, 6)."""
        return RigidMotion(turn(self.rotation, delta[:, :3]), self.translation + delta[:, 3:])


@dataclass(frozen=True)
class Correspondences:
    """What a camera sees of B objects."""

    points: Tensor  # (B, N, 3) of the objects, millimetres
    pixels: Tensor  # (B, N, 2) where they are seen
    camera: Intrinsics

    def detached(self) -> "Correspondences":
        """The same without gradients."""
        camera = Intrinsics(self.camera.focal.detach(), self.camera.center.detach())
        return Correspondences(self.points.detach(), self.pixels.detach(), camera)

    def misses(self, motion: RigidMotion) -> tuple[Tensor, Tensor]:
        """Points in camera space (B, N, 3), and the way from what the camera would see to what it sees (B, N, 2)."""
        points = self.points @ motion.rotation.mT + motion.translation[:, None]
        return points, self.pixels - project(points, self.camera)

    def equations(self, motion: RigidMotion) -> tuple[Tensor, Tensor, Tensor]:
        """J' J (B, 6, 6) and J' e (B, 6) of the misses e, and half their squared length (B,)."""
        points, misses = self.misses(motion)
        by_shift = projection_jacobian(points, self.camera)  # (B, 2, N, 3)
        by_turn = torch.linalg.cross(self.points[:, None], by_shift @ motion.rotation[:, None])
        jacobian = torch.cat((by_turn, by_shift), dim=-1)
        hessian, descent = normal_equations(jacobian, torch.ones_like(misses[..., 0]), misses)
        return hessian, descent, misses.square().sum((-2, -1)) / 2


def solve_pnp(sight: Correspondences, start: RigidMotion) -> RigidMotion:
    """The rigid motions of least squared misses, nearby given ones.

    Args:
        sight: What is seen, in the precision to compute in (float64).
        start: Where to begin.

    Returns:
        One motion per row. Derivatives are those of the minimum (implicit function theorem), however it was reached.

    Source:
        ``cv::solvePnP`` with ``SOLVEPNP_ITERATIVE`` and a starting guess: the same minimum.
    """
    with torch.no_grad():
        settled = _descend(sight.detached(), start)
    inputs = (sight.points, sight.pixels, sight.camera.focal, sight.camera.center)
    return _follow(sight, settled) if any(value.requires_grad for value in inputs) else settled


def _descend(sight: Correspondences, motion: RigidMotion) -> RigidMotion:
    """Levenberg-Marquardt: each row keeps the steps that help it, until they are too small to matter."""
    hessian, descent, cost = sight.equations(motion)
    damping = torch.full_like(cost, DAMPING)
    searching = torch.ones_like(cost, dtype=torch.bool)
    for _ in range(ITERATIONS):
        ridge = torch.diag_embed(damping[:, None] * hessian.diagonal(dim1=-2, dim2=-1))
        delta = solve(hessian + ridge, descent)
        stepped = motion.step(delta)
        new_hessian, new_descent, new_cost = sight.equations(stepped)
        better = searching & (new_cost < cost)
        motion, cost = stepped.where(better, motion), torch.where(better, new_cost, cost)
        hessian = torch.where(better[:, None, None], new_hessian, hessian)
        descent = torch.where(better[:, None], new_descent, descent)
        damping = torch.where(better, damping / 10, damping * 10)
        searching = searching & _matters(delta, motion)
        # The one look at the host of an iteration, which it costs less than the next one
        if not searching.any():
            break
    return motion


def _matters(delta: Tensor, motion: RigidMotion) -> Tensor:
    """Rows whose step turns or moves them by more than `STILL`, shape (B,) bool."""
    distance = torch.linalg.vector_norm(motion.translation, dim=-1)
    turned, moved = torch.linalg.vector_norm(delta.unflatten(-1, (2, 3)), dim=-1).unbind(-1)
    return torch.maximum(turned, moved / distance) > STILL


def _follow(sight: Correspondences, settled: RigidMotion) -> RigidMotion:
    """One Newton step from the minimum: hardly a step, but its derivatives are those of the minimum."""
    fixed, still = sight.detached(), sight.points.new_zeros(len(sight.points), 6)
    # Rows do not see each other: the derivative of their sum holds the one of each.
    slope = torch.func.jacrev(lambda step: fixed.equations(settled.step(step))[1].sum(0))(still)
    # (B, 6, 6): the whole second derivative, not its Gauss-Newton part
    curvature = -slope.movedim(0, 1)
    return settled.step(solve((curvature + curvature.mT) / 2, sight.equations(settled)[1]))
