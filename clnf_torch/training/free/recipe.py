"""The recipe of a model that anyone may use: rendered faces, hand-set points of a free set, portraits, and no other."""

from dataclasses import dataclass, field, replace
from pathlib import Path

from torch import Tensor

from clnf_torch.geometry.records import join_rows
from clnf_torch.models.landmark_model import LandmarkModel
from clnf_torch.training.augmentation.photometric import ImageAugmentation
from clnf_torch.training.data.crops import FaceCrops
from clnf_torch.training.end_to_end import EndToEndConfig
from clnf_torch.training.free.self_training import Agreement, Portraits, annotate
from clnf_torch.training.recipe import COARSE, FINE, Recipe, train_landmark_model
from clnf_torch.training.refinement import with_refinement
from clnf_torch.training.retraining import SMALL_WIDTHS, retrain_networks
from clnf_torch.training.shape import ShapeConfig
from clnf_torch.training.shape_gaussian import ShapeGaussian
from clnf_torch.training.trainer import Report

# Scans know depths better than flat landmarks do
SHAPE = ShapeConfig(prior_faces=300.0)
SCALES = (replace(COARSE, widths=SMALL_WIDTHS, steps=3000), replace(FINE, widths=SMALL_WIDTHS, steps=4000))
TOGETHER = EndToEndConfig(
    steps=400, batch=8, learning_rate=3e-5, judge_every=100, augmentation=ImageAugmentation(pen_marks=0.4)
)


@dataclass(frozen=True, kw_only=True)
class FreeRecipe:
    """How the free model is trained, and how much each kind of face counts."""

    first: Recipe = field(
        default_factory=lambda: Recipe(shape=SHAPE, scales=SCALES, end_to_end=EndToEndConfig(steps=0))
    )
    again: float = 2.25  # effort of the second training: as many steps as the first, see `CONTINUED_STEPS`
    end_to_end: EndToEndConfig = TOGETHER  # at its end
    templates: int = 8  # times that each is among the faces
    portraits: int = 2  # times that each one with believed landmarks is among the faces of the second training
    agreement: Agreement = field(default_factory=Agreement)

    def with_effort(self, effort: float, seed: int) -> "FreeRecipe":
        """This recipe with another number of steps, so many times its own, and another seed."""
        first = replace(self.first.with_effort(effort), seed=seed)
        return replace(self, first=first, end_to_end=replace(self.end_to_end, steps=round(effort * TOGETHER.steps)))


@dataclass(frozen=True, kw_only=True)
class FreeFaces:
    """What a free model is made of."""

    rendered: FaceCrops
    templates: FaceCrops  # photographs with hand-set points, to train on
    held_out: FaceCrops  # others, to calibrate by
    portraits: Portraits  # photographs that nobody has annotated


def train_free_model(
    faces: FreeFaces,
    prior: ShapeGaussian,
    mirror: Tensor,
    recipe: FreeRecipe,
    folder: Path,
    report: Report = lambda *_: None,
) -> LandmarkModel:
    """A landmark model of rendered faces and templates, which then learns from the portraits that it understands.

    Args:
        faces: On the device to train on.
        prior: Shapes to begin with; see `train_shape`.
        mirror: Each landmark's partner on the other side of the face, int64, shape (N,).
        recipe: Settings.
        folder: For checkpoints, from which the same call resumes.
        report: Told after every step.

    Returns:
        The model with its refinement, float32, on the CPU.

    Raises:
        CheckpointError: The folder holds checkpoints of another training.
    """
    known = join_rows(faces.rendered, *[faces.templates] * recipe.templates)
    model = train_landmark_model(known, prior, mirror, recipe.first, folder / "first", report)
    placed = model.to(known.gray.device).eval()
    believed = annotate(placed, faces.portraits, mirror, recipe.first.seed, recipe.agreement)
    more = join_rows(known, *[believed] * recipe.portraits)
    second = replace(recipe.first.with_effort(recipe.again), end_to_end=recipe.end_to_end)
    model = retrain_networks(placed, more, mirror, second, folder / "second", report)
    return with_refinement(model.eval(), faces.held_out, mirror, recipe.first.seed).cpu()
