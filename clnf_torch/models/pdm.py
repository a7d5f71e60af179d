"""The point distribution model: 3D landmarks that vary along learned modes, seen under weak perspective."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from clnf_torch.geometry.precision import refuse_short_numbers
from clnf_torch.geometry.records import Rows, map_tensors
from clnf_torch.geometry.rotation import euler_by_quaternion, euler_to_matrix, turn
from clnf_torch.models import compiled
from clnf_torch.models.array_schema import Array
from clnf_torch.models.schema import Context, Fields, SchemaError


@dataclass(frozen=True)
class ShapeParams(Rows):
    """Weak-perspective pose and shape coefficients of B faces."""

    scale: Tensor  # (B,) pixels per millimetre
    rotation: Tensor  # (B, 3) Euler angles in radians
    translation: Tensor  # (B, 2) pixels
    local: Tensor  # (B, M) coefficients of the shape modes, millimetres

    def filled(self, value: float) -> "ShapeParams":
        """As many faces, every number of theirs being `value`."""
        return map_tensors(lambda values: torch.full_like(values, value), self)

    def finite(self) -> Tensor:
        """Rows without infinities and NaNs, shape (B,) bool."""
        total = self.scale + self.rotation.sum(-1) + self.translation.sum(-1) + self.local.sum(-1)
        return total.isfinite()

    @property
    def globals(self) -> Tensor:
        """OpenFace's ``params_global`` [s, rx, ry, rz, tx, ty], shape (B, 6)."""
        return torch.cat((self.scale[..., None], self.rotation, self.translation), dim=-1)

    @classmethod
    def from_globals(cls, params_global: Tensor, local: Tensor) -> "ShapeParams":
        """From OpenFace's ``params_global`` (B, 6) and ``params_local`` (B, M)."""
        return cls(params_global[:, 0], params_global[:, 1:4], params_global[:, 4:6], local)


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
        euler = euler_by_quaternion(self.rotation)
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


_FIELDS = ("mean", "modes", "variances")
# Far beyond those of any shape model
MOST_LANDMARKS, MOST_MODES = 1024, 1024
# Millimetres squared; the prior divides by it. OpenFace's least is 0.3
LEAST_VARIANCE = 1e-6


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

    # Of its record
    schema: ClassVar[Fields] = Fields(
        {
            "mean": Array("N", 3, longest=MOST_LANDMARKS),
            "modes": Array("M", "N", 3, longest=MOST_MODES),
            "variances": Array("M", low=LEAST_VARIANCE),
        }
    )

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
        self.shift_columns: Tensor
        self.register_buffer(
            "shift_columns", torch.eye(2, dtype=mean.dtype, device=mean.device)[:, None], persistent=False
        )  # (2, 1, 2)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "PDM":
        """What `to`, `half` and their like do to all tensors; see `refuse_short_numbers`."""
        refuse_short_numbers(fn, self.mean)
        return super()._apply(fn, recurse)

    def to_record(self) -> dict[str, Any]:
        """The shape model as a bundle holds it, float64."""
        return {name: getattr(self, name).detach().double() for name in _FIELDS}

    @classmethod
    def check_record(cls, record: Any, where: str, context: Context) -> None:
        """Refuses what is no record of `to_record`; N is known afterwards.

        Raises:
            SchemaError: Something in it is not what it should be.
        """
        cls.schema.check(record, where, context)
        extent = record["mean"].amax(0) - record["mean"].amin(0)
        if not bool((extent[:2] > 0).all()):
            raise SchemaError(f"{where}.mean: expected landmarks of a face, found all of them on a line")

    @classmethod
    def from_record(cls, record: Mapping[str, Any], dtype: torch.dtype) -> "PDM":
        """The shape model in a record of `to_record`."""
        return cls(*(record[name].to(dtype) for name in _FIELDS))

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
        # One product per face rounds the same in any batch
        modes = self.modes.flatten(1).expand(len(local), -1, -1)
        return self.mean + torch.bmm(local[:, None], modes).view(-1, *self.mean.shape)

    def landmarks(self, params: ShapeParams | PosedShape) -> Tensor:
        """Landmarks in the image, pixels, shape (B, N, 2). OpenFace ``PDM::CalcShape2D``."""
        if self._has_loops_for(params):
            landmarks: Tensor = compiled.kernels().project_shapes(self, params)
            return landmarks
        posed = _posed(params)
        return _project(self.points(posed.local), posed)

    def _has_loops_for(self, params: ShapeParams | PosedShape) -> bool:
        """Whether loops can project parameters; they read as far as these should reach, so that torch has odd ones."""
        if not isinstance(params, ShapeParams):
            return False
        rows = len(params.scale)
        whole = params.rotation.shape == (rows, 3) and params.translation.shape == (rows, 2)
        fits = whole and params.local.shape == (rows, self.num_modes)
        return fits and compiled.projects(self.mean, self.modes, *vars(params).values())

    def landmarks_and_jacobian(self, params: ShapeParams | PosedShape, rigid: bool) -> tuple[Tensor, Tensor]:
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
        posed = _posed(params)
        points, scale = self.points(posed.local), posed.scale[:, None, None]
        # The rows of the rotation that reach the image
        seen = posed.rotation[:, :2]
        by_scale = torch.bmm(seen, points.mT)  # (B, 2, N)
        by_turn = torch.linalg.cross(points[:, None], (scale * seen)[:, :, None])  # (B, 2, N, 3)
        by_shift = self.shift_columns.expand(*by_turn.shape[:3], 2)
        columns = [by_scale[..., None], by_turn, by_shift]
        if not rigid:
            modes = self.modes.permute(2, 1, 0)  # (3, N, M)
            alike = modes.flatten(1).expand(len(points), -1, -1)
            columns.append(torch.bmm(scale * seen, alike).unflatten(-1, modes.shape[1:]))
        return (scale * by_scale).mT + posed.translation[:, None], torch.cat(columns, dim=-1)

    def step(self, params: ShapeParams, delta: Tensor) -> ShapeParams:
        """Parameters after a step in the order of the Jacobian's columns, shape (B, 6) or (B, 6 + M).

        Scale, translation and modes add. The rotation is multiplied on the right by the rotation closest to I + [w]x, w
        being the step's turns. OpenFace: angles that are not numbers (a half turn) become 0, all three of them.

        Source:
            OpenFace ``PDM::UpdateModelParameters``.
        """
        return PosedShape.of(params).step(delta).params()

    @property
    def local_limit(self) -> Tensor:
        """Three standard deviations of each shape coefficient, shape (M,): OpenFace ``PDM::Clamp``."""
        return 3 * self.variances.sqrt()

    def clamp(self, local: Tensor) -> Tensor:
        """Shape coefficients (B, M) held within `local_limit`. OpenFace ``PDM::Clamp``."""
        return local.clamp(-self.local_limit, self.local_limit)

    def reference_landmarks(self, local: Tensor, scale: float) -> Tensor:
        """The shape seen from the front at `scale` pixels per millimetre, around the origin, shape (B, N, 2)."""
        return scale * self.points(local)[..., :2]


def _posed(params: ShapeParams | PosedShape) -> PosedShape:
    """Either form of the parameters with the rotation as a matrix."""
    return params if isinstance(params, PosedShape) else PosedShape.of(params)


def _project(points: Tensor, posed: PosedShape) -> Tensor:
    """Weak perspective of points (B, N, 3), shape (B, N, 2)."""
    return posed.scale[:, None, None] * (points @ posed.rotation[:, :2].mT) + posed.translation[:, None]
