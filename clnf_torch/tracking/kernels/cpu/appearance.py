"""Appearance descriptors as loops: a face's crop, read upright and normalised for local contrast."""

from typing import Any

import numpy as np
from torch import Tensor

from clnf_torch.compilation.compiler import Array, Arrays, compiled, f32
from clnf_torch.compilation.threads import arrays, in_threads
from clnf_torch.geometry.kernels.cpu.sampling import whole
from clnf_torch.geometry.kernels.cpu.warps import between


def describe(
    gray: Tensor, image_index: Tensor, landmarks: Tensor, mean: Tensor, side: int, form: tuple[float, int, float, float]
) -> Tensor:
    """`appearance_descriptor`, of crops with this side and form; see `describe_faces`."""
    extent, window, noise, least = form
    found = landmarks.new_empty(len(landmarks), side * side)
    images, points = arrays(gray, mean)
    numbers = f32(extent), window // 2, f32(noise), f32(least)

    def some(faces: Arrays) -> None:
        index, landmarks, found = faces
        describe_faces(images, index, landmarks, points, numbers, found.reshape(-1, side, side))

    in_threads(some, (arrays(image_index, landmarks, found),), len(found))
    return found


@compiled
def describe_faces(
    images: Array, index: Array, landmarks: Array, mean: Array, numbers: tuple[float, int, float, float], found: Array
) -> None:
    """Descriptors of faces.

    Args:
        images: Shape (F, H, W), uint8.
        index: Image of each face, int64, shape (B,).
        landmarks: Pixels, shape (B, N, 2).
        mean: The mean shape, mm, shape (N, 3).
        numbers: Share of the face's larger extent that a crop shows; pixels to each side in a window of the contrast
            normalisation; gray levels below which contrast is not amplified; length below which nothing is seen.
        found: Become the descriptors, shape (B, s, s).
    """
    extent, reach, noise, least = numbers
    for b in range(len(found)):
        read_upright(images[index[b]], landmarks[b], mean, extent, found[b])
        normalise_contrast(found[b], reach, noise, least)


@compiled
def read_upright(image: Array, landmarks: Array, mean: Array, extent: float, found: Array) -> None:
    """The crop of a face as an upright image (s, s), four gray levels for each pixel."""
    size = image.shape
    place, cosine, sine = similarity(mean, landmarks)
    first, step = spread(mean, extent, 2 * len(found))
    found[:] = f32(0)
    for row in range(2 * len(found)):
        down = first[1] + f32(row) * step
        for column in range(2 * len(found)):
            across = first[0] + f32(column) * step
            x, y = cosine * across - sine * down + place[0], sine * across + cosine * down + place[1]
            u, v = np.int64(whole(np.floor(x))), np.int64(whole(np.floor(y)))
            level = between(image, size, 0, u, v, x - np.floor(x), y - np.floor(y))
            found[row // 2, column // 2] += f32(0.25) * level


@compiled
def similarity(mean: Array, landmarks: Array) -> Any:
    """The centre of landmarks, and the first column of the scaled rotation that takes the mean shape to them."""
    source, target = center(mean), center(landmarks)
    dot, cross, own, other = f32(0), f32(0), f32(0), f32(0)
    for n in range(len(mean)):
        a, b = mean[n, 0] - source[0], mean[n, 1] - source[1]
        c, d = landmarks[n, 0] - target[0], landmarks[n, 1] - target[1]
        dot, cross = dot + (a * c + b * d), cross + (a * d - b * c)
        own, other = own + (a * a + b * b), other + (c * c + d * d)
    scale = np.sqrt(other / own) / np.hypot(dot, cross)
    return target, scale * dot, scale * cross


@compiled
def center(points: Array) -> Any:
    """The mean of points (N, 2 or 3), x and y."""
    x, y = f32(0), f32(0)
    for n in range(len(points)):
        x, y = x + points[n, 0], y + points[n, 1]
    return x / f32(len(points)), y / f32(len(points))


@compiled
def spread(mean: Array, extent: float, count: int) -> Any:
    """Where the first of so many pixels along each axis lies from the centre of the mean shape, and the way between."""
    middle = center(mean)
    left, top, right, bottom = mean[0, 0], mean[0, 1], mean[0, 0], mean[0, 1]
    for n in range(len(mean)):
        left, right = min(left, mean[n, 0]), max(right, mean[n, 0])
        top, bottom = min(top, mean[n, 1]), max(bottom, mean[n, 1])
    side = extent * max(right - left, bottom - top)
    step = side / f32(count)
    begin = f32(0.5) * (step - side)
    first = begin + f32(0.5) * (left + right) - middle[0], begin + f32(0.5) * (top + bottom) - middle[1]
    return first, step


@compiled
def normalise_contrast(levels: Array, reach: int, noise: float, least: float) -> None:
    """A crop (s, s) after local contrast normalisation, of mean 0 and length 1; 0 where nothing is seen."""
    local = np.empty_like(levels)
    local_means(levels, reach, local)
    levels -= local
    local_means(levels * levels, reach, local)
    total, squares = f32(0), f32(0)
    for y in range(len(levels)):
        for x in range(len(levels)):
            levels[y, x] /= np.sqrt(local[y, x]) + noise
            total += levels[y, x]
    levels -= total / f32(levels.size)
    for y in range(len(levels)):
        for x in range(len(levels)):
            squares += levels[y, x] * levels[y, x]
    length = np.sqrt(squares)
    # Also where it is not a number
    if length > least:
        levels /= length
    else:
        levels[:] = f32(0)


@compiled
def local_means(levels: Array, reach: int, found: Array) -> None:
    """Means of the windows around the pixels of an image (s, s), cut off at its border."""
    side = len(levels)
    rows = np.zeros_like(levels)
    for y in range(side):
        first, last = max(0, y - reach), min(side, y + reach + 1)
        for other in range(first, last):
            for x in range(side):
                rows[y, x] += levels[other, x] / f32(last - first)
    for y in range(side):
        for x in range(side):
            first, last, total = max(0, x - reach), min(side, x + reach + 1), f32(0)
            for other in range(first, last):
                total += rows[y, other]
            found[y, x] = total / f32(last - first)
