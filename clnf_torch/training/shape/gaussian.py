"""Gaussians over 3D face shapes: the full covariance of which a point distribution model keeps the main modes."""

from dataclasses import dataclass

import torch
from torch import Tensor

from clnf_torch.models.pdm import PDM


@dataclass(frozen=True)
class ShapeGaussian:
    """Mean and covariance of N points in space, millimetres, x right, y down, z away from the viewer."""

    mean: Tensor  # (N, 3)
    covariance: Tensor  # (3N, 3N), x, y, z of the first point, then of the second, ...

    @classmethod
    def of_pdm(cls, pdm: PDM) -> "ShapeGaussian":
        """The Gaussian that a PDM's prior describes, in float64."""
        modes = pdm.modes.detach().double().flatten(1)
        covariance = modes.mT @ (pdm.variances.detach().double()[:, None] * modes)
        return cls(pdm.mean.detach().double(), covariance)

    @classmethod
    def of_blendshapes(cls, mean: Tensor, identity: Tensor, expression: Tensor) -> "ShapeGaussian":
        """The Gaussian of a blendshape model whose identities weigh N(0, 1) and whose expressions N(0, 0.5).

        Args:
            mean: Neutral mean face, centimetres, y up, z towards the viewer (ICT-FaceKit's axes), shape (N, 3).
            identity: Displacements of each identity, shape (I, N, 3).
            expression: Displacements of each expression at full strength, shape (E, N, 3).
        """
        axes = mean.new_tensor([10.0, -10.0, -10.0]).double()
        moves = torch.cat((identity.double(), 0.5 * expression.double())) * axes
        return cls(mean.double() * axes, moves.flatten(1).mT @ moves.flatten(1)).without_pose()

    def with_point_noise(self, slack: float) -> "ShapeGaussian":
        """The same shapes with isotropic noise of every point: standard deviation `slack`, millimetres."""
        own = slack**2 * torch.eye(len(self.covariance), dtype=self.covariance.dtype, device=self.covariance.device)
        return ShapeGaussian(self.mean, self.covariance + own)

    def without_pose(self) -> "ShapeGaussian":
        """The same shapes around the origin, without what a weak-perspective camera calls pose.

        To first order, size, turns and shifts of the mean are taken out of the covariance.
        """
        mean = self.mean - self.mean.mean(0)
        shape_only = projection_off_pose(mean)
        return ShapeGaussian(mean, shape_only @ self.covariance @ shape_only)

    def mirrored(self, mirror: Tensor) -> "ShapeGaussian":
        """The Gaussian of the mirrored shapes; `mirror` (N,) is each point's partner on the other side."""
        sign = self.mean.new_tensor([-1.0, 1.0, 1.0])
        rows = (mirror[:, None] * 3 + torch.arange(3, device=mirror.device)).flatten()
        signs = sign.repeat(len(mirror))
        covariance = signs[:, None] * self.covariance[rows][:, rows] * signs
        return ShapeGaussian(self.mean[mirror] * sign, covariance)

    def symmetrised(self, mirror: Tensor) -> "ShapeGaussian":
        """The average of these shapes and their mirror images, which is its own mirror image."""
        other = self.mirrored(mirror)
        return ShapeGaussian((self.mean + other.mean) / 2, (self.covariance + other.covariance) / 2)

    def pdm(self, explained: float = 1.0, most: int | None = None) -> PDM:
        """The PDM of the strongest modes.

        Args:
            explained: Share of the variance that the modes keep at least.
            most: At most so many modes.
        """
        variances, modes = torch.linalg.eigh(self.covariance)
        variances, modes = variances.flip(0).clamp(min=0), modes.flip(1).mT
        enough = int((variances.cumsum(0) / variances.sum() < explained).sum()) + 1
        kept = min(enough, int((variances > 1e-6 * variances[0]).sum()), most or len(variances))
        shapes = modes[:kept].unflatten(-1, self.mean.shape)
        return PDM(self.mean, shapes * _sign_of(shapes)[:, None, None], variances[:kept].clone())


def projection_off_pose(mean: Tensor) -> Tensor:
    """Projection of displacements (3N,) onto those that no small change of size, turn or shift of a mean makes.

    Args:
        mean: Points around the origin, shape (N, 3).

    Returns:
        Shape (3N, 3N).
    """
    axes = torch.eye(3, dtype=mean.dtype, device=mean.device)
    shifts = axes[:, None].expand(3, *mean.shape)
    turns = torch.linalg.cross(axes[:, None].expand_as(shifts), mean.expand_as(shifts))
    moves = torch.cat((shifts, turns, mean[None])).flatten(1)  # (7, 3N)
    basis = torch.linalg.qr(moves.mT).Q
    return torch.eye(basis.shape[0], dtype=mean.dtype, device=mean.device) - basis @ basis.mT


def _sign_of(modes: Tensor) -> Tensor:
    """A sign for each mode (M, N, 3) that makes its largest number positive, so that equal data give equal modes."""
    flat = modes.flatten(1)
    return flat.gather(1, flat.abs().argmax(1, keepdim=True)).sign().squeeze(1)
