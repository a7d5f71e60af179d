"""Patches for CEN experts: what lies around a landmark of many faces, and how near to the landmark it lies."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from clnf_torch.geometry.sampling import affine_cells, pad_with_black, read_bilinear
from clnf_torch.geometry.similarity import invert_similarity, similarity_between
from clnf_torch.models.patch_experts.patches import cut_patches
from clnf_torch.models.pdm import PDM
from clnf_torch.models.shape_params import ShapeParams
from clnf_torch.training.cen_views import ViewRows
from clnf_torch.training.crops import FaceCrops
from clnf_torch.training.dice import Dice
from clnf_torch.training.sharpness import halved, in_halved
from clnf_torch.training.spoiling import Spoiling

SUPPORT = 11  # side of a patch, reference pixels
AREA = 19  # side of an area, from which all patches are cut
AREAS = 11  # of a face in an epoch: one near its landmark, the others farther away
NEAR, FAR = 1.0, 10.0  # how far: standard deviations, reference pixels


@dataclass(frozen=True)
class UprightFaces:
    """Faces to cut patches from, and the upright reference frame of each."""

    levels: tuple[Tensor, ...]  # crops (F, S, S) uint8, then halved again and again
    landmarks: Tensor  # (F, N, 2) in pixels of the crops
    to_crop: Tensor  # (F, 2, 2) from reference pixels to pixels of the crops
    mirror: Tensor  # (N,) each landmark's partner on the other side of the face

    @classmethod
    def of(
        cls, crops: FaceCrops, pdm: PDM, params: ShapeParams, scale: float, mirror: Tensor, levels: int
    ) -> "UprightFaces":
        """Faces with their fitted parameters, in a frame of `scale` pixels per millimetre, in as many sharpnesses."""
        upright = similarity_between(pdm.landmarks(params), pdm.reference_landmarks(params.local, scale))
        return cls(halved(crops.grey, levels), crops.landmarks, invert_similarity(upright).to(crops.landmarks), mirror)

    def cut(
        self, rows: ViewRows, offsets: Tensor, at: Tensor, level: int, spoiling: Spoiling, dice: Dice, width: int = AREA
    ) -> Tensor:
        """Areas of faces near their landmarks, as the fit would show them to experts.

        Args:
            rows: Which faces, B of them, and which of them mirrored.
            offsets: From each landmark to the area's middle, reference pixels (x, y), shape (B, E, 2).
            at: The landmarks, int64, shape (E,).
            level: Which sharpness.
            spoiling: What happens to the pictures first.
            dice: Decides about that.
            width: Side A of the areas.

        Returns:
            Grey levels, shape (B, E, A, A).
        """
        shrunk = 2**level
        landmarks = in_halved(self.landmarks[rows.face], level)
        grey = spoiling(self.levels[level][rows.face].float(), landmarks, dice)
        linear = self.to_crop[rows.face] / shrunk
        linear = torch.where(rows.flip[:, None, None], linear * linear.new_tensor([-1.0, 1.0]), linear)
        landmarks = torch.where(rows.flip[:, None, None], landmarks[:, self.mirror], landmarks)[:, at]
        corner = landmarks + torch.einsum("bij,bej->bei", linear, offsets - (width - 1) / 2)
        matrix = torch.cat((linear[:, None].expand(-1, len(at), -1, -1), corner[..., None]), dim=-1)
        frame = torch.arange(len(grey), device=grey.device)
        return read_bilinear(pad_with_black(grey), frame, affine_cells(matrix, width), torch.float32)


@dataclass(frozen=True)
class Patches:
    """What E experts are shown, and what they should answer."""

    pixels: Tensor  # (E, P, S * S) minus their mean, divided by their length
    target: Tensor  # (E, P)


def epoch_of_patches(
    faces: UprightFaces, rows: ViewRows, at: Tensor, areas: int, sigma: float, spoiling: Spoiling, dice: Dice
) -> Iterator[Patches]:
    """Every face eleven times: once near each landmark, and ten times farther away; in random order.

    Args:
        faces: The faces.
        rows: Which of them, K, and which mirrored.
        at: The landmark of each expert, int64, shape (E,).
        areas: Per batch and expert; 81 patches are cut from each.
        sigma: Width of the Gaussian around the landmark that the experts should answer with, reference pixels.
        spoiling: What happens to the pictures.
        dice: Decides.
    """
    device = faces.landmarks.device
    order = torch.randperm(len(rows.face) * AREAS, generator=dice.generator).to(device)
    for batch in order.split(areas):
        these = batch // AREAS
        away = torch.where(batch % AREAS == 0, NEAR, FAR)[:, None, None]
        offsets = (dice.normal(1, len(batch), len(at), 2) * away).round()
        level = int(dice.choice(len(faces.levels), 1))
        cut = faces.cut(ViewRows(rows.face[these], rows.flip[these]), offsets, at, level, spoiling, dice)
        pixels = cut_patches(cut, SUPPORT, checkerboard=False)  # (B, E, 81, S * S)
        target = gaussian_maps(offsets, AREA - SUPPORT + 1, sigma).flatten(2)
        yield Patches(pixels.transpose(0, 1).flatten(1, 2), target.transpose(0, 1).flatten(1))


def gaussian_maps(offsets: Tensor, window: int, sigma: float) -> Tensor:
    """What ideal experts answer, (..., R, R): 1 at the landmark, which lies at minus the area's offset (..., 2)."""
    cells = torch.arange(window, dtype=offsets.dtype, device=offsets.device) - (window - 1) / 2
    fading = (-0.5 * ((offsets[..., None] + cells) / sigma).square()).exp()  # (..., 2, R)
    return fading[..., 1, :, None] * fading[..., 0, None, :]
