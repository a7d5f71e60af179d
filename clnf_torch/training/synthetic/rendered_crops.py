"""Rendered faces as annotated crops, to train landmark models on as if they were photographs."""

from collections.abc import Iterable

import torch
from torch import Tensor

from clnf_torch.geometry.gray import to_gray
from clnf_torch.geometry.landmarks68 import INNER_POINTS
from clnf_torch.geometry.polyline import along
from clnf_torch.training.data.crops import FaceCrops, cut_square, square_around, to_crop
from clnf_torch.training.synthetic.face_shards import RenderedFaces

# A face is learned from where nothing hides so much of its inner landmarks
LEAST_VISIBLE = 0.4
# Landmarks of the jaw from either ear to the chin, and the share of that line before the first one: so, and at equal
# distances, those of faces seen from the front are as high as in templates, to 1 % of the chin's depth below the eyes
SIDES, FIRST = (tuple(range(9)), tuple(range(16, 7, -1))), 0.06


def rendered_crops(shards: Iterable[RenderedFaces], side: int, margin: float = 2.0) -> FaceCrops:
    """Squares around rendered faces, with the jaw at equal distances on the visible contour, as annotators set it.

    Args:
        shards: From `read_shards`.
        side: Of the crops, S pixels.
        margin: The square's side is so many times the longer side of the landmarks' extent.

    Returns:
        The faces of which enough can be seen, F rows. What lies outside an image is black.
    """
    gray: list[Tensor] = [torch.zeros(0, side, side, dtype=torch.uint8)]
    landmarks: list[Tensor] = [torch.zeros(0, 68, 2)]
    for faces in shards:
        seen = faces.visible[:, INNER_POINTS].float().mean(1) >= LEAST_VISIBLE
        for image, points in zip(to_gray(faces.images)[seen], even_jaws(faces.contour[seen]), strict=True):
            left, top, length = square_around(points, margin)
            gray.append(cut_square(image, left, top, length, side)[None])
            landmarks.append(to_crop(points, left, top, length, side)[None])
    return FaceCrops(gray=torch.cat(gray), landmarks=torch.cat(landmarks))


def even_jaws(landmarks: Tensor) -> Tensor:
    """Landmarks (F, 68, 2) with those of the jaw at equal distances along it; on the head they are at vertices."""
    even = landmarks.clone()
    for side in SIDES:
        shares = torch.linspace(FIRST, 1, len(side)).to(landmarks)
        even[:, side] = along(landmarks[:, side], shares)
    return even
