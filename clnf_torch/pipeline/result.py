"""What a fit gives back."""

from dataclasses import dataclass

from torch import Tensor

from clnf_torch.models.shape_params import ShapeParams


@dataclass(frozen=True, kw_only=True)
class FitResult:
    """The fitted faces, one per row. A row that could not be fitted has `success` false and keeps how far it came."""

    landmarks: Tensor  # (B, N, 2) pixels (x, y), pixel centres at whole numbers; NaN where the box was unusable
    params: ShapeParams  # pose and shape
    likelihood: Tensor  # (B,) mean log-likelihood of the visible landmarks
    landmark_likelihoods: Tensor  # (B, N), -1e8 where not visible
    view: Tensor  # (B,) int64: the view of the patch experts at the last scale
    visible: Tensor  # (B, N) bool: landmarks that have experts in that view
    hypothesis: Tensor  # (B,) int64: the rotation hypothesis that was kept
    success: Tensor  # (B,) bool
