"""What heatmap experts learn by when they are tuned: maps of faces misplaced, bent and spoilt as in their training."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor, nn

from clnf_torch.models.numerics import EXACT
from clnf_torch.models.patch_experts.cen import CENExperts
from clnf_torch.models.patch_experts.heatmap import ZOOM, HeatmapExperts
from clnf_torch.training.augmentation.photometric import NO_AUGMENTATION, ImageAugmentation
from clnf_torch.training.augmentation.pose_warp import PoseWarp
from clnf_torch.training.augmentation.random import Sampler
from clnf_torch.training.cen_recipe import held_out_faces
from clnf_torch.training.data.cen_samples import FAR, NEAR, AlignedFaces, ViewRows, gaussian_maps
from clnf_torch.training.data.heatmap_samples import FaceDataset, draw_samples
from clnf_torch.training.heatmap import HeatmapConfig, heatmap_loss
from clnf_torch.training.recipe import COARSE, FINE
from clnf_torch.training.trainer import EarlyStopping, Schedule, Task

# At every held-out face when experts are judged, the same ones each time
JUDGE_REPEATS = 4


@dataclass(frozen=True, kw_only=True)
class FineTuneConfig:
    """How experts are tuned."""

    epochs: int = 5  # every face once in each, and its mirror image half of the time
    batch: int = 4  # faces in a step
    learning_rate: float = 1e-5  # learning rate of Adam
    held_out: int = 10  # each so-many-th face is judged by, not learned from
    augmentation: ImageAugmentation = field(default_factory=ImageAugmentation)
    seed: int = 0


Loss = Callable[[Tensor, Sampler], Tensor]
"""Called with rows of faces, int64 (B,), and dice; how wrong the experts' response maps are, a number."""


@dataclass(frozen=True)
class Losses:
    """How wrong experts are about faces."""

    learn: Loss  # shown in ever other ways
    judge: Loss  # shown as they are


class FineTuneTask(Task):
    """The tuning of the experts of one scale; a round is an epoch.

    Args:
        experts: They learn in place; their parameters ask for gradients.
        losses: How wrong they are.
        rotation: Of the heads, Euler angles in radians, shape (F, 3): faces are held out evenly over their turns.
        config: Settings.
        seed: Of all randomness.
    """

    early_stopping: EarlyStopping

    def __init__(self, experts: nn.Module, losses: Losses, rotation: Tensor, config: FineTuneConfig, seed: int) -> None:
        self.config, self.module, self._wrong, self._seed = config, experts, losses, seed
        self.schedule = Schedule(rounds=config.epochs, learning_rate=config.learning_rate, save_every=1)
        self._learn, self._judges = _split(held_out_faces(rotation, config.held_out))
        self.generators = (torch.Generator().manual_seed(seed),)
        self.optimiser = torch.optim.Adam(experts.parameters(), lr=config.learning_rate)
        self.early_stopping = EarlyStopping(list(experts.parameters()), self._judge)

    def losses(self) -> Iterator[Tensor]:
        """The losses of an epoch, which shows every face to learn from once."""
        sampler = Sampler(self.generators[0], self._learn.device)
        order = self._learn[torch.randperm(len(self._learn), generator=sampler.generator).to(sampler.device)]
        for rows in order.split(self.config.batch):
            yield self._wrong.learn(rows, sampler)

    def progress(self, loss: float) -> float:
        """The error of the held-out faces at its smallest so far."""
        return self.early_stopping.error.item()

    @torch.no_grad()
    def _judge(self) -> Tensor:
        """The mean error of the faces to judge by, float64."""
        fixed = Sampler(torch.Generator().manual_seed(self._seed), self._learn.device)
        rows = self._judges.repeat(JUDGE_REPEATS).split(self.config.batch)
        return torch.stack([self._wrong.judge(some, fixed) for some in rows]).mean().cpu().double()


def _split(held: Tensor) -> tuple[Tensor, Tensor]:
    """Rows (K,) to learn from and to judge by; where none is held out, or all are, both are all of them."""
    if held.all() or not held.any():
        every = torch.arange(len(held), device=held.device)
        return every, every
    return (~held).nonzero().squeeze(-1), held.nonzero().squeeze(-1)


# Side of the response maps that are compared with what they should be
WINDOW = 9
# Width of what the experts should answer, reference pixels
SIGMA = 1.0
# Share of the areas that lie near their landmark
NEAR_PROBABILITY = 0.5


def cen_losses(experts: CENExperts, faces: AlignedFaces, rotation: Tensor, augmentation: ImageAugmentation) -> Losses:
    """Mean squared differences between response maps and Gaussians around the truth.

    Args:
        experts: Those of one scale.
        faces: F faces in the reference frame of that scale.
        rotation: Of their heads, shape (F, 3).
        augmentation: What happens to the images that are learned from.
    """
    loss = partial(_cen_loss, experts, faces, rotation)
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


def nearest_config(scale: float) -> HeatmapConfig:
    """The settings that the recipe's experts of about that scale, pixels per millimetre, were trained with."""
    return min((COARSE, FINE), key=lambda config: abs(config.scale - scale))


def heatmap_losses(
    experts: HeatmapExperts, dataset: FaceDataset, mirror: Tensor, augmentation: ImageAugmentation
) -> Losses:
    """Cross-entropies between the experts' maps and Gaussians around the truth; see `heatmap_loss`.

    Args:
        experts: Those of one scale.
        dataset: The faces; to be learned from, they are bent, misplaced and spoilt; to be judged by, misplaced alone.
        mirror: Each landmark's partner on the other side of the face, int64, shape (N,).
        augmentation: What happens to the images.
    """
    loss = partial(_heatmap_loss, experts, dataset, mirror)
    warp = nearest_config(experts.scale).warp
    return Losses(
        partial(loss, warp=warp, augmentation=augmentation),
        partial(loss, warp=PoseWarp(), augmentation=NO_AUGMENTATION),
    )


def _heatmap_loss(
    experts: HeatmapExperts,
    dataset: FaceDataset,
    mirror: Tensor,
    rows: Tensor,
    sampler: Sampler,
    warp: PoseWarp,
    augmentation: ImageAugmentation,
) -> Tensor:
    """The mean over all landmarks of some faces that lie inside their maps."""
    config, zoom = nearest_config(experts.scale), ZOOM * experts.scale
    shown = draw_samples(dataset, rows, config.jitter, warp, zoom, experts.width, mirror, sampler)
    gray = augmentation(shown.gray, shown.landmarks, sampler)
    return heatmap_loss(experts.network(gray), shown.landmarks / ZOOM, config.target_sigma)
