"""Trains a validator: a small network that classifies the error of landmarks (NME) from the face between them."""

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from clnf_torch.detection.validator import DetectionValidator
from clnf_torch.detection.view_validator import ViewValidator
from clnf_torch.fitting.initialise import params_from_landmarks
from clnf_torch.geometry.landmarks68 import MIRROR
from clnf_torch.geometry.records import join_rows
from clnf_torch.models.array_schema import WHOLE, Array, any_numbers
from clnf_torch.models.landmark_model import LandmarkModel
from clnf_torch.models.layers import layer_records
from clnf_torch.models.pdm import PDM
from clnf_torch.models.schema import Fields
from clnf_torch.training.augmentation.photometric import ImageAugmentation
from clnf_torch.training.augmentation.random import Sampler
from clnf_torch.training.checkpoint import Checkpoint, fingerprint
from clnf_torch.training.data.crops import FaceCrops, to_pyramid_level
from clnf_torch.training.data.trial_fits import (
    STARTS,
    TrialFits,
    perturb_shapes,
    run_trial_fits,
    with_half_occluded_faces,
)
from clnf_torch.training.evaluation.metrics import FAILED
from clnf_torch.training.trainer import Report, Schedule, Task, Trainer, mixed_precision
from clnf_torch.training.validator.network import (
    bin_positions,
    frame_landmarks,
    make_network,
    make_warp_table,
    pyramid_batches,
    set_statistics,
    soft_targets,
    trainable_view,
    warped_pixels,
)

# Trial fits in a checkpoint; one that failed has no finite landmarks
FITS = Fields(
    {
        "face": Array("K", dtypes=WHOLE, low=0, high=1 << 30),
        "landmarks": any_numbers("K", "N", 2),
        "error": any_numbers("K"),
    }
)
# Steps of linear warm-up of the learning rate
WARM_UP = 100


@dataclass(frozen=True, kw_only=True)
class ValidatorConfig:
    """What a validator is, and how it is trained."""

    side: int = 56  # of its input images, pixels; divisible by 8
    widths: tuple[int, ...] = (16, 32, 64, 64)  # channels of its convolutions
    hidden: int = 64
    bins: int = 20  # of confidence, as many as OpenFace's validators for CE-CLM have
    failure_limit: float = FAILED  # NME below which landmarks count as correct
    target_sigma: float = 1.0  # width of the soft targets, bins
    levels: int = 3  # of the image pyramids
    steps: int = 3000
    batch: int = 128
    fit_share: float = 0.5  # share of trial fits in a batch; the others are perturbed true shapes
    pen_marks: float = 0.4  # probability on a face
    learning_rate: float = 2e-3  # the highest, of AdamW
    weight_decay: float = 0.02
    seed: int = 0


