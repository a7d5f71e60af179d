"""Eyes of photographs as 28 landmarks: by the hand-set points of templates, and by MediaPipe's face mesh.

Eyes of rendered faces are known exactly, but a network that saw no others misses irises in photographs.
"""

from collections.abc import Callable, Iterable
from pathlib import Path

import torch
from torch import Tensor

from clnf_torch.detection import load_face_detector
from clnf_torch.geometry.gray import to_gray
from clnf_torch.geometry.landmarks28 import CORNERS
from clnf_torch.geometry.polyline import along
from clnf_torch.geometry.records import join_rows
from clnf_torch.geometry.similarity import invert_similarity
from clnf_torch.training.augmentation.moved_iris import move_irises
from clnf_torch.training.augmentation.random import Sampler
from clnf_torch.training.data.crops import FaceCrops, cut_square, repeated, square_around, to_crop
from clnf_torch.training.eyes.parts import mirrored_eye, photographed_regions
from clnf_torch.training.free.mesh_teacher import mesh_vertices, rows_found
from clnf_torch.training.free.self_training import cut_portraits
from clnf_torch.training.free.templates import held_out, landmarks_of_templates, read_points
from clnf_torch.training.synthetic.eyeball_mesh import IRIS_ANGLES, PUPIL_ANGLES

EYE_SOURCE = "eyes of portraits are those of MediaPipe's face mesh, of the PyPI package mediapipe 0.10.14"
Table = tuple[tuple[int, ...], tuple[int, ...], int, tuple[int, int]]
# Pixels of the side of a photograph's crop, and that side over the face's
SIDE, MARGIN = 512, 2.0
# How often each eye of a template is trained on as it is, and with its iris moved
PLAIN, MOVED = 4, 8
# Where the landmarks of the lids lie along them, as shares of their length: means of rendered eyes, the upper lid from
# the outer corner on, the lower one from the inner corner on
UPPER_SHARES = (0.22, 0.34, 0.49, 0.63, 0.87)
LOWER_SHARES = (0.17, 0.38, 0.52, 0.66, 0.78)
# Radius of a pupil over its iris's: mean of rendered eyes
PUPIL = 0.42
# Of both eyes: points of a template along the upper lid from the outer corner on, along the lower one on to it, at the
# middle of the pupil, and at the iris's edges on the left and right
TEMPLATE = (
    ((18, 19, 20, 21, 22), (22, 30, 29, 28, 18), 0, (4, 8)),
    ((27, 26, 25, 24, 23), (23, 31, 32, 33, 27), 1, (12, 16)),
)
# Vertices of the mesh, likewise
MESH = (
    ((33, 246, 161, 160, 159, 158, 157, 173, 133), (133, 155, 154, 153, 145, 144, 163, 7, 33), 468, (469, 471)),
    ((263, 466, 388, 387, 386, 385, 384, 398, 362), (362, 382, 381, 380, 374, 373, 390, 249, 263), 473, (474, 476)),
)


def photographed_eyes(
    templates: Path, portraits: Iterable[Path], read: Callable[[Path], Tensor], taught: bool, seed: int
) -> FaceCrops:
    """Eyes of photographs to train on, some of them with their irises moved.

    Args:
        templates: Folder of photographs with ``templates.npz``, of which those of `held_out` are left out.
        portraits: Files of other photographs of faces.
        read: Gives the image of a file, RGB, uint8, shape (3, H, W).
        taught: Whether the portraits have a part in it, with what MediaPipe's face mesh finds.
        seed: Of the moves.

    Returns:
        See `photographed_regions`.

    Raises:
        AnnotationError: There are no templates, or bad ones.
        ModuleNotFoundError: The package mediapipe is not installed, and wanted.
        OSError: A file cannot be read.
        ValueError: MediaPipe finds no face in the templates.
    """
    sampler = Sampler(torch.Generator().manual_seed(seed), torch.device("cpu"))
    images, points = read_points(templates)
    shown = (~held_out(len(images))).nonzero()[:, 0].tolist()
    faces = [_cut_template(read(images[row]), points[row]) for row in shown]
    gray, eyes = (torch.stack(each) for each in zip(*faces, strict=True))
    known = photographed_regions(gray, eyes)
    found = [repeated(known, PLAIN), move_irises(repeated(known, MOVED), sampler)]
    if taught:
        unknown = (read(path) for path in portraits if path not in images)
        others = cut_portraits(unknown, load_face_detector("blazeface"), SIDE)
        seen = photographed_regions(others.gray, EyeTeacher(gray, eyes).eyes(others.gray))
        found += [seen, move_irises(seen, sampler)]
    return join_rows(*found)


