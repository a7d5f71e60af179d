"""Templates of the Face Research Lab London Set as 68 landmarks: 189 points of a face, set by hand on photographs."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from clnf_torch.geometry.landmarks68 import NUM_LANDMARKS
from clnf_torch.geometry.polyline import along
from clnf_torch.training.data.annotations import MOST_PIXELS, AnnotationError, Annotations, read_arrays

FILE, NUM_POINTS = "templates.npz", 189
# Every so manieth template calibrates and judges what the others train
HELD_OUT = 3
# Landmarks at the mean of points of the template: corners of the eyes, mouth, nose, ends of the brows, chin
AT_POINTS = {
    8: (129,),
    17: (71,), 18: (72,), 21: (75,), 22: (78,), 25: (81,), 26: (82,),
    27: (50, 51, 56, 57), 30: (54, 60),
    # The nose's base: 55 is the lower edge of its tip, 170 and 172 lie on the lip
    31: (64,), 32: (64, 55, 170, 170), 33: (55, 55, 170, 172), 34: (69, 55, 172, 172), 35: (69,),
    36: (18,), 39: (22,), 42: (23,), 45: (27,),
    48: (87,), 49: (88,), 50: (89,), 51: (90,), 52: (91,), 53: (92,), 54: (93,),
    55: (108,), 56: (107,), 57: (106,), 58: (105,), 59: (104,),
    60: (87, 87, 94, 99), 61: (95,), 62: (96,), 63: (97,), 64: (93, 93, 98, 103), 65: (102,), 66: (101,), 67: (100,),
}  # fmt: skip
# Landmarks at equal distances along lines through points, without the ends: jaw, brows, upper and lower lids
ALONG_LINES = (
    ((0, 1, 2, 3, 4, 5, 6, 7), (109, 110, 111, 125, 126, 127, 128, 129)),
    ((16, 15, 14, 13, 12, 11, 10, 9), (112, 113, 114, 133, 132, 131, 130, 129)),
    ((19, 20), (72, 73, 74, 75)), ((23, 24), (78, 79, 80, 81)),
    ((37, 38), (18, 19, 20, 21, 22)), ((41, 40), (18, 28, 29, 30, 22)),
    ((43, 44), (23, 24, 25, 26, 27)), ((47, 46), (23, 31, 32, 33, 27)),
)  # fmt: skip
# The jaw begins at a point, at the ear; brows and lids between two
BEGIN_AT_POINT = 8
# Landmarks on the ridge of the nose between its first and its tip
RIDGE = ((28, 1 / 3), (29, 2 / 3))


def read_templates(folder: Path) -> Annotations:
    """The photographs of a folder that have templates, with 68 landmarks each, of no split; see `read_points`."""
    images, points = read_points(folder)
    return Annotations(images=images, landmarks=landmarks_of_templates(points), split=("",) * len(images))


def held_out(count: int) -> Tensor:
    """Which of so many templates nothing is trained on: every third, (F,) bool."""
    return torch.arange(count) % HELD_OUT == 1


def read_points(folder: Path) -> tuple[tuple[Path, ...], Tensor]:
    """The photographs of a folder that have templates, and their points.

    Args:
        folder: It holds ``templates.npz`` with ``names`` (F,) of photographs NAME.jpg beside it, and ``points``
            (F, 189, 2) in pixels from 0.

    Returns:
        F files, as ``names`` lists them, and points (F, 189, 2), float32.

    Raises:
        AnnotationError: There are no templates, or bad ones; says which and where.
        OSError: A file cannot be read.
    """
    path = folder / FILE
    arrays = read_arrays(path)
    names, points = (arrays.get(key) for key in ("names", "points"))
    if names is None or names.dtype.kind != "U" or names.ndim != 1:
        raise AnnotationError(f"{path}: names: expected a list of texts, found {_found(names)}")
    if points is None or points.dtype.kind != "f" or points.shape != (len(names), NUM_POINTS, 2):
        raise AnnotationError(
            f"{path}: points: expected floating point numbers ({len(names)}, {NUM_POINTS}, 2), found {_found(points)}"
        )
    if not (finite := (np.abs(points) < MOST_PIXELS).all((1, 2))).all():
        raise AnnotationError(f"{path}: points of {str(names[int(finite.argmin())])!r} are not all finite")
    return tuple(folder / f"{name}.jpg" for name in names.tolist()), torch.from_numpy(points).float()


def _found(array: np.ndarray | None) -> str:
    """What an array of a file is."""
    return "nothing" if array is None else f"{array.dtype} of shape {array.shape}"


def landmarks_of_templates(points: Tensor) -> Tensor:
    """The landmarks of templates, where annotators of the 68 would set them.

    Args:
        points: (x, y) of the templates, pixels, shape (F, 189, 2).

    Returns:
        The landmarks, pixels, shape (F, 68, 2).
    """
    landmarks = points.new_full((len(points), NUM_LANDMARKS, 2), torch.nan)
    for landmark, chosen in AT_POINTS.items():
        landmarks[:, landmark] = points[:, list(chosen)].mean(1)
    for wanted, line in ALONG_LINES:
        from_point = len(wanted) == BEGIN_AT_POINT
        count = len(wanted) + (1 if from_point else 2)
        found = along(points[:, list(line)], torch.linspace(0, 1, count).to(points))
        landmarks[:, list(wanted)] = found[:, :-1] if from_point else found[:, 1:-1]
    for landmark, share in RIDGE:
        landmarks[:, landmark] = torch.lerp(landmarks[:, 27], landmarks[:, 30], share)
    return landmarks
