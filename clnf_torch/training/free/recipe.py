"""The recipe of a model that anyone may use: rendered faces, hand-set points of a free set, portraits, and no other."""

from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor

from clnf_torch.geometry.records import join_rows
from clnf_torch.models.landmark_model import LandmarkModel
from clnf_torch.models.patch_experts.mesh import LARGE
from clnf_torch.training.augmentation.open_mouth import open_mouths
from clnf_torch.training.augmentation.pose_warp import PoseWarp
from clnf_torch.training.augmentation.random import Sampler
from clnf_torch.training.augmentation.surroundings import with_surroundings
from clnf_torch.training.calibration.refinement import with_refinement
from clnf_torch.training.data.crops import FaceCrops, repeated
from clnf_torch.training.end_to_end import EndToEndConfig
from clnf_torch.training.free.self_training import Agreement, Portraits, annotate
from clnf_torch.training.recipe import (
    COARSE,
    FINE,
    MESH,
    TOGETHER,
    TOGETHER_FROM_AFAR,
    MeshMaker,
    Recipe,
    train_landmark_model,
)
from clnf_torch.training.retraining import retrain_networks
from clnf_torch.training.shape.gaussian import ShapeGaussian
from clnf_torch.training.shape.pdm import ShapeConfig
from clnf_torch.training.trainer import Report

# Channels of its networks, which so have a quarter of the operations of the default model's
SMALL_WIDTHS = (16, 24, 48, 80, 128)
# Scans know depths better than flat landmarks do
SHAPE = ShapeConfig(prior_faces=300.0)
# Photographs of the free sets look into the camera, and do not talk: heads are turned far, and features varied
SCALES = (
    replace(
        COARSE,
        widths=SMALL_WIDTHS,
        steps=3000,
        warp=PoseWarp(pitch=0.25, yaw=0.4, shape=0.6, probability=0.8, one_sided=0.5),
    ),
    replace(
        FINE,
        widths=SMALL_WIDTHS,
        steps=4000,
        warp=PoseWarp(pitch=0.2, yaw=0.35, shape=0.6, probability=0.8, one_sided=0.5),
    ),
)
# A network that begins as MediaPipe's face mesh; another one whose trunk stays it, which has been shown more people
# than there are free photographs of, and forgets none; and a U-Net after both, which errs in other ways
_MESHED = replace(MESH, widths=LARGE, warp=SCALES[0].warp)
MESHED = (
    replace(_MESHED, steps=2200),
    replace(
        _MESHED,
        frozen_trunk=True,
        steps=3000,
        pen_marks=0.7,
        jitter=replace(MESH.jitter, from_box=0.4, far_off=0.0),
        cut_off=0.0,
    ),
    replace(SCALES[1], pen_marks=0.7, weight_decay=0.01),
)


@dataclass(frozen=True, kw_only=True)
class FreeRecipe:
    """How the free model is trained, and how much each kind of face counts."""

    first: Recipe = field(
        default_factory=lambda: Recipe(shape=SHAPE, scales=SCALES, end_to_end=EndToEndConfig(steps=0))
    )
    rounds: int = 3  # of self-training
    again: float = 2.25  # effort of each of them: as many steps as the first training, see `CONTINUED_STEPS`
    end_to_end: EndToEndConfig = field(default_factory=lambda: replace(TOGETHER, steps=400))  # after the last
    templates: int = 8  # times that each is among the faces
    opened: int = 12  # times that each is among them with an open mouth, each time another one
    portraits: int = 4  # times that each one with believed landmarks is among the faces of a round
    agreement: Agreement = field(default_factory=Agreement)

    def meshed(self) -> "FreeRecipe":
        """This recipe with the networks of `MESHED`, each asked from where the one before leads."""
        first = replace(self.first, scales=MESHED, passes=(0, 1, 2))
        return replace(self, first=first, end_to_end=replace(TOGETHER_FROM_AFAR, steps=self.end_to_end.steps))

    def with_effort(self, effort: float, seed: int) -> "FreeRecipe":
        """This recipe with another number of steps, so many times its own, and another seed."""
        first = replace(self.first.with_effort(effort), seed=seed)
        end_to_end = replace(self.end_to_end, steps=round(effort * self.end_to_end.steps))
        return replace(self, first=first, end_to_end=end_to_end)


@dataclass(frozen=True, kw_only=True)
class FreeFaces:
    """What a free model is made of."""

    rendered: FaceCrops
    templates: FaceCrops  # photographs with hand-set points, to train on
    held_out: FaceCrops  # others, to calibrate by
    judges: FaceCrops  # of all kinds, none of them trained on: they tell when the end-to-end steps are done
    portraits: Portraits  # photographs that nobody has annotated
    taught: Tensor | None = None  # their landmarks by a `MeshTeacher`, (F, 68, 2) px, NaN where it finds no face


def train_free_model(
    faces: FreeFaces,
    prior: ShapeGaussian,
    mirror: Tensor,
    recipe: FreeRecipe,
    folder: Path,
    report: Report = lambda *_: None,
    begin: MeshMaker | None = None,
) -> LandmarkModel:
    """A landmark model of rendered faces and templates, which then learns from the portraits that it understands.

    In each round of self-training it finds the portraits' landmarks anew, and goes on with them.

    Args:
        faces: On the device to train on.
        prior: Shapes to begin with; see `train_shape`.
        mirror: Each landmark's partner on the other side of the face, int64, shape (N,).
        recipe: Settings.
        folder: For checkpoints, from which the same call resumes.
        report: Told after every step.
        begin: Makes a network that begins as MediaPipe's face mesh; see `train_landmark_model`.

    Returns:
        The model with its refinement, float32, on the CPU.

    Raises:
        CheckpointError: The folder holds checkpoints of another training.
    """
    sampler = Sampler(torch.Generator().manual_seed(recipe.first.seed), faces.templates.gray.device)
    opened = open_mouths(repeated(faces.templates, recipe.opened), sampler)
    known = with_surroundings(join_rows(faces.rendered, repeated(faces.templates, recipe.templates), opened), sampler)
    model = train_landmark_model(known, prior, mirror, recipe.first, folder / "first", report, begin=begin)
    placed = model.to(known.gray.device).eval()
    going_on = recipe.first.with_effort(recipe.again)
    for number in range(recipe.rounds):
        seed = recipe.first.seed + number
        believed = annotate(placed, faces.portraits, mirror, seed, recipe.agreement, faces.taught)
        more = join_rows(known, with_surroundings(repeated(believed, recipe.portraits), sampler))
        if number == recipe.rounds - 1:
            going_on = replace(going_on, end_to_end=recipe.end_to_end)
        model = retrain_networks(placed, more, mirror, going_on, folder / f"round_{number}", report, faces.judges)
        placed = model.to(known.gray.device).eval()
    return with_refinement(placed, faces.held_out, mirror, recipe.first.seed).cpu()