def _cut_template(image: Tensor, points: Tensor) -> tuple[Tensor, Tensor]:
    """The crop (S, S) of a photograph (3, H, W), and the eyes (2, 28, 2) by the points (189, 2) in it."""
    left, top, length = square_around(landmarks_of_templates(points[None])[0], MARGIN)
    crop = cut_square(to_gray(image[None])[0], left, top, length, SIDE)
    return crop, to_crop(template_eyes(points[None])[0], left, top, length, SIDE)


def template_eyes(points: Tensor) -> Tensor:
    """Both eyes (F, 2, 28, 2) by the points (F, 189, 2) of templates."""
    return _eyes(points, TEMPLATE)


class EyeTeacher:
    """Finds both eyes of photographs by MediaPipe's face mesh, each landmark moved by a constant within the eye.

    Args:
        gray: Crops of photographs with hand-set points, on the CPU, shape (F, S, S), uint8.
        eyes: Their eyes, from `template_eyes`, pixels of the crops, shape (F, 2, 28, 2).

    Raises:
        ModuleNotFoundError: The package mediapipe is not installed.
        ValueError: No face is found.
    """

    def __init__(self, gray: Tensor, eyes: Tensor) -> None:
        found = _eyes(mesh_vertices(gray), MESH)
        known = rows_found(found)
        found = _as_left(found[known])
        away = (_as_left(eyes[known].to(found)) - found) @ _to_unit(found).mT
        self._offset = away.flatten(0, 1).mean(0)

    def eyes(self, gray: Tensor) -> Tensor:
        """Both eyes (F, 2, 28, 2) of crops (F, S, S), uint8, pixels, float32; NaN where there is no face."""
        found = _as_left(_eyes(mesh_vertices(gray.cpu()), MESH))
        return _as_left(found + self._offset @ invert_similarity(_to_unit(found)).mT).float().to(gray.device)


def _eyes(points: Tensor, tables: tuple[Table, Table]) -> Tensor:
    """Both eyes (F, 2, 28, 2) by points (F, P, 2)."""
    left, right = tables
    mirrored = points * points.new_tensor([-1, 1])
    return torch.stack((_eye(points, left), mirrored_eye(_eye(mirrored, right), 0.0)), 1)


def _eye(points: Tensor, table: Table) -> Tensor:
    """The eye (F, 28, 2) further left."""
    upper, lower, pupil, edges = table
    first, last = points[:, upper[0]], points[:, upper[-1]]
    lids = [
        along(points[:, list(line)], points.new_tensor(shares))
        for line, shares in ((upper, UPPER_SHARES), (lower, LOWER_SHARES))
    ]
    middle = points[:, pupil, None]
    one, other = (points[:, edge] for edge in edges)
    radius = torch.linalg.vector_norm(one - other, dim=-1)[:, None, None] / 2
    axis = (last - first) / torch.linalg.vector_norm(last - first, dim=-1, keepdim=True)
    axes = torch.stack((axis, torch.stack((-axis[:, 1], axis[:, 0]), -1)), 1)  # (F, 2, 2) rows: along, down
    rings = [
        middle + share * radius * torch.stack((angles.cos(), angles.sin()), -1) @ axes
        for share, angles in ((1, points.new_tensor(IRIS_ANGLES)), (PUPIL, points.new_tensor(PUPIL_ANGLES)))
    ]
    return torch.cat((rings[0], first[:, None], lids[0], last[:, None], lids[1], rings[1]), 1)


def _as_left(eyes: Tensor) -> Tensor:
    """Both eyes (F, 2, 28, 2), the one further right mirrored; and the way back."""
    left, right = eyes.unbind(1)
    return torch.stack((left, mirrored_eye(right, 0.0)), 1)


def _to_unit(eyes: Tensor) -> Tensor:
    """Scaled rotations (F, 2, 2, 2) that make eyes (F, 2, 28, 2) lie level, one unit wide."""
    first, last = (eyes[:, :, corner] for corner in CORNERS)
    along_x, along_y = ((last - first) / (last - first).square().sum(-1, keepdim=True)).unbind(-1)
    return torch.stack((along_x, along_y, -along_y, along_x), -1).unflatten(-1, (2, 2))
