"""Training pictures for joint experts: faces seen as a fit sees them, not quite where and how large it believes."""

from dataclasses import dataclass

import torch
from torch import Tensor

from clnf_torch.geometry.sampling import affine_cells, pad_with_black, read_bilinear
from clnf_torch.geometry.similarity import invert_similarity, similarity_between
from clnf_torch.models.pdm import PDM
from clnf_torch.models.shape_params import ShapeParams
from clnf_torch.training.crops import FaceCrops
from clnf_torch.training.dice import Dice


@dataclass(frozen=True, kw_only=True)
class Aim:
    """How far a fit may be off when it asks its experts: standard deviations."""

    turn: float  # in the plane of the picture, radians
    size: float  # logarithm of the ratio
    shift: float  # each coordinate, millimetres
    stretch: float = 0.06  # width against height: logarithm of the ratio; heads are turned, and faces differ


@dataclass(frozen=True)
class Stage:
    """Faces to draw from, and the upright frame of each."""

    levels: tuple[Tensor, ...]  # the crops (F, S, S), then halved again and again; each with a black margin
    landmarks: Tensor  # (F, N, 2) in pixels of the crops
    middle: Tensor  # (F, 2) of the fitted shape, pixels of the crops
    to_crop: Tensor  # (F, 2, 2) from millimetres of the upright face to pixels

    @classmethod
    def of(cls, crops: FaceCrops, pdm: PDM, params: ShapeParams, levels: int) -> "Stage":
        """Faces with their fitted parameters, in as many sharpnesses."""
        shapes = pdm.landmarks(params)
        upright = similarity_between(shapes, pdm.reference_landmarks(params.local, 1.0))
        pictures = [crops.grey.float()]
        for _ in range(levels - 1):
            pictures.append(torch.nn.functional.avg_pool2d(pictures[-1][:, None], 2)[:, 0])
        padded = tuple(pad_with_black(picture.round().to(torch.uint8)) for picture in pictures)
        return cls(padded, crops.landmarks, shapes.mean(1).float(), invert_similarity(upright).float())

    def __len__(self) -> int:
        """Number of faces F."""
        return len(self.landmarks)


@dataclass(frozen=True)
class Samples:
    """Pictures of B faces and where their landmarks are."""

    grey: Tensor  # (B, A, A)
    landmarks: Tensor  # (B, N, 2) in pixels of the picture


def draw_samples(stage: Stage, rows: Tensor, aim: Aim, zoom: float, width: int, mirror: Tensor, dice: Dice) -> Samples:
    """The faces of some rows, each misplaced at random, half of them mirrored.

    Args:
        stage: The faces.
        rows: Which of them, int64, shape (B,).
        aim: How far they are misplaced.
        zoom: Of the pictures, pixels per millimetre.
        width: Side A of the pictures, pixels.
        mirror: Each landmark's partner on the other side of the face, int64, shape (N,).
        dice: Decides.
    """
    count = len(rows)
    flip = dice.chance(0.5, count)
    linear = stage.to_crop[rows] @ _misplaced(aim, flip, dice) / zoom  # (B, 2, 2) from pixels of the picture to crop
    shift = torch.einsum("bij,bj->bi", stage.to_crop[rows], dice.normal(aim.shift, count, 2))
    half = (width - 1) / 2
    corner = stage.middle[rows] + shift - half * linear.sum(-1)
    grey = _read(stage, rows, torch.cat((linear, corner[..., None]), -1), width, dice)
    landmarks = torch.einsum("bij,bnj->bni", torch.linalg.inv(linear), stage.landmarks[rows] - corner[:, None])
    return Samples(grey, torch.where(flip[:, None, None], landmarks[:, mirror], landmarks))


def _misplaced(aim: Aim, flip: Tensor, dice: Dice) -> Tensor:
    """Maps (B, 2, 2) of the plane: turned, resized, stretched, and mirrored where `flip` is set."""
    count = len(flip)
    turn, size, stretch = (dice.normal(deviation, count) for deviation in (aim.turn, aim.size, aim.stretch))
    cosine, sine = turn.cos(), turn.sin()
    across = (size + stretch / 2).exp() * torch.where(flip, -1.0, 1.0)
    down = (size - stretch / 2).exp()
    return torch.stack((cosine * across, -sine * down, sine * across, cosine * down), -1).unflatten(-1, (2, 2))


def _read(stage: Stage, rows: Tensor, matrix: Tensor, width: int, dice: Dice) -> Tensor:
    """Pictures (B, A, A) through affine maps (B, 2, 3) to the crops, each from a crop of a random sharpness."""
    level = dice.choice(len(stage.levels), len(rows))
    pictures = matrix.new_empty(len(rows), width, width)
    for number, padded in enumerate(stage.levels):
        these = (level == number).nonzero().squeeze(-1)
        halved = matrix[these] / 2**number  # pixel centres: x of the crop is (x + 0.5) / 2^k - 0.5 of its k-th halving
        halved[..., 2] += 0.5 / 2**number - 0.5
        pictures[these] = read_bilinear(padded, rows[these], affine_cells(halved, width), torch.float32)
    return pictures
