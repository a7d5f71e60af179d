"""Trains heatmap experts: the network of one scale, on faces misplaced, marked and spoilt at random."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from clnf_torch.models.patch_experts.heatmap import ZOOM, UNet
from clnf_torch.training.augmentation.photometric import ImageAugmentation
from clnf_torch.training.augmentation.pose_warp import PoseWarp
from clnf_torch.training.augmentation.random import Sampler
from clnf_torch.training.data.heatmap_samples import FaceDataset, PoseJitter, Samples, draw_samples
from clnf_torch.training.trainer import MovingAverage, Schedule, Task


def heatmap_loss(scores: Tensor, positions: Tensor, width: float, weight: Tensor | None = None) -> Tensor:
    """Mean cross-entropy between the experts' maps and Gaussians, in nats above the Gaussian's own entropy.

    Args:
        scores: Maps before the softmax, rows along y, shape (B, N, H, H).
        positions: True landmarks (x, y) in cells of the maps, shape (B, N, 2). Those outside their map do not count.
        width: Standard deviation of the Gaussians, cells.
        weight: Of each landmark, shape (N,) or (B, N).

    Returns:
        A number.
    """
    side = scores.shape[-1]
    cells = torch.arange(side, dtype=positions.dtype, device=positions.device)
    target = (-0.5 * ((positions[..., None] - cells) / width).square()).exp()  # (B, N, 2, H)
    target = target / target.sum(-1, keepdim=True).clamp(min=1e-6)
    hit = torch.einsum("bnyx,bnx,bny->bn", scores, target[..., 0, :], target[..., 1, :])
    cross = scores.flatten(2).logsumexp(-1) - hit
    entropy = -(target * target.clamp(min=1e-12).log()).sum((-2, -1))
    inside = ((positions >= 0) & (positions <= side - 1)).all(-1).to(scores.dtype)
    inside = inside if weight is None else inside * weight
    return ((cross - entropy) * inside).sum() / inside.sum().clamp(min=1)


# Share of the averaged weights that stays in a step
EMA_DECAY = 0.999
# Steps until the full learning rate
WARM_UP = 300
MIN_LEARNING_RATE = 1e-5


@dataclass(frozen=True, kw_only=True)
class HeatmapConfig:
    """What the experts of one scale are, and how they are trained."""

    scale: float  # of their maps, pixels per millimetre
    width: int  # side of the area that they look at, in pixels of half a reference pixel
    widths: tuple[int, ...] = (24, 48, 96, 160, 256)  # channels of the network at 1/2, 1/4, ... of the area's side
    jitter: PoseJitter  # how far the fit may be off when it asks them
    warp: PoseWarp = field(default_factory=PoseWarp)  # the faces' heads and features
    levels: int  # sharpnesses of the images that they are shown
    steps: int
    batch: int
    learning_rate: float = 3e-3  # highest learning rate of AdamW
    weight_decay: float = 0.02  # of weights
    target_sigma: float = 0.8  # width of the Gaussians that the maps shall be, cells
    pen_marks: float = 0.5  # share of faces with pen markings
    yaw_weight: float = 3.0  # a face turned by a radian is drawn this many times more often than a frontal one, plus 1


class HeatmapTask(Task):
    """The training of one scale: AdamW with linear warm-up and cosine decay; a round is a step.

    Args:
        config: Settings.
        dataset: The faces.
        yaw: How far each is turned, radians, shape (F,).
        mirror: Each landmark's partner on the other side of the face, int64, shape (N,).
        seed: Of all randomness.
    """

    module: UNet
    average: MovingAverage

    def __init__(self, config: HeatmapConfig, dataset: FaceDataset, yaw: Tensor, mirror: Tensor, seed: int = 0) -> None:
        self.config, self.dataset, self.mirror = config, dataset, mirror
        self.schedule = Schedule(
            rounds=config.steps, learning_rate=config.learning_rate, warm_up=WARM_UP, lowest=MIN_LEARNING_RATE
        )
        self.device = dataset.landmarks.device
        self.generators = (torch.Generator().manual_seed(seed),)
        self._weights = (1 + config.yaw_weight * yaw.abs()).cpu()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = UNet(len(mirror), config.widths)
        self.module = network.to(self.device).channels_last().train()
        self.average = MovingAverage(self.module, EMA_DECAY)
        self.optimiser = torch.optim.AdamW(_groups(self.module, config.weight_decay), lr=config.learning_rate)

    def experts(self) -> UNet:
        """The network so far, its weights averaged over the last steps, folded for use."""
        network = UNet(len(self.mirror), self.config.widths)
        network.load_state_dict(self.average.values)
        return network.folded()

    def losses(self) -> Iterator[Tensor]:
        """The loss of some faces."""
        samples = self._samples()
        with torch.autocast(self.device.type, torch.bfloat16):
            scores = self.module(samples.gray)
        yield heatmap_loss(scores.float(), samples.landmarks / ZOOM, self.config.target_sigma)

    @torch.no_grad()
    def _samples(self) -> Samples:
        """A batch of faces as the fit, a pen and a camera would have them."""
        config, sampler = self.config, Sampler(self.generators[0], self.device)
        rows = torch.multinomial(
            self._weights, config.batch, replacement=config.batch > len(self._weights), generator=sampler.generator
        ).to(self.device)
        zoom = ZOOM * config.scale
        samples = draw_samples(self.dataset, rows, config.jitter, config.warp, zoom, config.width, self.mirror, sampler)
        return Samples(
            ImageAugmentation(pen_marks=config.pen_marks)(samples.gray, samples.landmarks, sampler), samples.landmarks
        )


def _groups(network: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Filters, which decay, and biases and normalisations, which do not."""
    filters = [parameter for parameter in network.parameters() if parameter.ndim > 1]
    others = [parameter for parameter in network.parameters() if parameter.ndim <= 1]
    return [{"params": filters, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]
