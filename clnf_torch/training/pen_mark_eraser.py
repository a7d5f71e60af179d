"""Trains the eraser of pen marks: photographs of faces, with marks drawn on them that it takes away again."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, binary_cross_entropy_with_logits, grid_sample, interpolate

from clnf_torch.detection import FaceDetector
from clnf_torch.geometry.gray import to_gray
from clnf_torch.geometry.landmarks68 import MIRROR
from clnf_torch.geometry.records import Rows, map_tensors
from clnf_torch.models.eraser_network import EraserNetwork
from clnf_torch.pipeline import LandmarkDetector
from clnf_torch.training.augmentation.pen_marks import draw_pen_marks
from clnf_torch.training.augmentation.random import Sampler
from clnf_torch.training.checkpoint import Checkpoint, fingerprint
from clnf_torch.training.data.crops import NoFacesError, cut_square, mirrored, square_around, to_crop
from clnf_torch.training.trainer import AveragedTask, Report, Schedule, Trainer, mixed_precision

# Of the photographs' crops, pixels, and in extents of the landmarks
SIDE, MARGIN = 384, 1.9
EMA_DECAY, WARM_UP = 0.998, 100
# Gray levels by which a pixel that is drawn on differs
DRAWN = 5.0
# Of a loss of 1
GRAY_LEVELS = 25.5


@dataclass(frozen=True, kw_only=True)
class EraserConfig:
    """How an eraser is trained."""

    widths: tuple[int, ...] = (24, 32, 48, 64)
    steps: int = 2400
    batch: int = 16
    side: int = 192  # of the images that it learns from, pixels
    learning_rate: float = 2e-3  # the highest, of AdamW
    weight_decay: float = 1e-4
    marked: float = 0.85  # share of the faces that are drawn on
    bare_weight: float = 0.1  # of the loss where nothing is drawn, over that of marks
    mark_weight: float = 3.0  # of marks in the loss of their probabilities, over that of bare skin
    gray: float = 0.2  # share of the images without colours
    soft: float = 0.35  # share of the images from fewer pixels
    zoom: tuple[float, float] = (0.42, 0.9)  # of the images, as shares of the photographs' crops
    rotation: float = 0.35  # standard deviation, radians
    shift: float = 0.18  # standard deviation, halves of the photographs' sides
    noise: float = 6.0  # the largest standard deviation, gray levels
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class ColourFaces(Rows):
    """Crops of faces in colour, one per row."""

    images: Tensor  # (F, 3, S, S) RGB, uint8
    landmarks: Tensor  # (F, 68, 2) px
    photographed: Tensor  # (F,) side of the crops in the photographs, px


def colour_faces(
    images: Iterable[Tensor], face_detector: FaceDetector, detector: LandmarkDetector, done: Callable[[int], None]
) -> ColourFaces:
    """The largest face of every image that shows one, its landmarks as a model finds them.

    Marks are drawn around these landmarks, as surgeons draw them: they need not be exact.

    Args:
        images: RGB, uint8, shape (3, H, W) each.
        face_detector: Gives boxes of 68 landmarks.
        detector: Finds the landmarks.
        done: Told how many faces there are, after each image.

    Raises:
        NoFacesError: No image shows a face.
    """
    crops, places, lengths = [], [], []
    for image in images:
        found = face_detector.detect(image[None]).boxes
        if len(found):
            box = found[found[:, 2:].prod(1).argmax()]
            fit = detector.fit(image[None], box[None], parts=False, validate=False)
            landmarks = fit.landmarks[0].float()
            if bool(fit.success[0]) and bool(landmarks.isfinite().all()):
                left, top, length = square_around(landmarks, MARGIN)
                crops.append(torch.stack([cut_square(channel, left, top, length, SIDE) for channel in image]))
                places.append(to_crop(landmarks, left, top, length, SIDE))
                lengths.append(float(length))
        done(len(crops))
    if not crops:
        raise NoFacesError("the photographs show no face; give photographs of faces without pen marks")
    return ColourFaces(images=torch.stack(crops), landmarks=torch.stack(places), photographed=torch.tensor(lengths))


class EraserTask(AveragedTask):
    """The training of an eraser: AdamW, linear warm-up, cosine decay, averaged weights (EMA); a round is a step.

    Args:
        config: Settings.
        faces: From `colour_faces`.
    """

    module: EraserNetwork

    def __init__(self, config: EraserConfig, faces: ColourFaces) -> None:
        self.config, self.faces = config, faces
        self.schedule = Schedule(rounds=config.steps, learning_rate=config.learning_rate, warm_up=WARM_UP)
        self.generators = (torch.Generator().manual_seed(config.seed),)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            module = EraserNetwork(config.widths, normalised=True)
        groups = [{"params": list(module.parameters()), "weight_decay": config.weight_decay}]
        super().__init__(
            module, faces.images.device, decay=EMA_DECAY, groups=groups, learning_rate=config.learning_rate
        )

    def network(self) -> EraserNetwork:
        """The network so far, with averaged weights (EMA), its batch normalisation fused, on the CPU."""
        module: EraserNetwork = self.averaged()
        return module.eval().cpu().fused()

    def losses(self) -> Iterator[Tensor]:
        """How far erased images are from those without marks, and the cross entropy of the marks' probabilities."""
        config = self.config
        bare, marked = self.views(Sampler(self.generators[0], self.device))
        drawn = ((bare - marked).abs().amax(1, keepdim=True) > DRAWN).float()
        with mixed_precision(self.device):
            skin, logits = self.module(marked.contiguous(memory_format=torch.channels_last))
        weight = config.bare_weight + drawn
        erased = torch.lerp(marked, skin, logits.sigmoid())
        away = ((erased - bare).abs() * weight).mean() / weight.mean()
        share = logits.new_tensor(config.mark_weight)
        yield away / GRAY_LEVELS + binary_cross_entropy_with_logits(logits, drawn, pos_weight=share)

    @torch.no_grad()
    def views(self, sampler: Sampler) -> tuple[Tensor, Tensor]:
        """A batch of faces without and with marks, in 0 to 255, shape (B, 3, S, S) each, seen in the same way."""
        config = self.config
        # Faces of many pixels more often than those of few, which are blurred when they are enlarged
        share = self.faces.photographed / self.faces.photographed.sum()
        place = torch.searchsorted(share.cumsum(0), sampler.uniform(0, 1, config.batch))
        faces = self.faces[place.clamp_max(len(self.faces) - 1)]
        images, landmarks = _seen(*_mirrored(faces, sampler), config, sampler)
        images = _relit(images, sampler)
        marked = draw_pen_marks(images, landmarks, sampler.generator, probability=config.marked)
        both = _softened(torch.cat((images, marked), 1), config, sampler)
        noise = sampler.uniform(0, config.noise, config.batch, 1, 1, 1) * sampler.bernoulli(0.5, config.batch, 1, 1, 1)
        noise = noise * sampler.normal(1, *both[:, :3].shape)
        without_colour = sampler.bernoulli(config.gray, config.batch, 1, 1, 1)
        bare, marked = (
            torch.where(without_colour, to_gray(half)[:, None], half).clamp(0, 255)
            for half in (both + noise.repeat(1, 2, 1, 1)).split(3, 1)
        )
        return bare, marked


