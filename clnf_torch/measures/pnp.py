"""Perspective-n-point (PnP): rigid motions that minimise reprojection errors, by batched Levenberg-Marquardt."""

from dataclasses import dataclass

import torch
from torch import Tensor

from clnf_torch.compilation.conditions import load_kernels, plain_numbers
from clnf_torch.fitting.gauss_newton import normal_equations, solve
from clnf_torch.geometry.camera import Intrinsics, project, projection_jacobian
from clnf_torch.geometry.host import is_readable
from clnf_torch.geometry.precision import in_own_precision
from clnf_torch.geometry.records import Rows
from clnf_torch.geometry.rotation import turn

# At most, as cv::solvePnP; most faces need six to twelve
MAX_ITERATIONS = 20
# Radians, and share of the distance: the search ends at smaller steps
STEP_TOLERANCE = 1e-9
# The same where a pose need not be reproduced to the last bits: the minimum is then a thousandth of a degree away
LOOSE_TOLERANCE = 1e-4
# To begin with: ten times less after a step that helps, ten times more after one that does not
INITIAL_DAMPING = 1e-3


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
    """Points of B objects, and where a camera sees them.

    Attributes:
        points: In the object's space, millimetres, shape (B, N, 3).
        pixels: Where they are seen, shape (B, N, 2).
        camera: The camera, or one per object.
    """

    points: Tensor
    pixels: Tensor
    camera: Intrinsics

    def detached(self) -> "Correspondences":
        """The same without gradients."""
        camera = Intrinsics(self.camera.focal.detach(), self.camera.center.detach())
        return Correspondences(self.points.detach(), self.pixels.detach(), camera)

    def residuals(self, motion: RigidMotion) -> tuple[Tensor, Tensor]:
        """Points in camera space (B, N, 3), and the residuals: pixels seen minus pixels projected (B, N, 2)."""
        points = self.points @ motion.rotation.mT + motion.translation[:, None]
        return points, self.pixels - project(points, self.camera)

    def equations(self, motion: RigidMotion) -> tuple[Tensor, Tensor, Tensor]:
        """J' J (B, 6, 6) and J' e (B, 6) of the residuals e, and half their squared length (B,)."""
        points, residuals = self.residuals(motion)
        by_shift = projection_jacobian(points, self.camera)  # (B, 2, N, 3)
        by_turn = torch.linalg.cross(self.points[:, None], by_shift @ motion.rotation[:, None])
        jacobian = torch.cat((by_turn, by_shift), dim=-1)
        hessian, descent = normal_equations(jacobian, torch.ones_like(residuals[..., 0]), residuals)
        return hessian, descent, residuals.square().sum((-2, -1)) / 2


@in_own_precision
def solve_pnp(correspondences: Correspondences, start: RigidMotion, tolerance: float = STEP_TOLERANCE) -> RigidMotion:
    """The rigid motions of least squared residuals, nearby given ones.

    Args:
        correspondences: Points and pixels, in the precision to compute in (float64).
        start: Where to begin.
        tolerance: The search of a row ends at smaller steps, radians and share of the distance.

    Returns:
        One motion per row. Derivatives are those of the minimum (implicit function theorem), however it was reached.

    Source:
        ``cv::solvePnP`` with ``SOLVEPNP_ITERATIVE`` and a starting guess: the same minimum.
    """
    with torch.no_grad():
        fixed = correspondences.detached()
        minimum = _in_loops(fixed, start, tolerance) or _levenberg_marquardt(fixed, start, tolerance)
    camera = correspondences.camera
    inputs = (correspondences.points, correspondences.pixels, camera.focal, camera.center)
    return _newton_step(correspondences, minimum) if any(value.requires_grad for value in inputs) else minimum


def _in_loops(correspondences: Correspondences, start: RigidMotion, tolerance: float) -> RigidMotion | None:
    """`_levenberg_marquardt` by compiled loops, for which a face is a step; None where they cannot run."""
    points, pixels, camera = correspondences.points, correspondences.pixels, correspondences.camera
    numbers = (points, pixels, camera.focal, camera.center, start.rotation, start.translation)
    plain = is_readable(points) and plain_numbers(*numbers, dtype=torch.float64)
    loops = load_kernels("clnf_torch.measures.kernels.cpu.pnp") if plain else None
    if loops is None:
        return None
    own = tuple(values.expand(len(points), 2) for values in (camera.focal, camera.center))
    search = (MAX_ITERATIONS, tolerance, INITIAL_DAMPING)
    return RigidMotion(*loops.search_motions(points, pixels, own, (start.rotation, start.translation), search))


def _levenberg_marquardt(correspondences: Correspondences, motion: RigidMotion, tolerance: float) -> RigidMotion:
    """Levenberg-Marquardt: each row keeps the steps that help it, until they are too small to matter."""
    hessian, descent, cost = correspondences.equations(motion)
    damping = torch.full_like(cost, INITIAL_DAMPING)
    searching = torch.ones_like(cost, dtype=torch.bool)
    seen = is_readable(searching)
    for _ in range(MAX_ITERATIONS):
        damping_matrix = torch.diag_embed(damping[:, None] * hessian.diagonal(dim1=-2, dim2=-1))
        delta = solve(hessian + damping_matrix, descent)
        stepped = motion.step(delta)
        new_hessian, new_descent, new_cost = correspondences.equations(stepped)
        better = searching & (new_cost < cost)
        motion, cost = stepped.where(better, motion), torch.where(better, new_cost, cost)
        hessian = torch.where(better[:, None, None], new_hessian, hessian)
        descent = torch.where(better[:, None], new_descent, descent)
        damping = torch.where(better, damping / 10, damping * 10)
        searching = searching & _is_significant(delta, motion, tolerance)
        # Elsewhere all iterations are done under masks: of many faces, some need them anyway
        if seen and not searching.any():
            break
    return motion


def _is_significant(delta: Tensor, motion: RigidMotion, tolerance: float) -> Tensor:
    """Rows whose step turns or moves them by more than the tolerance, shape (B,) bool."""
    distance = torch.linalg.vector_norm(motion.translation, dim=-1)
    turned, moved = torch.linalg.vector_norm(delta.unflatten(-1, (2, 3)), dim=-1).unbind(-1)
    return torch.maximum(turned, moved / distance) > tolerance


def _newton_step(correspondences: Correspondences, minimum: RigidMotion) -> RigidMotion:
    """One Newton step from the minimum: hardly a step, but its derivatives are those of the minimum."""
    fixed, still = correspondences.detached(), correspondences.points.new_zeros(len(correspondences.points), 6)
    # Rows do not see each other: the derivative of their sum holds the one of each.
    gradient_jacobian = torch.func.jacrev(lambda step: fixed.equations(minimum.step(step))[1].sum(0))(still)
    # (B, 6, 6): the whole second derivative, not its Gauss-Newton part
    hessian = -gradient_jacobian.movedim(0, 1)
    return minimum.step(solve((hessian + hessian.mT) / 2, correspondences.equations(minimum)[1]))
