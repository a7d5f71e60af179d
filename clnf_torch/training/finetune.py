"""Fine-tunes the patch experts of a model on other faces, with early stopping on held-out ones."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from clnf_torch.fitting.initialise import params_from_landmarks
from clnf_torch.models.landmark_model import LandmarkModel
from clnf_torch.models.numerics import EXACT
from clnf_torch.models.patch_experts.base import Experts
from clnf_torch.models.patch_experts.cen import CENExperts
from clnf_torch.models.patch_experts.heatmap import HeatmapExperts
from clnf_torch.models.patch_experts.mesh import MeshExperts
from clnf_torch.models.pdm import PDM, ShapeParams
from clnf_torch.training.augmentation.photometric import NO_AUGMENTATION, ImageAugmentation
from clnf_torch.training.augmentation.pose_warp import PoseWarp
from clnf_torch.training.augmentation.random import Sampler
from clnf_torch.training.cen_recipe import levels_at
from clnf_torch.training.checkpoint import Checkpoint, fingerprint
from clnf_torch.training.data.cen_samples import FAR, NEAR, AlignedFaces, ViewRows, gaussian_maps
from clnf_torch.training.data.crops import FaceCrops, held_out_faces, split_held_out
from clnf_torch.training.data.heatmap_samples import FaceDataset, draw_samples
from clnf_torch.training.end_to_end import learnable_experts
from clnf_torch.training.heatmap import HeatmapConfig, heatmap_loss
from clnf_torch.training.recipe import FINE, config_like
from clnf_torch.training.trainer import EarlyStopping, Report, Schedule, Task, Trainer

# Random samples of every held-out face, the same ones in each epoch
JUDGE_REPEATS = 4


@dataclass(frozen=True, kw_only=True)
class FineTuneConfig:
    """How experts are fine-tuned."""

    epochs: int = 5  # every face once in each, and its mirror image half of the time
    batch: int = 4  # faces in a step
    learning_rate: float = 1e-5  # of Adam
    held_out: int = 10  # every so-many-th face is held out to judge by
    augmentation: ImageAugmentation = field(default_factory=ImageAugmentation)
    seed: int = 0


Loss = Callable[[Tensor, Sampler], Tensor]
"""Called with rows of faces, int64 (B,), and a sampler; the loss of the experts' response maps, a number."""


@dataclass(frozen=True)
class Losses:
    """The loss of experts on augmented faces, and on faces as they are."""

    learn: Loss
    judge: Loss


class FineTuneTask(Task):
    """The fine-tuning of the experts of one scale, with early stopping; a round is an epoch.

    Args:
        experts: They are trained in place; their parameters ask for gradients.
        losses: Their losses.
        rotation: Of the heads, Euler angles in radians, shape (F, 3): faces are held out evenly over their yaws.
        config: Settings.
        seed: Of all randomness.
    """

    early_stopping: EarlyStopping

    def __init__(self, experts: nn.Module, losses: Losses, rotation: Tensor, config: FineTuneConfig, seed: int) -> None:
        self.config, self.module, self._loss, self._seed = config, experts, losses, seed
        self.schedule = Schedule(rounds=config.epochs, learning_rate=config.learning_rate, save_every=1)
        self._learn, self._judges = split_held_out(held_out_faces(rotation, config.held_out))
        self.generators = (torch.Generator().manual_seed(seed),)
        self.optimiser = torch.optim.Adam(experts.parameters(), lr=config.learning_rate)
        self.early_stopping = EarlyStopping(list(experts.parameters()), self._judge)

    def losses(self) -> Iterator[Tensor]:
        """The losses of an epoch, which takes every training face once."""
        sampler = Sampler(self.generators[0], self._learn.device)
        order = self._learn[torch.randperm(len(self._learn), generator=sampler.generator).to(sampler.device)]
        for rows in order.split(self.config.batch):
            yield self._loss.learn(rows, sampler)

    def progress(self, loss: float) -> float:
        """The smallest error so far on the held-out faces."""
        return self.early_stopping.error.item()

    @torch.no_grad()
    def _judge(self) -> Tensor:
        """The mean loss of the held-out faces, float64."""
        fixed = Sampler(torch.Generator().manual_seed(self._seed), self._learn.device)
        rows = self._judges.repeat(JUDGE_REPEATS).split(self.config.batch)
        return torch.stack([self._loss.judge(some, fixed) for some in rows]).mean().cpu().double()


