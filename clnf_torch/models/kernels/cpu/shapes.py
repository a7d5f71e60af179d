"""The shape model as loops: points, and landmarks in the image."""

from typing import Any, NamedTuple

import numpy as np
from torch import nn

from clnf_torch.compilation.compiler import Array, Arrays, compiled, compiled_exactly
from clnf_torch.compilation.kept import Kept
from clnf_torch.compilation.threads import arrays
from clnf_torch.geometry.kernels.cpu.rotation import to_matrix


@compiled_exactly
def project_shapes(mean: Array, modes: Array, params: Arrays, landmarks: Array) -> None:
    """`PDM.landmarks` of faces, (B, N, 2).

    Args:
        mean: Mean points, shape (3, N).
        modes: Shape (M, 3, N).
        params: Scale (B,), Euler angles (B, 3), translation (B, 2) and local (B, M).
        landmarks: Become the landmarks.
    """
    scale, euler, translation, local = params
    rotation, points = np.empty((3, 3), np.float32), np.empty(mean.shape, np.float32)
    for b in range(len(scale)):
        to_matrix(euler[b], rotation)
        set_points(mean, modes, local[b], points)
        show(points, scale[b], rotation, translation[b], landmarks[b])


@compiled
def set_points(mean: Array, modes: Array, local: Array, points: Array) -> None:
    """`PDM.points` of coefficients (M,) into (3, N)."""
    for c in range(3):
        for i in range(mean.shape[1]):
            points[c, i] = mean[c, i]
        for k in range(len(modes)):
            for i in range(mean.shape[1]):
                points[c, i] += local[k] * modes[k, c, i]


@compiled_exactly
def show(points: Array, scale: float, rotation: Array, translation: Array, landmarks: Array) -> None:
    """Weak perspective of points (3, N), (N, 2)."""
    for i in range(points.shape[1]):
        for a in range(2):
            own = rotation[a, 0] * points[0, i] + rotation[a, 1] * points[1, i] + rotation[a, 2] * points[2, i]
            landmarks[i, a] = scale * own + translation[a]


class ShapeModel(NamedTuple):
    """A PDM as arrays."""

    mean: Array  # points, (3, N)
    modes: Array  # (M, 3, N)
    limit: Array  # greatest coefficients, (M,)
    precision: Array  # inverse variances, (M,)
    columns: Array  # modes landmark by landmark, (3, N, M)


def _transposed(pdm: nn.Module) -> ShapeModel:
    """The arrays of a PDM."""
    model: Any = pdm
    values = arrays(model.mean.mT, model.modes.mT, model.local_limit, 1 / model.variances, model.modes.permute(2, 1, 0))
    return ShapeModel(*(np.array(value) for value in values))


model_arrays: Any = Kept(_transposed, lambda pdm: (pdm.mean, pdm.modes, pdm.variances))