class ValidatorTask(Task):
    """The training of a validator: AdamW with linear warm-up and cosine decay; a round is a step.

    Args:
        config: Settings.
        faces: Annotated faces.
        pdm: The shape model; its mean, seen from the front, is the reference frame.
        fits: Trial fits of the faces.
    """

    module: nn.Sequential

    def __init__(self, config: ValidatorConfig, faces: FaceCrops, pdm: PDM, fits: TrialFits) -> None:
        self.config, self.faces, self.pdm, self.fits = config, faces, pdm, fits
        self.schedule = Schedule(rounds=config.steps, learning_rate=config.learning_rate, warm_up=WARM_UP)
        self.device = faces.gray.device
        self.generators = (torch.Generator().manual_seed(config.seed),)
        self._params = params_from_landmarks(pdm, faces.landmarks)
        self._mirror = torch.tensor(MIRROR, device=self.device)
        self._images = pyramid_batches(faces.gray, config.levels)
        self._weights = _balanced_weights(
            bin_positions(fits.error, config.bins, config.failure_limit).long().cpu(), config.bins
        )
        self._frame = frame_landmarks(pdm.mean[:, :2], config.side).float()
        self._table = make_warp_table(pdm.mean[:, :2].cpu(), config.side)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            self.module = make_network(config.side, config.widths, config.hidden, config.bins).to(self.device)
        true = pdm.landmarks(self._params)
        self._view = trainable_view(self._table, config.side, self.module).to(self.device)
        set_statistics(self._view, self._images[0], (true, true[:, self._mirror]))
        self.optimiser = torch.optim.AdamW(
            self.module.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
        )

    def record(self) -> dict[str, Any]:
        """The validator so far, as a bundle's ``validator`` with one view."""
        statistics = {"mean": self._view.mean.cpu(), "deviation": self._view.deviation.cpu()}
        layers = layer_records(deepcopy(self.module).half())
        view = ViewValidator.record(**self._table, **statistics, layers=layers)
        size, frontal = (self.config.side, self.config.side), torch.zeros(1, 3, dtype=torch.float64)
        return DetectionValidator.record(size, frontal, [view])

    def losses(self) -> Iterator[Tensor]:
        """Cross-entropy with soft targets, of one batch."""
        config = self.config
        trials, pixels = self._samples()
        wanted = soft_targets(trials.error, config.bins, config.failure_limit, config.target_sigma)
        with mixed_precision(self.device):
            scores = self._view(pixels)
        yield cross_entropy(scores.float(), wanted)

    @torch.no_grad()
    def _samples(self) -> tuple[TrialFits, Tensor]:
        """A batch of landmarks, and the augmented gray levels between them (B, P)."""
        sampler, side, places = Sampler(self.generators[0], self.device), self.config.side, self._view.places
        trials = self._trials(sampler)
        warped = self._warped(trials, int(sampler.integers(len(self._images), 1)), sampler)
        images = warped.new_zeros(len(trials), side * side).index_copy(1, places, warped).view(-1, side, side)
        here = self._frame.expand(len(trials), -1, -1)
        augmented = ImageAugmentation(pen_marks=self.config.pen_marks)(images, here, sampler)
        return trials, augmented.flatten(1)[:, places]

    def _trials(self, sampler: Sampler) -> TrialFits:
        """Trial fits, as many of every bin, and perturbed shapes."""
        fitted = round(self.config.fit_share * self.config.batch)
        drawn = torch.multinomial(self._weights, fitted, replacement=True, generator=sampler.generator)
        face = sampler.integers(len(self.faces), self.config.batch - fitted)
        perturbed = TrialFits.of(self.faces, face, perturb_shapes(self.pdm, self._params[face], sampler))
        return join_rows(self.fits[drawn.to(self.device)], perturbed)

    def _warped(self, trials: TrialFits, level: int, sampler: Sampler) -> Tensor:
        """Gray levels (B, P) between the landmarks at a pyramid level, half of them mirrored."""
        landmarks = to_pyramid_level(trials.landmarks, level)
        mirrored = sampler.bernoulli(0.5, len(trials))[:, None, None]
        landmarks = torch.where(mirrored, landmarks[:, self._mirror], landmarks)
        return warped_pixels(self._view, self._images[level].rows(trials.face), landmarks)


def train_validator(
    model: LandmarkModel,
    faces: FaceCrops,
    config: ValidatorConfig,
    folder: Path,
    report: Report = lambda *_: None,
) -> dict[str, Any]:
    """A validator for a landmark model.

    Args:
        model: Its fits are to be judged; its mean shape is the reference frame.
        faces: Annotated faces.
        config: Settings.
        folder: For checkpoints, from which the same call resumes.
        report: Told after every step, and after every kind of trial fit its failure rate.

    Returns:
        The validator of a bundle; see converters/README.md.

    Raises:
        CheckpointError: The folder holds checkpoints of another training.
    """
    data = fingerprint(*model.state_dict().values(), faces.gray, faces.landmarks)
    faces = with_half_occluded_faces(faces, config.seed)
    fits = _fits(model, faces, config.seed, Checkpoint(folder / "validator_fits.pt", f"{config.seed} {data}"), report)
    task = ValidatorTask(config, faces, model.pdm, fits)
    Trainer(task).run("validator", Checkpoint(folder / "validator.pt", f"{config} {data}"), report)
    return task.record()


def _fits(model: LandmarkModel, faces: FaceCrops, seed: int, checkpoint: Checkpoint, report: Report) -> TrialFits:
    """Trial fits of the faces, from their checkpoint where there is one."""
    state = checkpoint.load(FITS)
    if state is None:
        kinds, name = len(STARTS), checkpoint.path.stem
        fits = run_trial_fits(model, faces, seed, lambda n, failed: report(name, n, kinds, failed))
        state = vars(fits)
        checkpoint.save(state)
    return TrialFits(**{name: value.to(faces.gray.device) for name, value in state.items()})


def _balanced_weights(place: Tensor, bins: int) -> Tensor:
    """Sampling weights (K,) that balance the bins (K,): inverse frequencies."""
    return 1 / place.bincount(minlength=bins)[place]
