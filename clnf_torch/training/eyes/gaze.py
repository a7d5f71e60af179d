"""Trains the gaze network: on rendered faces, whose gaze is known exactly, and portraits, who look into the camera."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate
from torch.nn.utils import fuse_conv_bn_eval

from clnf_torch.fitting.images import ImageBatch
from clnf_torch.geometry.constants import constant
from clnf_torch.geometry.landmarks28 import CORNERS, EYE_MIRROR, NUM_EYE_LANDMARKS
from clnf_torch.geometry.landmarks68 import STEADY
from clnf_torch.geometry.records import map_tensors
from clnf_torch.geometry.similarity import invert_similarity
from clnf_torch.models.gaze_network import EYE_ROWS, EYE_SIDE, FACE_SIDE, GazeNetwork, upright_of
from clnf_torch.models.numerics import EXACT
from clnf_torch.models.patch_experts.base import CropRequest
from clnf_torch.training.augmentation.photometric import augment
from clnf_torch.training.augmentation.random import Sampler
from clnf_torch.training.checkpoint import Checkpoint, fingerprint
from clnf_torch.training.eyes.gaze_faces import GazeFaces
from clnf_torch.training.trainer import AveragedTask, Report, Schedule, Trainer, mixed_precision

# Channels of the convolutions over an eye and over the face; those before a pooling, which halves their maps
EYE_WIDTHS, EYE_POOLED = (16, 24, 40, 48, 64), (24, 48)
FACE_WIDTHS, FACE_POOLED = (16, 32, 48, 64), (16, 32, 48)
# Numbers that are told of an eye and of the face, and of the layer between them and the gaze
EYE_NUMBERS, FACE_NUMBERS, HIDDEN = 128, 96, 128
# What a mirrored rotation matrix is multiplied by, of the eye further left and of the other one
MIRRORED_AXES = (((1.0, 1.0, 1.0),) * 3, ((1.0, -1.0, -1.0), (-1.0, 1.0, 1.0), (-1.0, 1.0, 1.0)))
# Of the exponential moving average (EMA) of the weights, and of the linear warm-up of the learning rate
EMA_DECAY, WARM_UP = 0.999, 200


@dataclass(frozen=True, kw_only=True)
class GazeConfig:
    """How a gaze network is trained."""

    steps: int = 12000
    batch: int = 64
    learning_rate: float = 2e-3  # the highest, of AdamW
    weight_decay: float = 0.02
    dropout: float = 0.2  # of the numbers of eyes and face
    landmark_noise: float = 0.07  # standard deviation, over the mean distance of the steady landmarks from their middle
    shift: float = 0.08  # standard deviation of the crops' middles, likewise
    rotation: float = 0.06  # standard deviation of the crops', radians
    scale: float = 0.06  # of the logarithm of their scale
    least_size: float = 0.35  # images are made smaller, down to so much of their side
    landmark_weight: float = 0.5  # of the loss of the eyes' landmarks
    rotation_weight: float = 0.3  # of that of the head's rotation
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class GazeBatch:
    """What a network learns from: crops of B faces, and the truth in their axes, each eye as the one further left."""

    eyes: Tensor  # (B, 2, EYE_SIDE, EYE_SIDE) as `GazeNetwork.forward` takes them
    face: Tensor  # (B, 1, FACE_SIDE, FACE_SIDE)
    gaze: Tensor  # (B, 2, 3), of the right eye not mirrored
    landmarks: Tensor  # (B, 2, 28, 2) in halves of the crop from its middle
    rotation: Tensor  # (B, 2, 3, 3) of the head
    seen: Tensor  # (B, 2) bool
    tolerance: Tensor  # (B,)


class GazeTraining(nn.Module):
    """A gaze network, and what else it must tell while it learns: landmarks of the eye, and how the head is turned.

    Args:
        network: With random weights.
    """

    def __init__(self, network: GazeNetwork) -> None:
        super().__init__()
        self.network = network
        self.landmarks = nn.Linear(EYE_NUMBERS, 2 * NUM_EYE_LANDMARKS)
        self.rotation = nn.Linear(FACE_NUMBERS, 9)


class GazeTask(AveragedTask):
    """The training of a gaze network: AdamW, linear warm-up, cosine decay, averaged weights (EMA); a round is a step.

    Args:
        config: Settings.
        faces: Rendered faces, and portraits.
    """

    module: GazeTraining

    def __init__(self, config: GazeConfig, faces: GazeFaces) -> None:
        self.config, self.faces = config, faces
        self.schedule = Schedule(
            rounds=config.steps, learning_rate=config.learning_rate, warm_up=WARM_UP, max_grad_norm=1
        )
        self.generators = (torch.Generator().manual_seed(config.seed),)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            module = GazeTraining(new_network(faces.upright[:, STEADY].nanmean(0).cpu()))
        groups = [{"params": list(module.parameters()), "weight_decay": config.weight_decay}]
        super().__init__(module, faces.gray.device, decay=EMA_DECAY, groups=groups, learning_rate=config.learning_rate)

    def network(self) -> GazeNetwork:
        """The network so far, with averaged weights (EMA), its batch normalisation fused, on the CPU."""
        module: GazeTraining = self.averaged()
        network = module.network.eval().cpu()
        fused = {name: fused_layers(layers) for name, layers in network.named_children()}
        return GazeNetwork(network.places, **fused)

    def losses(self) -> Iterator[Tensor]:
        """Mean distances from the truth: of directions (chords), of the eyes' landmarks, and of rotation matrices.

        Means of squares would follow the eyes in which little can be seen.
        """
        config, module = self.config, self.module
        sampler = Sampler(self.generators[0], self.device)
        looks = self._samples(sampler)
        with mixed_precision(self.device):
            described = module.network.describe(looks.eyes, looks.face)
        seen, around = (_dropped(numbers.float(), config.dropout, sampler) for numbers in described)
        away = torch.linalg.vector_norm(module.network.directions(seen, around) - looks.gaze, dim=-1)
        away = (away - looks.tolerance[:, None]).clamp_min(0)
        landmarks = module.landmarks(seen).view_as(looks.landmarks)
        aside = torch.linalg.vector_norm(landmarks - looks.landmarks, dim=-1).mean(-1)
        rendered = looks.rotation.isfinite().flatten(1).all(1)
        rotation = torch.where(rendered[:, None, None], looks.rotation.flatten(2), 0)
        turned = torch.linalg.vector_norm(module.rotation(around) - rotation, dim=-1).mean(1) * rendered
        each = (away + config.landmark_weight * aside) * looks.seen
        turning = config.rotation_weight * turned.sum() / rendered.sum().clamp(min=1)
        yield each.sum() / looks.seen.sum().clamp(min=1) + turning

    @torch.no_grad()
    def _samples(self, sampler: Sampler) -> "GazeBatch":
        """A batch: faces as smaller images, seen through landmarks as fits find them, and augmented."""
        config, network = self.config, self.module.network
        faces = self.faces[sampler.integers(len(self.faces), config.batch)]
        side, count = faces.gray.shape[-1], len(faces)
        smaller = round(side * float(sampler.log_uniform(config.least_size, 1.0, 1)))
        gray = interpolate(faces.gray[:, None].float(), (smaller, smaller), mode="bilinear", antialias=True)[:, 0]
        landmarks, eyes = ((each + 0.5) * (smaller / side) - 0.5 for each in (faces.landmarks, faces.eyes))
        size, middles = _size(landmarks), eyes[:, :, CORNERS].mean(2)
        landmarks = landmarks + sampler.normal(config.landmark_noise, *landmarks.shape) * size
        angle, zoom = sampler.normal(config.rotation, count), sampler.normal(config.scale, count).exp()
        cosine, sine = angle.cos(), angle.sin()
        turn = torch.stack((cosine, -sine, sine, cosine), -1).view(-1, 2, 2)
        requests = [
            replace(
                request,
                centers=request.centers + sampler.normal(config.shift, *request.centers.shape) * size,
                to_image=request.to_image @ turn * zoom[:, None, None],
            )
            for request in network.crop_requests(landmarks, middles)
        ]
        upright = upright_of(requests[0].to_image)
        images = ImageBatch(gray, torch.arange(count, device=self.device))
        crops = [images.crop(request, EXACT)[0] for request in requests]
        shown = [augment(crop.flatten(0, 1), sampler, erasing=0).view_as(crop) for crop in crops]
        return GazeBatch(
            eyes=shown[0],
            face=shown[1],
            gaze=_turned(upright, faces.gaze.mT).mT,
            landmarks=_in_crops(eyes, requests[0]),
            rotation=_turned(upright, faces.rotation)[:, None] * constant(MIRRORED_AXES, upright),
            seen=faces.seen,
            tolerance=faces.tolerance,
        )


def _dropped(numbers: Tensor, share: float, sampler: Sampler) -> Tensor:
    """Numbers after dropout: a share of them 0, the others larger by as much."""
    return numbers * sampler.bernoulli(1 - share, *numbers.shape) / (1 - share)


def _size(landmarks: Tensor) -> Tensor:
    """How far the steady landmarks of faces (B, 68, 2) lie from their middle on average, (B, 1, 1)."""
    steady = landmarks[:, STEADY]
    return torch.linalg.vector_norm(steady - steady.mean(1, keepdim=True), dim=-1).mean(-1)[:, None, None]


def _turned(upright: Tensor, vectors: Tensor) -> Tensor:
    """Columns (B, 3, K) in the image's axes, in those of crops that are turned by rotations (B, 2, 2)."""
    return torch.cat((upright @ vectors[:, :2], vectors[:, 2:]), 1)