# Side of the response maps that are compared with their targets
WINDOW = 9
# Width of the target Gaussians, reference pixels
SIGMA = 1.0
# That an area lies near its landmark
NEAR_PROBABILITY = 0.5


def cen_losses(
    experts: Experts, pdm: PDM, faces: FaceCrops, params: ShapeParams, mirror: Tensor, augmentation: ImageAugmentation
) -> Losses:
    """Mean squared error between response maps and Gaussians around the true landmarks.

    Args:
        experts: CEN experts of one scale.
        pdm: The shape model.
        faces: F annotated faces.
        params: Of the faces, F rows.
        mirror: Each landmark's partner on the other side of the face, int64, shape (N,).
        augmentation: Of the training images.
    """
    aligned = AlignedFaces.of(faces, pdm, params, experts.scale, mirror, levels_at(experts.scale))
    loss = partial(_cen_loss, cast(CENExperts, experts), aligned, params.rotation)
    return Losses(partial(loss, augmentation=augmentation), partial(loss, augmentation=NO_AUGMENTATION))


def _cen_loss(
    experts: CENExperts,
    faces: AlignedFaces,
    rotation: Tensor,
    rows: Tensor,
    sampler: Sampler,
    augmentation: ImageAugmentation,
) -> Tensor:
    """The mean over the visible landmarks of some faces, half of which are mirrored."""
    landmarks = faces.landmarks.shape[1]
    flip = sampler.bernoulli(0.5, len(rows))
    turned = torch.where(flip[:, None], rotation[rows] * rotation.new_tensor([1.0, -1.0, -1.0]), rotation[rows])
    view = experts.nearest_view(turned)
    away = torch.where(sampler.bernoulli(NEAR_PROBABILITY, len(rows), 1, 1), NEAR, FAR)
    offsets = (sampler.normal(1, len(rows), landmarks, 2) * away).round()
    level = int(sampler.integers(len(faces.levels), 1))
    every = torch.arange(landmarks, device=rows.device)
    width = WINDOW + experts.support - 1
    areas = faces.cut(ViewRows(rows, flip), offsets, every, level, augmentation, sampler, width)
    wrong = (experts(areas, view, EXACT) - gaussian_maps(offsets, WINDOW, SIGMA)).square().mean((-2, -1))
    seen = experts.visible[view]
    return (wrong * seen).sum() / seen.sum().clamp(min=1)


def heatmap_losses(
    experts: Experts, pdm: PDM, faces: FaceCrops, params: ShapeParams, mirror: Tensor, augmentation: ImageAugmentation
) -> Losses:
    """Kullback-Leibler divergence of heatmaps from Gaussians around the true landmarks; see `heatmap_loss`.

    Faces are warped, jittered and augmented to be trained on, jittered alone to be judged by. The arguments are those
    of `cen_losses`, for heatmap experts.
    """
    asked = cast(HeatmapExperts, experts)
    config = config_like(asked)
    dataset = FaceDataset.of(faces, pdm, params, config.levels)
    loss = partial(_heatmap_loss, asked, config, dataset, mirror)
    return Losses(
        partial(loss, warp=config.warp, augmentation=augmentation),
        partial(loss, warp=PoseWarp(), augmentation=NO_AUGMENTATION),
    )


def _heatmap_loss(
    experts: HeatmapExperts,
    config: HeatmapConfig,
    dataset: FaceDataset,
    mirror: Tensor,
    rows: Tensor,
    sampler: Sampler,
    warp: PoseWarp,
    augmentation: ImageAugmentation,
) -> Tensor:
    """The mean over all landmarks of some faces that lie inside their maps."""
    zoom = experts.zoom * experts.scale
    shown = draw_samples(dataset, rows, config.jitter, warp, zoom, experts.width, mirror, sampler)
    gray = augmentation(shown.gray, shown.landmarks, sampler)
    return heatmap_loss(experts.network(gray), shown.landmarks / experts.zoom, config.target_sigma)


@dataclass(frozen=True)
class FineTuneResult:
    """Mean losses of the response maps of held-out faces, by scale: squared errors of CEN experts, nats of heatmaps."""

    scales: tuple[float, ...]  # pixels per millimetre; experts shared by several scales count once
    before: tuple[float, ...]
    after: tuple[float, ...]


