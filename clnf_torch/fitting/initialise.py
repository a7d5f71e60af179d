"""Parameters to start a fit from: out of a face box, or out of landmarks that are already known."""

import math
from dataclasses import replace

import torch
from torch import Tensor

from clnf_torch.fitting import compiled
from clnf_torch.fitting.gauss_newton import gauss_newton_step
from clnf_torch.geometry.host import is_readable
from clnf_torch.geometry.rotation import euler_to_matrix
from clnf_torch.models.pdm import PDM, PosedShape, ShapeParams

MAX_STEPS = 1000
# Share of each Gauss-Newton step that is taken
DAMPING = 0.75
# This many steps, in total, that hardly improve end the search
SLOW_STEPS = 3
# Steps where the host cannot see whether every row has ended. Of faces and eyes of 300-W none takes more than 12
UNSEEN_STEPS = 24


def params_from_box(pdm: PDM, boxes: Tensor, rotation: Tensor, local: Tensor | None = None) -> ShapeParams:
    """Parameters that put a turned face into face boxes.

    Args:
        pdm: The shape model.
        boxes: Extent of the landmarks (x, y, width, height), pixels, shape (B, 4).
        rotation: Euler angles, radians, shape (B, 3).
        local: Shape coefficients, shape (B, M); default those of the mean face.

    Returns:
        Parameters, not a number in the rows of boxes that are not finite.

    Source:
        OpenFace ``PDM::CalcParams`` for a bounding box.
    """
    local = boxes.new_zeros(boxes.shape[0], pdm.num_modes) if local is None else local
    return params_in_boxes(boxes, rotation, local, *turned_extent(pdm, rotation, local))


def turned_extent(pdm: PDM, rotation: Tensor, local: Tensor) -> tuple[Tensor, Tensor]:
    """Lowest and highest corner (B, 2) of shapes with coefficients (B, M), turned by Euler angles (B, 3), mm."""
    turned = pdm.points(local) @ euler_to_matrix(rotation)[:, :2].mT  # (B, N, 2)
    return turned.amin(-2), turned.amax(-2)


def params_in_boxes(boxes: Tensor, rotation: Tensor, local: Tensor, lowest: Tensor, highest: Tensor) -> ShapeParams:
    """`params_from_box` of turned shapes with these corners (B, 2), mm."""
    usable = boxes.isfinite().all(-1)
    # Unusable rows must not send NaN back to what the rows share
    boxes = torch.where(usable[:, None], boxes, 0)
    extent = highest - lowest
    scale = (boxes[:, 2:] / extent).mean(-1)
    centre = boxes[:, :2] + boxes[:, 2:] / 2 - scale[:, None] * (lowest + highest) / 2
    params = ShapeParams(scale, rotation, centre, local)
    return params.where(usable, params.filled(torch.nan))


def params_from_landmarks(
    pdm: PDM, landmarks: Tensor, known: Tensor | None = None, rotation: Tensor | None = None
) -> ShapeParams:
    """Parameters whose landmarks come closest to given ones, under the shape prior.

    Damped Gauss-Newton steps, at most 1000 (24 where the host cannot see that all have ended), until three of them
    improved the error by less than a thousandth. OpenFace: that error is measured with the new pose but the shape from
    before the step; neither pose nor shape are clamped.

    Args:
        pdm: The shape model.
        landmarks: Where the landmarks are, pixels, shape (B, N, 2).
        known: Landmarks that count, bool, shape (B, N); default all. (OpenFace leaves out those whose x is exactly 0.)
        rotation: Euler angles to start from, radians, shape (B, 3); default none.

    Source:
        OpenFace ``PDM::CalcParams`` for landmarks.
    """
    if compiled.usable(landmarks, pdm.mean, pdm.modes, pdm.variances, *(() if rotation is None else (rotation,))):
        own = compiled.kernels(landmarks.device)
        params: ShapeParams = own.search_landmarks(pdm, landmarks, known, rotation)
        return params
    start, landmarks, weight = upright_start(pdm, landmarks, known, rotation)
    shape = PosedShape.of(start)
    precision = 1 / pdm.variances[None]
    error = _distance(pdm.landmarks(shape), landmarks, weight)
    slow = torch.zeros_like(error, dtype=torch.int64)
    seen = is_readable(slow)
    for _ in range(MAX_STEPS if seen else UNSEEN_STEPS):
        active = slow < SLOW_STEPS
        if seen and not active.any():
            break
        current, jacobian = pdm.landmarks_and_jacobian(shape, rigid=False)
        step = gauss_newton_step(jacobian, weight, landmarks - current, precision, shape.local)
        stepped = shape.step(torch.where(active[:, None], DAMPING * step, 0))
        next_error = _distance(pdm.landmarks(replace(stepped, local=shape.local)), landmarks, weight)
        slow = slow + (active & ~(next_error < 0.999 * error))
        shape, error = stepped, torch.where(active, next_error, error)
    return shape.params()


