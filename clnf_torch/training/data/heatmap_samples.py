"""Training samples of heatmap experts: faces with pose jitter, as a fit that is still off would crop them."""

from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import Tensor

from clnf_torch.fitting.initialise import params_from_box
from clnf_torch.geometry.sampling import cells_at, pad_with_black, read_bilinear
from clnf_torch.geometry.similarity import invert_similarity, similarity_between
from clnf_torch.models.pdm import PDM, ShapeParams
from clnf_torch.training.augmentation.pose_warp import PoseWarp, warp_faces
from clnf_torch.training.augmentation.random import Sampler
from clnf_torch.training.data.boxes import boxes_to_start_from
from clnf_torch.training.data.crops import FaceCrops, image_pyramid, to_pyramid_level

# Faces that are worked on together
BLOCK = 256


@dataclass(frozen=True, kw_only=True)
class PoseJitter:
    """Errors of a fit when it evaluates its experts: standard deviations."""

    rotation: float  # in the plane of the image, radians
    scale: float  # logarithm of the ratio
    translation: float  # each coordinate, millimetres
    aspect: float = 0.06  # width to height, logarithm of the ratio: heads are turned, and faces differ
    from_box: float = 0.0  # probability that the pose is known from a box alone, as at the start of a fit
    far_off: float = 0.0  # probability that such a box is far off the face; see `boxes_to_start_from`


@dataclass(frozen=True)
class FaceDataset:
    """Faces to sample from, with their fitted parameters."""

    levels: tuple[Tensor, ...]  # image pyramid of the crops (F, S, S); each level with a black margin
    landmarks: Tensor  # (F, N, 2) in pixels of the crops
    pdm: PDM  # float32
    params: ShapeParams  # of the faces in their crops

    @classmethod
    def of(cls, crops: FaceCrops, pdm: PDM, params: ShapeParams, levels: int) -> "FaceDataset":
        """Faces with their fitted parameters, and image pyramids of so many levels."""
        # In blocks, as numbers of floating point take four times the memory
        blocks = [_padded_pyramid(gray, levels) for gray in crops.gray.split(BLOCK)]
        padded = tuple(torch.cat(level) for level in zip(*blocks, strict=True))
        single = ShapeParams.from_globals(params.globals.float(), params.local.float())
        return cls(padded, crops.landmarks, deepcopy(pdm).float(), single)

    def __len__(self) -> int:
        """Number of faces F."""
        return len(self.landmarks)


def _padded_pyramid(gray: Tensor, levels: int) -> list[Tensor]:
    """Image pyramid of crops (B, S, S), uint8, so many levels, each with a black margin."""
    return [pad_with_black(images.round().to(torch.uint8)) for images in image_pyramid(gray.float(), levels)]


@dataclass(frozen=True)
class Samples:
    """Images of B faces and where their landmarks are."""

    gray: Tensor  # (B, A, A)
    landmarks: Tensor  # (B, N, 2) in pixels of the image


@torch.no_grad()
def draw_samples(
    dataset: FaceDataset,
    rows: Tensor,
    jitter: PoseJitter,
    warp: PoseWarp,
    zoom: float,
    width: int,
    mirror: Tensor,
    sampler: Sampler,
) -> Samples:
    """The faces of some rows, each with a random pose warp and pose jitter, half of them mirrored.

    Args:
        dataset: The faces.
        rows: Which of them, int64, shape (B,).
        jitter: Of their poses.
        warp: Of their poses and shapes.
        zoom: Of the images, pixels per millimetre.
        width: Side A of the images, pixels.
        mirror: Each landmark's partner on the other side of the face, int64, shape (N,).
        sampler: Gives the random numbers.
    """
    count = len(rows)
    faces = warp_faces(dataset.pdm, dataset.params[rows], dataset.landmarks[rows], warp, sampler)
    believed = _from_boxes(dataset.pdm, faces.landmarks, jitter.far_off, sampler).where(
        sampler.bernoulli(jitter.from_box, count), faces.params
    )
    shapes = dataset.pdm.landmarks(believed)
    upright = similarity_between(shapes, dataset.pdm.reference_landmarks(believed.local, 1.0))
    # (B, 2, 2) from millimetres of the upright face to pixels of the crop
    to_crop = invert_similarity(upright)
    flip = sampler.bernoulli(0.5, count)
    # (B, 2, 2) from pixels of the image to the crop
    linear = to_crop @ _jittered(jitter, flip, sampler) / zoom
    shift = torch.einsum("bij,bj->bi", to_crop, sampler.normal(jitter.translation, count, 2))
    corner = shapes.mean(1) + shift - (width - 1) / 2 * linear.sum(-1)
    positions, landmarks = faces.windows(linear, corner, width)
    gray = _read(dataset, rows, positions, sampler)
    return Samples(gray, torch.where(flip[:, None, None], landmarks[:, mirror], landmarks))


def _from_boxes(pdm: PDM, landmarks: Tensor, far_off: float, sampler: Sampler) -> ShapeParams:
    """The pose at the start of a fit: the mean face from the front, in a perturbed box."""
    boxes = boxes_to_start_from(landmarks, far_off, sampler)
    return params_from_box(pdm, boxes, boxes.new_zeros(len(boxes), 3))


def _jittered(jitter: PoseJitter, flip: Tensor, sampler: Sampler) -> Tensor:
    """Maps (B, 2, 2) of the plane: turned, resized, stretched, and mirrored where `flip` is set."""
    count = len(flip)
    deviations = (jitter.rotation, jitter.scale, jitter.aspect)
    turn, size, stretch = (sampler.normal(deviation, count) for deviation in deviations)
    cosine, sine = turn.cos(), turn.sin()
    across = (size + stretch / 2).exp() * torch.where(flip, -1.0, 1.0)
    down = (size - stretch / 2).exp()
    return torch.stack((cosine * across, -sine * down, sine * across, cosine * down), -1).unflatten(-1, (2, 2))


def _read(dataset: FaceDataset, rows: Tensor, positions: Tensor, sampler: Sampler) -> Tensor:
    """Images (B, A, A) at positions (B, A, A, 2) of the crops, each from a random level of the pyramid."""
    level = sampler.integers(len(dataset.levels), len(rows))
    images = positions.new_empty(positions.shape[:-1])
    for number, padded in enumerate(dataset.levels):
        these = (level == number).nonzero().squeeze(-1)
        cells = cells_at(to_pyramid_level(positions[these], number))
        images[these] = read_bilinear(padded, rows[these], cells, torch.float32)
    return images
