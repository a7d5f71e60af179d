"""Trains heatmap experts: the network of one scale, on faces misplaced, marked and spoilt at random."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from clnf_torch.models.patch_experts.heatmap import ZOOM, UNet
from clnf_torch.training.augmentation.photometric import ImageAugmentation
from clnf_torch.training.augmentation.pose_warp import PoseWarp
from clnf_torch.training.augmentation.random import Sampler
from clnf_torch.training.data.heatmap_samples import FaceDataset, PoseJitter, Samples, draw_samples
from clnf_torch.training.trainer import cosine_schedule


def map_loss(scores: Tensor, positions: Tensor, width: float, weight: Tensor | None = None) -> Tensor:
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
REMEMBER = 0.999
# Steps until the full learning rate
WARM_UP = 300
LEAST_RATE = 1e-5


@dataclass(frozen=True, kw_only=True)
class HeatmapConfig:
    """What the experts of one scale are, and how they are trained."""

    scale: float  # of their maps, pixels per millimetre
    width: int  # side of the area that they look at, in pixels of half a reference pixel
    widths: tuple[int, ...] = (24, 48, 96, 160, 256)  # channels of the network at 1/2, 1/4, ... of the area's side
    aim: PoseJitter  # how far the fit may be off when it asks them
    bend: PoseWarp = field(default_factory=PoseWarp)  # the faces' heads and features
    levels: int  # sharpnesses of the images that they are shown
    steps: int
    batch: int
    rate: float = 3e-3  # highest learning rate of AdamW
    decay: float = 0.02  # of weights
    target: float = 0.8  # width of the Gaussians that the maps shall be, cells
    marked: float = 0.5  # share of faces with pen markings
    turned: float = 3.0  # a face turned by a radian is drawn this many times more often than a frontal one, plus 1


class HeatmapTraining:
    """The training of one scale, step by step.

    Args:
        config: Settings.
        stage: The faces.
        yaw: How far each is turned, radians, shape (F,).
        mirror: Each landmark's partner on the other side of the face, int64, shape (N,).
        seed: Of all randomness.
    """

    def __init__(self, config: HeatmapConfig, stage: FaceDataset, yaw: Tensor, mirror: Tensor, seed: int = 0) -> None:
        self.config, self.stage, self.mirror, self.step = config, stage, mirror, 0
        self.device = stage.landmarks.device
        self.generator = torch.Generator().manual_seed(seed)
        self._share = (1 + config.turned * yaw.abs()).cpu()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = UNet(len(mirror), config.widths)
        self.network = network.to(self.device).channels_last()
        self.average = {name: value.clone() for name, value in self.network.state_dict().items()}
        self._optimiser = torch.optim.AdamW(_groups(self.network, config.decay), lr=config.rate)

    def run(self, until: int | None = None, report: Callable[[int, float], None] = lambda *_: None) -> None:
        """Steps until a number of them, or all, are done; `report` is told the number and the loss of each."""
        self.network.train()
        for _ in range(self.step, min(self.config.steps, until or self.config.steps)):
            loss = self._one_step()
            self.step += 1
            self._remember()
            report(self.step, loss)

    def experts(self) -> UNet:
        """The network so far, its weights averaged over the last steps, folded for use."""
        network = UNet(len(self.mirror), self.config.widths)
        network.load_state_dict(self.average)
        return network.folded()

    def state(self) -> dict[str, Any]:
        """All that a checkpoint must hold."""
        return {
            "step": self.step,
            "network": self.network.state_dict(),
            "average": self.average,
            "optimiser": self._optimiser.state_dict(),
            "generator": self.generator.get_state(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Goes on from a checkpoint."""
        self.step = state["step"]
        self.network.load_state_dict(state["network"])
        self.average = {name: value.to(self.device) for name, value in state["average"].items()}
        self._optimiser.load_state_dict(state["optimiser"])
        self.generator.set_state(state["generator"])

    def _one_step(self) -> float:
        """Draws faces, and moves the weights; the loss."""
        for group in self._optimiser.param_groups:
            group["lr"] = cosine_schedule(self.step, self.config.steps, self.config.rate, WARM_UP) + LEAST_RATE
        samples = self._samples()
        with torch.autocast(self.device.type, torch.bfloat16):
            scores = self.network(samples.gray)
        loss = map_loss(scores.float(), samples.landmarks / ZOOM, self.config.target)
        self._optimiser.zero_grad()
        loss.backward()
        self._optimiser.step()
        return loss.item()

    @torch.no_grad()
    def _samples(self) -> Samples:
        """A batch of faces as the fit, a pen and a camera would have them."""
        config, dice = self.config, Sampler(self.generator, self.device)
        rows = torch.multinomial(
            self._share, config.batch, replacement=config.batch > len(self._share), generator=self.generator
        ).to(self.device)
        zoom = ZOOM * config.scale
        samples = draw_samples(self.stage, rows, config.aim, config.bend, zoom, config.width, self.mirror, dice)
        return Samples(
            ImageAugmentation(marked=config.marked)(samples.gray, samples.landmarks, dice), samples.landmarks
        )

    @torch.no_grad()
    def _remember(self) -> None:
        """Takes the weights into their average; the first ones are soon forgotten."""
        share = 1 - min(REMEMBER, self.step / (self.step + 20))
        for name, value in self.network.state_dict().items():
            if value.is_floating_point():
                self.average[name].lerp_(value, share)
            else:
                self.average[name].copy_(value)


def _groups(network: nn.Module, decay: float) -> list[dict[str, Any]]:
    """Filters, which decay, and biases and normalisations, which do not."""
    filters = [parameter for parameter in network.parameters() if parameter.ndim > 1]
    others = [parameter for parameter in network.parameters() if parameter.ndim <= 1]
    return [{"params": filters, "weight_decay": decay}, {"params": others, "weight_decay": 0.0}]
