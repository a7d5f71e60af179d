"""Shape parameters with the head's rotation as a matrix: the form in which the search moves a face."""

from dataclasses import dataclass

import torch
from torch import Tensor

from clnf_torch.geometry.rotation import euler_to_matrix, matrix_to_euler, turn
from clnf_torch.models.shape_params import ShapeParams


@dataclass(frozen=True)
class PosedShape:
    """Weak-perspective pose and shape coefficients of B faces; see `ShapeParams` for the form that is kept."""

    scale: Tensor  # (B,) pixels per millimetre
    rotation: Tensor  # (B, 3, 3)
    translation: Tensor  # (B, 2) pixels
    local: Tensor  # (B, M) millimetres

    @classmethod
    def of(cls, params: ShapeParams) -> "PosedShape":
        """From Euler angles."""
        return cls(params.scale, euler_to_matrix(params.rotation), params.translation, params.local)

    def params(self) -> ShapeParams:
        """Back to Euler angles. OpenFace: where they are not numbers (a half turn) all three become 0."""
        euler = matrix_to_euler(self.rotation)
        euler = torch.where(euler.isnan().any(-1, keepdim=True), torch.zeros_like(euler), euler)
        return ShapeParams(self.scale, euler, self.translation, self.local)

    def step(self, delta: Tensor) -> "PosedShape":
        """After a step, in the order of the Jacobian's columns (B, 6) or (B, 6 + M): all add, but the turns multiply.

        Source:
            OpenFace ``PDM::UpdateModelParameters``, without its way through Euler angles.
        """
        rotation = turn(self.rotation, delta[:, 1:4])
        local = self.local if delta.shape[-1] == 6 else self.local + delta[:, 6:]
        return PosedShape(self.scale + delta[:, 0], rotation, self.translation + delta[:, 4:6], local)
