"""3D landmarks in camera space: the model says how deep each lies, the image in which direction."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from clnf_torch.geometry.camera import Intrinsics, back_project, weak_perspective_origin
from clnf_torch.geometry.precision import in_own_precision
from clnf_torch.geometry.rotation import euler_to_matrix
from clnf_torch.models.depth_shape import DepthShape
from clnf_torch.models.pdm import PDM, ShapeParams


@dataclass(frozen=True)
class FittedShape:
    """A fitted face or part of faces: its shape model, the parameters found, and the landmarks."""

    pdm: PDM
    params: ShapeParams  # B rows
    landmarks: Tensor  # (B, N, 2) pixels
    depth: DepthShape | None = None  # of a face whose model measures depths by another shape than its own

    def valid(self) -> Tensor:
        """Rows that have a scale and nothing but finite numbers, shape (B,) bool."""
        return self.params.finite() & (self.params.scale != 0) & self.landmarks.isfinite().all(-1).all(-1)

    def with_valid_rows(self) -> "FittedShape":
        """The same rows, with the model's mean face in those that are not valid, so that no NaN is computed with."""
        valid, idle = self.valid(), self.params.filled(0)
        idle = ShapeParams(idle.scale + 1, idle.rotation, idle.translation, idle.local)
        landmarks = torch.where(valid[:, None, None], self.landmarks, self.pdm.mean[:, :2])
        return replace(self, params=self.params.where(valid, idle), landmarks=landmarks)


@in_own_precision
def landmarks_3d(shape: FittedShape, camera: Intrinsics) -> Tensor:
    """Landmarks in camera space.

    The scale of the weak perspective gives the distance of the shape, the rotated shape the depth of each landmark, and
    the image the direction in which it lies. A part is measured by its own parameters. OpenFace: it therefore lies at
    its own distance, fx / scale of the part, which is not that of the face (eyes may be centimetres in front of it).

    Args:
        shape: The faces, or one part of theirs.
        camera: The camera, or one per face.

    Returns:
        Points, millimetres, shape (B, N, 3); NaN in rows without a scale or with numbers that are not finite.

    Source:
        OpenFace ``CLNF::GetShape``; of both eyes ``Calculate3DEyeLandmarks``.
    """
    camera, valid = camera.to(shape.landmarks), shape.with_valid_rows()
    params = valid.params
    origin = weak_perspective_origin(params.scale, params.translation, camera)
    beyond = valid.pdm.points(params.local) @ euler_to_matrix(params.rotation)[:, 2, :, None]  # (B, N, 1)
    points = back_project(valid.landmarks, origin[:, 2:] + beyond[..., 0], camera)
    return torch.where(shape.valid()[:, None, None], points, torch.nan)
