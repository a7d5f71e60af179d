"""The point distribution model: 3D landmarks that vary along learned modes, seen under weak perspective."""

import torch
from torch import Tensor, nn

from clnf_torch.geometry.rotation import euler_to_matrix, matrix_to_euler, small_turn_to_matrix
from clnf_torch.models.shape_params import ShapeParams


class PDM(nn.Module):
    """Point distribution model: points(p) = mean + sum_j p_j modes_j, landmarks = s R[:2] points + t.

    Args:
        mean: Mean points, millimetres, x right, y down, shape (N, 3).
        modes: Modes of variation, shape (M, N, 3).
        variances: Variance of each mode's coefficient (OpenFace's eigenvalues), shape (M,).

    Raises:
        ValueError: The shapes do not belong together.

    Source:
        OpenFace ``PDM``.
    """

    def __init__(self, mean: Tensor, modes: Tensor, variances: Tensor) -> None:
        super().__init__()
        if (
            modes.ndim != 3
            or modes.shape[1:] != mean.shape
            or mean.shape[1:] != (3,)
            or variances.shape != modes.shape[:1]
        ):
            raise ValueError(
                f"mean {tuple(mean.shape)}, modes {tuple(modes.shape)} and variances {tuple(variances.shape)} "
                "do not belong together; expected (N, 3), (M, N, 3) and (M,)"
            )
        self.mean = nn.Parameter(mean, requires_grad=False)
        self.modes = nn.Parameter(modes, requires_grad=False)
        self.variances = nn.Parameter(variances, requires_grad=False)

    @property
    def num_landmarks(self) -> int:
        """N."""
        return self.mean.shape[0]

    @property
    def num_modes(self) -> int:
        """M."""
        return self.modes.shape[0]

    def points(self, local: Tensor) -> Tensor:
        """3D points of shape coefficients (B, M), millimetres, shape (B, N, 3)."""
        return self.mean + (local @ self.modes.flatten(1)).unflatten(-1, (-1, 3))

    def landmarks(self, params: ShapeParams) -> Tensor:
        """Landmarks in the picture, pixels, shape (B, N, 2). OpenFace ``PDM::CalcShape2D``."""
        rotation = euler_to_matrix(params.rotation)
        return self._project(self.points(params.local), rotation, params)

    def landmarks_and_jacobian(self, params: ShapeParams, rigid: bool) -> tuple[Tensor, Tensor]:
        """Landmarks and how they move with the parameters.

        Args:
            params: The parameters to differentiate at.
            rigid: Leave the modes' columns out.

        Returns:
            Landmarks, pixels, shape (B, N, 2), and the Jacobian, shape (B, 2, N, P): coordinate, landmark and the P = 6
            or 6 + M parameters scale, three small turns (on the right of the rotation, see `step`), x, y, and modes.

        Source:
            OpenFace ``PDM::ComputeRigidJacobian``, ``PDM::ComputeJacobian``.
        """
        points, rotation = self.points(params.local), euler_to_matrix(params.rotation)
        scale, seen = (
            params.scale[:, None, None, None],
            rotation[:, :2],
        )  # the rows of the rotation that reach the picture
        by_scale = (seen @ points.mT)[..., None]  # (B, 2, N, 1)
        by_turn = scale * torch.linalg.cross(points[:, None], seen[:, :, None])  # (B, 2, N, 3)
        by_shift = torch.eye(2, dtype=points.dtype, device=points.device)[None, :, None, :].expand(
            *by_scale.shape[:3], 2
        )
        columns = [by_scale, by_turn, by_shift]
        if not rigid:
            modes = self.modes.permute(2, 1, 0)  # (3, N, M)
            columns.append(scale * (seen @ modes.flatten(1)).unflatten(-1, modes.shape[1:]))
        return self._project(points, rotation, params), torch.cat(columns, dim=-1)

    def step(self, params: ShapeParams, delta: Tensor) -> ShapeParams:
        """Parameters after a step.

        Scale, translation and modes add. The rotation is multiplied on the right by the rotation closest to I + [w]x, w
        being the step's turns. OpenFace: angles that are not numbers (a half turn) become 0, all three of them.

        Args:
            params: Before the step.
            delta: Steps in the order of the Jacobian's columns, shape (B, 6) or (B, 6 + M).

        Source:
            OpenFace ``PDM::UpdateModelParameters``.
        """
        rotation = euler_to_matrix(params.rotation) @ small_turn_to_matrix(delta[:, 1:4])
        euler = matrix_to_euler(rotation)
        euler = torch.where(euler.isnan().any(-1, keepdim=True), torch.zeros_like(euler), euler)
        local = params.local if delta.shape[-1] == 6 else params.local + delta[:, 6:]
        return ShapeParams(params.scale + delta[:, 0], euler, params.translation + delta[:, 4:6], local)

    def clamp(self, params: ShapeParams) -> ShapeParams:
        """Shape coefficients held within three standard deviations; the pose stays. OpenFace ``PDM::Clamp``."""
        limit = 3 * self.variances.sqrt()
        return ShapeParams(params.scale, params.rotation, params.translation, torch.clamp(params.local, -limit, limit))

    def reference_landmarks(self, local: Tensor, scale: float) -> Tensor:
        """The shape seen from the front at `scale` pixels per millimetre, around the origin, shape (B, N, 2)."""
        return scale * self.points(local)[..., :2]

    @staticmethod
    def _project(points: Tensor, rotation: Tensor, params: ShapeParams) -> Tensor:
        """Weak perspective of points (B, N, 3) under rotations (B, 3, 3), shape (B, N, 2)."""
        return params.scale[:, None, None] * (points @ rotation[:, :2].mT) + params.translation[:, None]