def _in_crops(eyes: Tensor, request: CropRequest) -> Tensor:
    """Landmarks (B, 2, 28, 2) of eyes in their crops, in halves of these from the middle, each eye the left one."""
    away = (eyes - request.centers[:, :, None]) @ invert_similarity(request.to_image).mT[:, None] * (2 / request.width)
    left, right = away.unbind(1)
    return torch.stack((left, right[:, EYE_MIRROR] * constant((-1.0, 1.0), right)), 1)


def new_network(places: Tensor) -> GazeNetwork:
    """A network with random weights for faces whose `STEADY` landmarks lie there, millimetres, shape (K, 2)."""
    height = EYE_ROWS.stop - EYE_ROWS.start
    eye = _convolutions(EYE_WIDTHS, EYE_POOLED, EYE_NUMBERS, (height, EYE_SIDE))
    face = _convolutions(FACE_WIDTHS, FACE_POOLED, FACE_NUMBERS, (FACE_SIDE, FACE_SIDE))
    last = nn.Linear(HIDDEN, 3)
    # Into the camera, at first
    last.bias = nn.Parameter(torch.tensor([0.0, 0.0, -1.0]))
    look = nn.Sequential(nn.Linear(2 * EYE_NUMBERS + FACE_NUMBERS, HIDDEN), nn.ReLU(), last)
    return GazeNetwork(places, eye, face, look)


