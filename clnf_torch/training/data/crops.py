"""Face crops: squares around annotated faces, their image pyramids, and which faces are held out."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from clnf_torch.files.reading import InputError
from clnf_torch.geometry.gray import to_gray
from clnf_torch.geometry.landmarks68 import NUM_LANDMARKS
from clnf_torch.geometry.pyramid import halve
from clnf_torch.geometry.records import Rows
from clnf_torch.training.data.annotations import AnnotationError, Annotations

# Faces may be cut off by their image, up to so many times its longer side
LARGEST = 2.0


class NoFacesError(InputError, ValueError):
    """Images that show nothing to learn from; its text is one line."""


@dataclass(frozen=True, kw_only=True)
class FaceCrops(Rows):
    """Faces cut out of their images, one per row."""

    gray: Tensor  # (F, S, S) uint8
    landmarks: Tensor  # (F, 68, 2) float32, pixels of the crop (x, y), pixel centres at whole numbers from 0


def cut_crops(
    annotations: Annotations,
    read: Callable[[Path], Tensor],
    side: int = 352,
    margin: float = 2.0,
    done: Callable[[int], None] | None = None,
) -> FaceCrops:
    """Cuts a square around every face and brings it to one size.

    Args:
        annotations: F faces.
        read: Gives the image of a file, RGB, uint8, shape (3, H, W).
        side: Of the crops, S pixels.
        margin: The square's side is so many times the longer side of the landmarks' extent.
        done: Told after each face that one more is done.

    Returns:
        The faces, F rows. What lies outside an image is black.

    Raises:
        AnnotationError: A face is larger than its image can show, or lies outside it.
    """
    faces = len(annotations)
    black = torch.zeros(faces, side, side, dtype=torch.uint8)
    crops = FaceCrops(gray=black, landmarks=torch.zeros(faces, NUM_LANDMARKS, 2))
    for row, (path, landmarks) in enumerate(zip(annotations.images, annotations.landmarks, strict=True)):
        gray = to_gray(read(path)[None])[0]
        left, top, length = square_around(landmarks, margin)
        if length > LARGEST * margin * max(gray.shape):
            raise AnnotationError(f"{path}: landmarks extend over {length / margin:.0f} pixels, far beyond the image")
        if not _any_inside(landmarks, *gray.shape):
            (height, width), (x, y) = gray.shape, landmarks.mean(0).tolist()
            raise AnnotationError(
                f"{path}: expected landmarks in the image, {width} x {height} pixels, found all outside, around "
                f"({x:.0f}, {y:.0f}); were they annotated in it, at this size?"
            )
        crops.gray[row] = cut_square(gray, left, top, length, side)
        crops.landmarks[row] = to_crop(landmarks, left, top, length, side)
        if done:
            done(1)
    return crops


def _any_inside(landmarks: Tensor, height: int, width: int) -> bool:
    """Whether an image shows one of the landmarks (N, 2) at least."""
    return bool(((landmarks >= -0.5) & (landmarks < landmarks.new_tensor([width, height]) - 0.5)).all(-1).any())


def square_around(landmarks: Tensor, margin: float) -> tuple[int, int, int]:
    """Left and upper pixel and side, whole pixels, of a square around the middle of the extent of landmarks (N, 2)."""
    low, high = landmarks.amin(0).double(), landmarks.amax(0).double()
    length = max(1, round(margin * float((high - low).amax())))
    left, top = ((low + high - length + 1) / 2).round().long().tolist()
    return left, top, length


def cut_square(gray: Tensor, left: int, top: int, length: int, side: int) -> Tensor:
    """A square of an image (H, W), uint8, resampled without aliasing to (side, side); black outside the image."""
    inside = gray[max(top, 0) : max(top + length, 0), max(left, 0) : max(left + length, 0)]
    square = torch.zeros(length, length)
    x, y = max(-left, 0), max(-top, 0)
    square[y : y + inside.shape[0], x : x + inside.shape[1]] = inside
    small = F.interpolate(square[None, None], size=(side, side), mode="bilinear", antialias=True)
    return small[0, 0].round().clamp(0, 255).to(torch.uint8)


def to_crop(landmarks: Tensor, left: int, top: int, length: int, side: int) -> Tensor:
    """Landmarks (..., 2) in pixels of the image, in pixels of the crop: outer edges of pixels fall on each other."""
    return (landmarks - landmarks.new_tensor([left, top]) + 0.5) * (side / length) - 0.5


def image_pyramid(gray: Tensor, levels: int) -> tuple[Tensor, ...]:
    """The image pyramid of images (F, S, S), in their number type: so many levels, each halved from the one before."""
    images = [gray]
    for _ in range(levels - 1):
        images.append(halve(images[-1]))
    return tuple(images)


def to_pyramid_level(positions: Tensor, level: int) -> Tensor:
    """Positions of an image at a level of its pyramid: outer edges of pixels fall on each other."""
    return (positions + 0.5) / 2**level - 0.5


def held_out_faces(rotation: Tensor, each: int) -> Tensor:
    """Every so-many-th face (F,) bool, in the order of absolute yaw: every view has its share."""
    held = torch.zeros(len(rotation), dtype=torch.bool, device=rotation.device)
    held[rotation[:, 1].abs().argsort(stable=True)[each // 2 :: each]] = True
    return held


def split_held_out(held: Tensor) -> tuple[Tensor, Tensor]:
    """Rows (K,) to train on and to judge by; where no face (F,) is held out, or all are, both are all of them."""
    if held.all() or not held.any():
        every = torch.arange(len(held), device=held.device)
        return every, every
    return (~held).nonzero().squeeze(-1), held.nonzero().squeeze(-1)


def repeated(faces: FaceCrops, count: int) -> FaceCrops:
    """All faces so many times."""
    return faces[torch.arange(len(faces), device=faces.gray.device).repeat(count)]


def mirrored(landmarks: Tensor, mirror: Tensor, width: int) -> Tensor:
    """Landmarks (F, N, 2) of crops so wide in the mirrored crops; `mirror` (N,) has each one's partner."""
    return landmarks[:, mirror] * landmarks.new_tensor([-1, 1]) + landmarks.new_tensor([width - 1, 0])
