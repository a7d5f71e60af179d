"""Where the patch experts of a scale look, as loops: views, weights, landmarks and frames of reference of faces."""

import math

import numpy as np

from clnf_torch.compilation.compiler import Array, Arrays, compiled_exactly, f32
from clnf_torch.fitting.kernels.cpu.records import Params
from clnf_torch.geometry.kernels.cpu.rotation import to_matrix
from clnf_torch.models.kernels.cpu.shapes import ShapeModel, set_points, show


@compiled_exactly
def place_experts(
    pdm: ShapeModel,
    given: Params,
    active: Array,
    experts: Arrays,
    known: Arrays,
    numbers: Arrays,
    start: Params,
    found: Arrays,
) -> None:
    """What `LandmarkFitter` and `respond` find out about faces before their experts look.

    Args:
        pdm: The shape model.
        given: Where the faces are.
        active: Rows that have not failed, bool, shape (B,); a stand-in takes the place of the others.
        experts: Centres of views (V, 3), what each sees, bool, (V, N), and confidence (V, N).
        known: Landmarks that are hidden, bool, and their weights, shape (B, N) each; or neither, with no rows.
        numbers: What confidences are multiplied by, 0 for equal weights; pixels per millimetre of the frame of
            reference; and whether weights are relative to the size of the face.
        start: Output: the parameters to begin with.
        found: Output: view (B,), visible (B, N), weight (B, N), landmarks (B, N, 2), to_reference and to_image
            (B, 2, 2).
    """
    scale, euler, translation, local = start
    view, _, _, landmarks, to_reference, to_image = found
    rotation, points = np.empty((3, 3), np.float32), np.empty((3, pdm.mean.shape[1]), np.float32)
    for b in range(len(scale)):
        copy_or_stand_in(given, active[b], start, b)
        view[b] = nearest_view(experts[0], euler[b])
        weigh(experts, known, numbers, scale[b], found, b)
        to_matrix(euler[b], rotation)
        set_points(pdm.mean, pdm.modes, local[b], points)
        show(points, scale[b], rotation, translation[b], landmarks[b])
        align(landmarks[b], points, numbers[1], to_reference[b], to_image[b])


@compiled_exactly
def copy_or_stand_in(given: Params, active: bool, start: Params, row: int) -> None:
    """A row of parameters; where it has failed, parameters that any image can be read at."""
    scale, euler, translation, local = start
    if active:
        scale[row], euler[row] = given.scale[row], given.euler[row]
        translation[row], local[row] = given.translation[row], given.local[row]
    else:
        scale[row], euler[row], translation[row], local[row] = 1, 0, 0, 0


@compiled_exactly
def nearest_view(centers: Array, euler: Array) -> int:
    """`Experts.nearest_view` of a face."""
    nearest, least = 0, f32(np.inf)
    for v in range(len(centers)):
        x, y, z = euler[0] - centers[v, 0], euler[1] - centers[v, 1], euler[2] - centers[v, 2]
        distance = x * x + y * y + z * z
        if distance < least:
            nearest, least = v, distance
    return nearest


@compiled_exactly
def weigh(experts: Arrays, known: Arrays, numbers: Arrays, scale: float, found: Arrays, row: int) -> None:
    """Which landmarks of a face can be seen, and their weights."""
    (_, seen, confidence), (hidden, given), (factor, size, any_size) = experts, known, numbers
    view, visible, weight = found[0][row], found[1][row], found[2][row]
    for i in range(len(weight)):
        visible[i] = seen[view, i] and not (len(hidden) > 0 and hidden[row, i])
        weight[i] = f32(1) if visible[i] else f32(0)
        if factor != 0:
            weight[i] *= factor * confidence[view, i]
        if len(given) > 0:
            weight[i] *= given[row, i]
        if any_size:
            weight[i] *= (size / scale) * (size / scale)


@compiled_exactly
def align(landmarks: Array, points: Array, size: float, to_reference: Array, to_image: Array) -> None:
    """`similarity_between` landmarks (N, 2) and points (3, N) of so many pixels per millimetre, and its inverse."""
    count = len(landmarks)
    mean_x, mean_y, mean_u, mean_v = 0.0, 0.0, 0.0, 0.0
    for i in range(count):
        mean_x += landmarks[i, 0]
        mean_y += landmarks[i, 1]
        mean_u += size * points[0, i]
        mean_v += size * points[1, i]
    mean_x, mean_y, mean_u, mean_v = mean_x / count, mean_y / count, mean_u / count, mean_v / count
    dot, cross, source, target = 0.0, 0.0, 0.0, 0.0
    for i in range(count):
        x, y = landmarks[i, 0] - mean_x, landmarks[i, 1] - mean_y
        u, v = size * points[0, i] - mean_u, size * points[1, i] - mean_v
        dot += x * u + y * v
        cross += x * v - y * u
        source += x * x + y * y
        target += u * u + v * v
    scale = math.sqrt(target / source) / math.sqrt(dot * dot + cross * cross)
    cosine, sine = f32(scale * dot), f32(scale * cross)
    squared = cosine * cosine + sine * sine
    to_reference[0, 0], to_reference[0, 1], to_reference[1, 0], to_reference[1, 1] = cosine, -sine, sine, cosine
    cosine, sine = cosine / squared, sine / squared
    to_image[0, 0], to_image[0, 1], to_image[1, 0], to_image[1, 1] = cosine, sine, -sine, cosine