def _convolutions(
    widths: tuple[int, ...], pooled: tuple[int, ...], numbers: int, size: tuple[int, int]
) -> nn.Sequential:
    """Convolutions of images of a height and width, and a layer of so many numbers."""
    layers: list[nn.Module] = []
    height, width = size
    for before, after in zip((1, *widths), widths, strict=False):
        layers += [nn.Conv2d(before, after, 3), nn.BatchNorm2d(after), nn.ReLU()]
        height, width = height - 2, width - 2
        if after in pooled:
            layers.append(nn.MaxPool2d(2, 2, ceil_mode=True))
            height, width = -(-height // 2), -(-width // 2)
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(widths[-1] * height * width, numbers), nn.ReLU())


def fused_layers(layers: nn.Module) -> nn.Sequential:
    """The same layers for use: batch normalisation in the convolutions before it."""
    fused: list[nn.Module] = []
    for layer in layers.children():
        if isinstance(layer, nn.BatchNorm2d):
            fused[-1] = fuse_conv_bn_eval(cast(nn.Conv2d, fused[-1]), layer)
        else:
            fused.append(layer)
    return nn.Sequential(*fused)


def train_gaze_network(
    faces: GazeFaces,
    config: GazeConfig,
    folder: Path | None = None,
    report: Report = lambda *_: None,
    device: str | torch.device = "cpu",
) -> GazeNetwork:
    """A gaze network, on the CPU.

    Args:
        faces: From `gaze_faces` and `gaze_portraits`.
        config: Settings.
        folder: For the checkpoint, from which the same call goes on.
        report: Told after every step.
        device: To train on.

    Raises:
        CheckpointError: The folder holds the checkpoint of another training.
    """
    task = GazeTask(config, map_tensors(lambda values: values.to(device), faces))
    settings = f"{config} {fingerprint(faces.gray, faces.landmarks, faces.gaze, faces.tolerance)}"
    Trainer(task).run("gaze", Checkpoint.within(folder, "gaze", settings), report)
    return task.network()
