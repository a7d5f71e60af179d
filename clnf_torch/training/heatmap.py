"""Trains heatmap experts: the network of one scale, on faces with random pose jitter, warps and augmentation."""

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from clnf_torch.models.patch_experts.heatmap_network import HeatmapNetwork
from clnf_torch.models.patch_experts.mesh import MeshNetwork
from clnf_torch.models.patch_experts.unet import UNet
from clnf_torch.training.augmentation.photometric import ImageAugmentation
from clnf_torch.training.augmentation.pose_warp import PoseWarp
from clnf_torch.training.augmentation.random import Sampler
from clnf_torch.training.data.heatmap_samples import FaceDataset, PoseJitter, Samples, draw_samples
from clnf_torch.training.trainer import AveragedTask, Schedule, mixed_precision


def heatmap_loss(scores: Tensor, positions: Tensor, width: float, weight: Tensor | None = None) -> Tensor:
    """Mean Kullback-Leibler divergence of heatmaps from Gaussians around the landmarks, nats.

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


# Of the exponential moving average (EMA) of the weights
EMA_DECAY = 0.999
# Steps of linear warm-up of the learning rate
WARM_UP = 300
MIN_LEARNING_RATE = 1e-5


@dataclass(frozen=True, kw_only=True)
class HeatmapConfig:
    """What the experts of one scale are, and how they are trained."""

    scale: float  # of their maps, pixels per millimetre
    width: int  # side of their input area, its pixels: a half of a reference pixel for a U-Net, else a quarter
    mesh: bool = False  # a `MeshNetwork`, which begins as MediaPipe's face mesh; otherwise a `UNet`
    frozen_trunk: bool = False  # of a `MeshNetwork`: it stays MediaPipe's
    widths: tuple[int, ...] = (24, 48, 96, 160, 256)  # of a new network, see there
    jitter: PoseJitter  # errors of the fit that the network must expect
    warp: PoseWarp = field(default_factory=PoseWarp)  # other head poses and face shapes
    levels: int  # of the image pyramids
    steps: int
    batch: int
    learning_rate: float = 3e-3  # the highest, of AdamW
    weight_decay: float = 0.02
    target_sigma: float = 0.8  # width of the target Gaussians, cells
    pen_marks: float = 0.5  # probability on a face
    cut_off: float = 0.0  # probability that the image ends within the face
    yaw_weight: float = 3.0  # sampling weight of a face: 1 + yaw_weight * |yaw|, radians


class HeatmapTask(AveragedTask):
    """The training of one scale: AdamW, linear warm-up, cosine decay, averaged weights (EMA); a round is a step.

    Args:
        config: Settings.
        dataset: The faces.
        yaw: How far each is turned, radians, shape (F,).
        mirror: Each landmark's partner on the other side of the face, int64, shape (N,).
        seed: Of all randomness.
        start: A network to go on from; None: a new U-Net of the widths of `config`.
    """

    module: HeatmapNetwork

    def __init__(
        self,
        config: HeatmapConfig,
        dataset: FaceDataset,
        yaw: Tensor,
        mirror: Tensor,
        seed: int = 0,
        start: HeatmapNetwork | None = None,
    ) -> None:
        self.config, self.dataset, self.mirror = config, dataset, mirror
        self.schedule = Schedule(
            rounds=config.steps, learning_rate=config.learning_rate, warm_up=WARM_UP, lowest=MIN_LEARNING_RATE
        )
        self.generators = (torch.Generator().manual_seed(seed),)
        self._weights = (1 + config.yaw_weight * yaw.abs()).cpu()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = UNet(len(mirror), config.widths) if start is None else deepcopy(start).requires_grad_()
        if config.frozen_trunk:
            freeze_trunk(network)
        super().__init__(
            network,
            dataset.landmarks.device,
            decay=EMA_DECAY,
            groups=_groups(network, config.weight_decay),
            learning_rate=config.learning_rate,
        )

    def experts(self) -> HeatmapNetwork:
        """The network so far, with averaged weights (EMA), its batch normalisation fused."""
        network: HeatmapNetwork = self.averaged()
        return network.fuse_batchnorm()

    def losses(self) -> Iterator[Tensor]:
        """The loss of one batch."""
        sampler = Sampler(self.generators[0], self.device)
        samples = self._samples(sampler)
        with torch.no_grad():
            augmentation = ImageAugmentation(pen_marks=self.config.pen_marks, cut_off=self.config.cut_off)
            gray = augmentation(samples.gray, samples.landmarks, sampler)
        with mixed_precision(self.device):
            scores = self.module(gray)
        yield heatmap_loss(scores.float(), samples.landmarks / self.module.stride, self.config.target_sigma)

    @torch.no_grad()
    def _samples(self, sampler: Sampler) -> Samples:
        """A batch of jittered and warped faces."""
        config = self.config
        rows = torch.multinomial(
            self._weights, config.batch, replacement=config.batch > len(self._weights), generator=sampler.generator
        ).to(self.device)
        zoom = self.module.stride * config.scale
        return draw_samples(self.dataset, rows, config.jitter, config.warp, zoom, config.width, self.mirror, sampler)


def freeze_trunk(network: nn.Module) -> None:
    """Asks for no gradients of what is MediaPipe's in a `MeshNetwork`; other networks have nothing of it."""
    if isinstance(network, MeshNetwork):
        for name in network.trunk_layers:
            network.get_submodule(name).requires_grad_(False)


def _groups(network: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Parameter groups of what is trained: weight decay for filters, none for biases and normalisations."""
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    filters = [parameter for parameter in trained if parameter.ndim > 1]
    others = [parameter for parameter in trained if parameter.ndim <= 1]
    return [{"params": filters, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]
