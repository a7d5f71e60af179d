"""What a fit gives back."""

from dataclasses import dataclass

import torch
from torch import Tensor

from clnf_torch.fitting.parts import PartFit
from clnf_torch.geometry.records import Rows
from clnf_torch.models.pdm import ShapeParams

# By their place in the image: "left" are landmarks 36 to 41
EYES = ("left_eye_28", "right_eye_28")


@dataclass(frozen=True, kw_only=True)
class FitResult(Rows):
    """The fitted faces, one per row. A row that could not be fitted has `success` false and keeps how far it came."""

    landmarks: Tensor  # (B, N, 2) pixels (x, y), pixel centres at whole numbers; NaN where the box was unusable
    params: ShapeParams  # pose and shape
    likelihood: Tensor  # (B,) mean log-likelihood of the visible landmarks
    landmark_likelihoods: Tensor  # (B, N), -1e8 where not visible
    view: Tensor  # (B,) int64: the view of the patch experts at the last scale
    visible: Tensor  # (B, N) bool: landmarks that have experts in that view
    hypothesis: Tensor  # (B,) int64: the rotation hypothesis that was kept
    confidence: Tensor  # (B,) of the validation, 0 to 1; without one 1 where the fit succeeded
    success: Tensor  # (B,) bool: the fit did not fail, and the validator takes it for a face
    parts: dict[str, PartFit]  # by name; empty where the model has none or they were not asked for

    @property
    def eye_landmarks(self) -> Tensor | None:
        """Both eyes' landmarks, left then right, pixels, shape (B, 56, 2); None without eye parts."""
        if not all(name in self.parts for name in EYES):
            return None
        return torch.cat([self.parts[name].landmarks for name in EYES], dim=1)