@dataclass(frozen=True)
class Tunable:
    """How a family of experts is fine-tuned: suitable settings, and its losses on faces."""

    suitable: FineTuneConfig
    losses: Callable[[Experts, PDM, FaceCrops, ShapeParams, Tensor, ImageAugmentation], Losses]


# Heatmap experts see pen marks as in their first training, so that they are not forgotten
MARKED = FineTuneConfig(batch=8, augmentation=ImageAugmentation(pen_marks=FINE.pen_marks))
TUNABLE: dict[type[Experts], Tunable] = {
    CENExperts: Tunable(FineTuneConfig(), cen_losses),
    HeatmapExperts: Tunable(MARKED, heatmap_losses),
    MeshExperts: Tunable(MARKED, heatmap_losses),
}
"""The families that can be fine-tuned by their response maps; `train_end_to_end` tunes any."""


def fine_tune(
    model: LandmarkModel,
    faces: FaceCrops,
    mirror: Tensor,
    config: FineTuneConfig | None = None,
    folder: Path | None = None,
    report: Report = lambda *_: None,
) -> FineTuneResult:
    """Fine-tunes the experts of a model, in place; early stopping keeps the weights that suit held-out faces best.

    Args:
        model: CEN or heatmap experts on the device of the faces.
        faces: Annotated faces.
        mirror: Each landmark's partner on the other side of the face, int64, shape (N,).
        config: Settings; None: those of `TUNABLE`.
        folder: For checkpoints, from which the same call resumes. None: there are none.
        report: Told after every epoch the smallest error so far.

    Returns:
        Errors before and after.

    Raises:
        ValueError: The experts are of another family.
        CheckpointError: The folder holds checkpoints of another training.
    """
    if model.family not in TUNABLE:
        known = " and ".join(family.name for family in TUNABLE)
        raise ValueError(f"the experts are {model.family.name!r}; fine_tune knows {known}, train_end_to_end any")
    tunable = TUNABLE[model.family]
    config = config or tunable.suitable
    params = params_from_landmarks(model.pdm, faces.landmarks)
    settings = f"{config} {fingerprint(*model.state_dict().values(), faces.gray, faces.landmarks)}"
    learnable_experts(model)
    scales, before, after = [], [], []
    for number, experts in enumerate(distinct_experts(model)):
        losses = tunable.losses(experts, model.pdm, faces, params, mirror, config.augmentation)
        task = FineTuneTask(experts, losses, params.rotation, config, config.seed + number)
        Trainer(task).run(f"scale {experts.scale:g}", Checkpoint.within(folder, f"tuned_{number}", settings), report)
        scales.append(experts.scale)
        before.append(task.early_stopping.before.item())
        after.append(task.early_stopping.error.item())
    return FineTuneResult(tuple(scales), tuple(before), tuple(after))


def distinct_experts(model: LandmarkModel) -> tuple[Experts, ...]:
    """The experts of a model's scales, coarse to fine, those shared by several scales once."""
    return tuple(cast(Experts, experts) for experts in dict.fromkeys(model.experts))


def frontal_first(faces: FaceCrops, pdm: PDM) -> FaceCrops:
    """The faces, sorted by absolute yaw: `fine_tune` and `train_end_to_end` then hold out the same ones."""
    return faces[params_from_landmarks(pdm, faces.landmarks).rotation[:, 1].abs().argsort(stable=True)]


def tuned_bundle(bundle: Mapping[str, Any], model: LandmarkModel, faces: str) -> dict[str, Any]:
    """A bundle with the experts and the shape of a tuned model in the place of its own.

    What the way back to the very files of OpenFace needs is left out, since they are other experts now. Its licence
    stays in force.

    Args:
        bundle: From `load_bundle`: what the model was built from.
        model: The tuned model, on the CPU.
        faces: What it was tuned on, in words.
    """
    tuned = model.to_record()
    experts = [_tuned(*records) for records in zip(bundle["model"]["experts"], tuned["experts"], strict=True)]
    return {
        **bundle,
        "model": {**bundle["model"], "pdm": tuned["pdm"], "experts": experts},
        "sources": [*bundle["sources"], {"name": faces}],
    }


def _tuned(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """The record of tuned experts; what does not learn is as exact as it was."""
    return {**after, **{name: before[name] for name in ("view_centers", "visible", "confidence") if name in after}}