def _mirrored(faces: ColourFaces, sampler: Sampler) -> tuple[Tensor, Tensor]:
    """Images (B, 3, S, S) in 0 to 255 and landmarks (B, 68, 2) of faces, half of them mirrored."""
    flipped = sampler.bernoulli(0.5, len(faces), 1, 1)
    images, width = faces.images.float(), faces.images.shape[-1]
    other = mirrored(faces.landmarks, torch.tensor(MIRROR, device=images.device), width)
    return torch.where(flipped[..., None], images.flip(-1), images), torch.where(flipped, other, faces.landmarks)


def _relit(images: Tensor, sampler: Sampler) -> Tensor:
    """Images under other light: gamma, contrast and tint."""
    count = len(images)
    gamma, contrast = (sampler.normal(deviation, count, 1, 1, 1).exp() for deviation in (0.35, 0.2))
    lit = 255 * (images / 255).clamp(min=1e-3) ** gamma
    mean = lit.mean((1, 2, 3), keepdim=True)
    tint = 1 + sampler.normal(0.08, count, 3, 1, 1)
    return (((lit - mean) * contrast + mean) * tint).clamp(0, 255)


def _seen(images: Tensor, landmarks: Tensor, config: EraserConfig, sampler: Sampler) -> tuple[Tensor, Tensor]:
    """Images (B, 3, A, A) and landmarks (B, 68, 2) turned, moved and enlarged at random, in images (B, 3, S, S)."""
    count, side, width = len(images), config.side, images.shape[-1]
    zoom, angle = sampler.log_uniform(*config.zoom, count), sampler.normal(config.rotation, count)
    turn = torch.stack((angle.cos(), -angle.sin(), angle.sin(), angle.cos()), 1).view(count, 2, 2)
    linear, shift = turn * zoom[:, None, None], sampler.normal(config.shift, count, 2, 1)
    grid = affine_grid(torch.cat((linear, shift), 2), [count, 1, side, side], align_corners=False)
    seen = grid_sample(images, grid, padding_mode="reflection", align_corners=False)
    # Halves of the images' sides, from their middles
    places = ((2 * landmarks + 1) / width - 1 - shift.mT) @ torch.linalg.inv(linear).mT
    return seen, ((places + 1) * side - 1) / 2


def _softened(images: Tensor, config: EraserConfig, sampler: Sampler) -> Tensor:
    """Images (B, C, S, S), some as if they had fewer pixels."""
    side = config.side
    fewer = round(side * float(sampler.log_uniform(1 / 3, 2 / 3, 1)))
    soft = interpolate(interpolate(images, size=(fewer, fewer), mode="area"), size=(side, side), mode="bilinear")
    return torch.where(sampler.bernoulli(config.soft, len(images), 1, 1, 1), soft, images)


def train_eraser(
    faces: ColourFaces,
    config: EraserConfig,
    folder: Path | None = None,
    report: Report = lambda *_: None,
    device: str | torch.device = "cpu",
) -> EraserNetwork:
    """A network that erases pen marks, on the CPU.

    Args:
        faces: From `colour_faces`.
        config: Settings.
        folder: For the checkpoint, from which the same call goes on.
        report: Told after every step.
        device: To train on.

    Raises:
        CheckpointError: The folder holds the checkpoint of another training.
    """
    task = EraserTask(config, map_tensors(lambda values: values.to(device), faces))
    settings = f"{config} {fingerprint(faces.images, faces.landmarks, faces.photographed)}"
    Trainer(task).run("eraser", Checkpoint.within(folder, "eraser", settings), report)
    return task.network()
