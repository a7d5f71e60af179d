"""The parameters of a face's shape: global (where and how the head is) and local (which face and expression)."""

from dataclasses import dataclass, fields

import torch
from torch import Tensor


@dataclass(frozen=True)
class ShapeParams:
    """Weak-perspective pose and shape coefficients of B faces."""

    scale: Tensor  # (B,) pixels per millimetre
    rotation: Tensor  # (B, 3) Euler angles in radians
    translation: Tensor  # (B, 2) pixels
    local: Tensor  # (B, M) coefficients of the shape modes, millimetres

    def __len__(self) -> int:
        """Number of faces B."""
        return self.scale.shape[0]

    def __getitem__(self, rows: Tensor | slice) -> "ShapeParams":
        """The faces of these rows."""
        return ShapeParams(*(getattr(self, field.name)[rows] for field in fields(self)))

    def where(self, keep: Tensor, other: "ShapeParams") -> "ShapeParams":
        """These parameters in the rows where `keep` (B,) is true, those of `other` in the rest."""
        column = keep[:, None]
        return ShapeParams(
            torch.where(keep, self.scale, other.scale),
            torch.where(column, self.rotation, other.rotation),
            torch.where(column, self.translation, other.translation),
            torch.where(column, self.local, other.local),
        )

    def filled(self, value: float) -> "ShapeParams":
        """As many faces, every number of theirs being `value`."""
        return ShapeParams(*(torch.full_like(getattr(self, field.name), value) for field in fields(self)))

    def finite(self) -> Tensor:
        """Rows without infinities and NaNs, shape (B,) bool."""
        total = self.scale + self.rotation.sum(-1) + self.translation.sum(-1) + self.local.sum(-1)
        return total.isfinite()

    @property
    def globals(self) -> Tensor:
        """OpenFace's ``params_global`` [s, rx, ry, rz, tx, ty], shape (B, 6)."""
        return torch.cat((self.scale[:, None], self.rotation, self.translation), dim=-1)

    @classmethod
    def from_globals(cls, params_global: Tensor, local: Tensor) -> "ShapeParams":
        """From OpenFace's ``params_global`` (B, 6) and ``params_local`` (B, M)."""
        return cls(params_global[:, 0], params_global[:, 1:4], params_global[:, 4:6], local)

    @classmethod
    def concatenate(cls, parts: list["ShapeParams"]) -> "ShapeParams":
        """The rows of several records, one after the other."""
        return cls(*(torch.cat([getattr(part, field.name) for part in parts]) for field in fields(cls)))
