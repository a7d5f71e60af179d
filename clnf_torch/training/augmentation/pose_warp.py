"""Augmentation by pose: annotated faces warped to other head rotations and other face shapes.

The shape model says where the landmarks of such a face would be, a thin-plate spline takes the image along. A few
hundred annotated faces so become as many as a training needs, turned heads among them, which are rare in photographs,
and faces whose sides move each for itself, which are rarer.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from clnf_torch.geometry.thin_plate import ThinPlate
from clnf_torch.models.pdm import PDM, ShapeParams
from clnf_torch.training.augmentation.one_sided import one_sided_shifts
from clnf_torch.training.augmentation.random import Sampler

# Pitch, yaw and roll that no warp exceeds, radians: beyond, images would fold
FARTHEST = (0.5, 0.7, torch.pi)
# Pixels between the knots at which a spline is evaluated; in between it is interpolated
KNOT = 6
# Steps until landmarks are where the interpolated spline takes them; few are not, where images fold
SETTLING = 6


@dataclass(frozen=True, kw_only=True)
class PoseWarp:
    """Standard deviations of the changes of pose and shape, and how many faces are changed."""

    pitch: float = 0.0  # radians
    yaw: float = 0.0  # radians
    shape: float = 0.0  # of each shape coefficient, in standard deviations of the model
    probability: float = 0.7  # that a face is warped at all
    one_sided: float = 0.0  # probability that both sides of a face move each for itself; see `OneSided`


@dataclass(frozen=True)
class WarpedFaces:
    """B faces with other poses and shapes, and how they are sampled from the photographs."""

    params: ShapeParams
    landmarks: Tensor  # (B, N, 2) pixels of their images
    plate: ThinPlate  # from the pixels of their images to those of the photographs: by how much to move
    photographed: Tensor  # (B, N, 2) landmarks, pixels of the photographs

    def windows(self, linear: Tensor, corner: Tensor, width: int) -> tuple[Tensor, Tensor]:
        """Sampling positions of square windows of their images in the photographs.

        Args:
            linear: From pixels of the windows to pixels of the images, shape (B, 2, 2).
            corner: First pixel of each window, pixels of the image, shape (B, 2).
            width: Side A of the windows, pixels.

        Returns:
            Positions (x, y) of the windows' pixels in the photographs, shape (B, A, A, 2), and where in the windows the
            landmarks are then, shape (B, N, 2).
        """
        count = max(2, -(-width // KNOT))
        coarse, fine = (_lattice(width, number).to(linear) for number in (count, width))
        knots = torch.einsum("bij,yxj->byxi", linear, coarse) + corner[:, None, None]
        moved = self.plate.at(knots.flatten(1, 2)).mT.unflatten(-1, (count, count))
        between = torch.nn.functional.interpolate(moved, size=(width, width), mode="bilinear", align_corners=True)
        positions = torch.einsum("bij,yxj->byxi", linear, fine) + corner[:, None, None] + between.movedim(1, -1)
        return positions, self._settled(moved, linear, corner, width)

    def _settled(self, moved: Tensor, linear: Tensor, corner: Tensor, width: int) -> Tensor:
        """Landmarks in the windows, where a spline that is interpolated between knots has taken them."""
        inverse = torch.linalg.inv(linear)
        points = (self.landmarks - corner[:, None]) @ inverse.mT
        for _ in range(SETTLING):
            place = (2 / (width - 1) * points - 1)[:, :, None]
            shift = torch.nn.functional.grid_sample(moved, place, padding_mode="border", align_corners=True)
            found = points @ linear.mT + corner[:, None] + shift.squeeze(-1).mT
            points = points + (self.photographed - found) @ inverse.mT
        return points


def warp_faces(pdm: PDM, params: ShapeParams, landmarks: Tensor, warp: PoseWarp, sampler: Sampler) -> WarpedFaces:
    """Warps faces to random poses and shapes.

    Args:
        pdm: The shape model.
        params: Of the faces, B rows.
        landmarks: Where their landmarks are, pixels, shape (B, N, 2).
        warp: Settings.
        sampler: Gives the random numbers.
    """
    count = len(params)
    warped = sampler.bernoulli(warp.probability, count).to(params.scale)
    pitch, yaw = sampler.normal(warp.pitch, count), sampler.normal(warp.yaw, count)
    turns = torch.stack([pitch, yaw, torch.zeros_like(warped)], -1)
    farthest = torch.maximum(params.rotation.new_tensor(FARTHEST).expand_as(params.rotation), params.rotation.abs())
    rotation = (params.rotation + warped[:, None] * turns).clamp(-farthest, farthest)
    varied = sampler.normal(warp.shape, count, pdm.num_modes) * pdm.variances.sqrt() * warped[:, None]
    other = ShapeParams(params.scale, rotation, params.translation, params.local + varied)
    shifts = pdm.landmarks(other) - pdm.landmarks(params)
    if warp.one_sided:
        moved = sampler.bernoulli(warp.one_sided, count).to(shifts)
        shifts = shifts + moved[:, None, None] * one_sided_shifts(landmarks + shifts, sampler)
    return WarpedFaces(other, landmarks + shifts, ThinPlate.through(landmarks + shifts, -shifts), landmarks)


def _lattice(width: int, count: int) -> Tensor:
    """Positions (x, y) of `count` by `count` places, evenly from the first to the last of `width` pixels."""
    steps = torch.linspace(0, width - 1, count)
    return torch.stack(torch.meshgrid(steps, steps, indexing="xy"), -1)