def params_under_noise(
    pdm: PDM,
    landmarks: Tensor,
    noise: float,
    known: Tensor | None = None,
    rotation: Tensor | None = None,
    largest_zoom: float = math.inf,
) -> ShapeParams:
    """`params_from_landmarks` where the shape prior counts the same whatever the size of the face in the image.

    The prior of `params_from_landmarks` counts pixels, so the faces are brought to a size where a pixel is the noise.

    Args:
        pdm: The shape model.
        landmarks: Where the landmarks are, pixels, shape (B, N, 2).
        noise: Standard deviation of a coordinate from the shape model, millimetres.
        known: Landmarks that count, bool, shape (B, N); default all.
        rotation: Euler angles to start from, radians, shape (B, 3); default none.
        largest_zoom: By how much faces are enlarged at most; 1 leaves small faces as they are.
    """
    counts = torch.ones_like(landmarks[..., :1], dtype=torch.bool) if known is None else known[..., None]
    low, high = _extent(landmarks, counts)
    model_low, model_high = _extent(pdm.mean[None, :, :2].expand_as(landmarks), counts)
    zoom = (model_high - model_low).mean(-1) / ((high - low).mean(-1) * noise)
    zoom = zoom.clamp(max=largest_zoom)
    found = params_from_landmarks(pdm, landmarks * zoom[:, None, None], known, rotation)
    return ShapeParams(found.scale / zoom, found.rotation, found.translation / zoom[:, None], found.local)


def upright_start(
    pdm: PDM, landmarks: Tensor, known: Tensor | None, rotation: Tensor | None
) -> tuple[ShapeParams, Tensor, Tensor]:
    """The mean face, as large as the known landmarks, its origin at the middle of their box.

    Arguments are those of `params_from_landmarks`.

    Returns:
        The face; the landmarks, 0 where they are not known, shape (B, N, 2); and their weights, 1 or 0, shape (B, N).
    """
    weight = landmarks.new_ones(landmarks.shape[:2]) if known is None else known.to(landmarks.dtype)
    counts = weight[..., None] > 0
    landmarks = torch.where(counts, landmarks, 0)
    lowest, highest = _extent(landmarks, counts)
    model_lowest, model_highest = _extent(pdm.mean[None, :, :2].expand_as(landmarks), counts)
    scale = ((highest - lowest) / (model_highest - model_lowest)).mean(-1)
    rotation = landmarks.new_zeros(landmarks.shape[0], 3) if rotation is None else rotation
    local = landmarks.new_zeros(landmarks.shape[0], pdm.num_modes)
    return ShapeParams(scale, rotation, (lowest + highest) / 2, local), landmarks, weight


def _extent(points: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
    """Lowest and highest corner (B, 2) of the known points (B, N, 2)."""
    return torch.where(known, points, torch.inf).amin(-2), torch.where(known, points, -torch.inf).amax(-2)


def _distance(landmarks: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Euclidean norm of the known landmarks' differences over all coordinates, shape (B,)."""
    return ((landmarks - target).square() * weight[..., None]).sum((-2, -1)).sqrt()
