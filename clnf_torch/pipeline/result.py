"""What a fit gives back."""

import warnings
from dataclasses import dataclass

import torch
from torch import Tensor

from clnf_torch.fitting.parts import PartFit
from clnf_torch.geometry.records import Rows
from clnf_torch.measures.gaze import EYE_PARTS
from clnf_torch.models.pdm import ShapeParams


@dataclass(frozen=True, kw_only=True, repr=False)
class FitResult(Rows):
    """The fitted faces, one per row. A row that could not be fitted has `success` false and keeps how far it came.

    Attributes:
        landmarks: Pixels (x, y), pixel centres at whole numbers, shape (B, N, 2); NaN where the box was unusable. A
            model with a refinement has moved them away from its shape.
        params: Pose and shape; ``detector.model.pdm.landmarks(params)`` are the landmarks of the fitted shape.
        likelihood: Mean log-likelihood of the visible landmarks, shape (B,).
        landmark_likelihoods: Shape (B, N); -1e8 where not visible.
        landmark_errors: How far each landmark is expected to be from where people would put it, pixels, shape (B, N);
            NaN where that is not known: of failed fits and hidden landmarks. None: the model does not tell.
        view: The view of the patch experts at the last scale, int64, shape (B,).
        visible: Landmarks that have experts in that view, bool, shape (B, N).
        hypothesis: The rotation hypothesis that was kept, int64, shape (B,).
        confidence: Of the validation, from 0 to 1, shape (B,); without one 1 where the fit succeeded.
        success: The fit did not fail, and the validator takes it for a face, bool, shape (B,).
        parts: The fits of the model's parts by name; empty where it has none or they were not asked for.
        gaze: Where both eyes look, the one further left first: unit vectors as if each eye were in the middle of the
            image, so that (0, 0, -1) looks into the camera, shape (B, 2, 3). None: the model has no `GazeNetwork`, or
            parts were not asked for.
    """

    landmarks: Tensor
    params: ShapeParams
    likelihood: Tensor
    landmark_likelihoods: Tensor
    view: Tensor
    visible: Tensor
    hypothesis: Tensor
    confidence: Tensor
    success: Tensor
    parts: dict[str, PartFit]
    landmark_errors: Tensor | None = None
    gaze: Tensor | None = None

    def __repr__(self) -> str:
        """The sizes in a line; the fields are tensors of many numbers."""
        points = self.landmarks.shape[-2]
        # Without rows: of a single number, as of a tensor
        count = len(self.landmarks) if self.landmarks.ndim > 2 else 1
        parts = f", parts {', '.join(self.parts)}" if self.parts else ""
        return f"FitResult({count} face{'' if count == 1 else 's'}, {points} landmarks{parts}, {self.landmarks.device})"

    @property
    def eye_landmarks(self) -> Tensor | None:
        """Both eyes' landmarks, left then right, pixels, shape (B, 56, 2); None without eye parts."""
        if not all(name in self.parts for name in EYE_PARTS):
            return None
        return torch.cat([self.parts[name].landmarks for name in EYE_PARTS], dim=-2)


# So that the programs which `torch.export` makes of fits can give results back
with warnings.catch_warnings():
    # Torch 2.4 calls what it has deprecated itself
    warnings.simplefilter("ignore", FutureWarning)
    for record in (ShapeParams, PartFit, FitResult):
        torch.export.register_dataclass(record, serialized_type_name=f"clnf_torch.{record.__name__}")
