"""Trains a validator: a small network that tells by the face between the landmarks how far they are off."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from clnf_torch.fitting.initialise import params_from_landmarks
from clnf_torch.models.landmark_model import LandmarkModel
from clnf_torch.models.pdm import PDM
from clnf_torch.training.augmentation.photometric import ImageAugmentation
from clnf_torch.training.augmentation.random import Sampler
from clnf_torch.training.checkpoint import Checkpoint, fingerprint
from clnf_torch.training.data.crops import FaceCrops, to_pyramid_level
from clnf_torch.training.metrics import FAILED
from clnf_torch.training.shape_gaussian import MIRROR_68
from clnf_torch.training.trainer import Report, Schedule, Task, Trainer
from clnf_torch.training.validator_network import bin_positions, layers_of, make_network, soft_targets
from clnf_torch.training.validator_samples import (
    STARTS,
    TrialFits,
    perturb_shapes,
    pyramid_batches,
    run_trial_fits,
    set_statistics,
    trainable_view,
    warped_pixels,
    with_half_faces,
)
from clnf_torch.training.warp_table import frame_landmarks, make_warp_table

# Steps until the full learning rate
WARM_UP = 100


@dataclass(frozen=True, kw_only=True)
class ValidatorConfig:
    """What a validator is, and how it is trained."""

    side: int = 56  # of the images that it looks at, pixels; divisible by 8
    widths: tuple[int, ...] = (16, 32, 64, 64)  # channels of its convolutions
    hidden: int = 64
    bins: int = 20  # steps of confidence, as many as OpenFace's validators for CE-CLM have
    failure_limit: float = FAILED  # the error below which landmarks are taken for a face
    target_sigma: float = 1.0  # of the targets, bins
    levels: int = 3  # sharpnesses of the images that it is shown
    steps: int = 3000
    batch: int = 128
    fit_share: float = 0.5  # share of the landmarks that come from fits; the others are true ones, disturbed
    pen_marks: float = 0.4  # share of faces with pen markings
    learning_rate: float = 2e-3  # highest learning rate of AdamW
    weight_decay: float = 0.02  # of weights
    seed: int = 0


class ValidatorTask(Task):
    """The training of a validator: AdamW with linear warm-up and cosine decay; a round is a step.

    Args:
        config: Settings.
        faces: Annotated faces.
        pdm: The shape model; its mean, seen from the front, is the frame of reference.
        fits: Landmarks that fits have found.
    """

    module: nn.Sequential

    def __init__(self, config: ValidatorConfig, faces: FaceCrops, pdm: PDM, fits: TrialFits) -> None:
        self.config, self.faces, self.pdm, self.fits = config, faces, pdm, fits
        self.schedule = Schedule(rounds=config.steps, learning_rate=config.learning_rate, warm_up=WARM_UP)
        self.device = faces.gray.device
        self.generators = (torch.Generator().manual_seed(config.seed),)
        self._params = params_from_landmarks(pdm, faces.landmarks)
        self._mirror = torch.tensor(MIRROR_68, device=self.device)
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
        return {
            "kind": "cnn",
            "size": [self.config.side, self.config.side],
            "orientations": torch.zeros(1, 3, dtype=torch.float64),
            "views": [{**self._table, **statistics, "layers": layers_of(self.module)}],
        }

    def losses(self) -> Iterator[Tensor]:
        """The loss of some landmarks."""
        config = self.config
        trials, pixels = self._samples()
        wanted = soft_targets(trials.error, config.bins, config.failure_limit, config.target_sigma)
        with torch.autocast(self.device.type, torch.bfloat16):
            scores = self._view(pixels)
        yield cross_entropy(scores.float(), wanted)

    @torch.no_grad()
    def _samples(self) -> tuple[TrialFits, Tensor]:
        """A batch of landmarks, and the gray levels between them as a pen and a camera would have them (B, P)."""
        sampler, side, places = Sampler(self.generators[0], self.device), self.config.side, self._view.places
        trials = self._trials(sampler)
        warped = self._warped(trials, int(sampler.integers(len(self._images), 1)), sampler)
        images = warped.new_zeros(len(trials), side * side).index_copy(1, places, warped).view(-1, side, side)
        here = self._frame.expand(len(trials), -1, -1)
        augmented = ImageAugmentation(pen_marks=self.config.pen_marks)(images, here, sampler)
        return trials, augmented.flatten(1)[:, places]

    def _trials(self, sampler: Sampler) -> TrialFits:
        """Landmarks of fits, as many from every bin, and disturbed ones."""
        fitted = round(self.config.fit_share * self.config.batch)
        drawn = torch.multinomial(self._weights, fitted, replacement=True, generator=sampler.generator)
        face = sampler.integers(len(self.faces), self.config.batch - fitted)
        perturbed = TrialFits.of(self.faces, face, perturb_shapes(self.pdm, self._params[face], sampler))
        return TrialFits.concatenate([self.fits[drawn.to(self.device)], perturbed])

    def _warped(self, trials: TrialFits, level: int, sampler: Sampler) -> Tensor:
        """Gray levels between the landmarks in images of a sharpness, half of them mirrored; (B, P)."""
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
        model: The model, whose fits it shall judge, and whose mean shape is its frame of reference.
        faces: Annotated faces.
        config: Settings.
        folder: For checkpoints: the same call goes on where an earlier one was stopped.
        report: Told how it goes.

    Returns:
        The validator of a bundle; see converters/README.md.

    Raises:
        CheckpointError: The folder holds checkpoints of another training.
    """
    data = fingerprint(*model.state_dict().values(), faces.gray, faces.landmarks)
    faces = with_half_faces(faces, config.seed)
    fits = _fits(model, faces, config.seed, Checkpoint(folder / "validator_fits.pt", f"{config.seed} {data}"), report)
    task = ValidatorTask(config, faces, model.pdm, fits)
    Trainer(task).run("validator", Checkpoint(folder / "validator.pt", f"{config} {data}"), report)
    return task.record()


def _fits(model: LandmarkModel, faces: FaceCrops, seed: int, checkpoint: Checkpoint, report: Report) -> TrialFits:
    """Fits of the faces, from their checkpoint where there is one."""
    state = checkpoint.load()
    if state is None:
        kinds, name = len(STARTS), checkpoint.path.stem
        fits = run_trial_fits(model, faces, seed, lambda n, failed: report(name, n, kinds, failed))
        state = vars(fits)
        checkpoint.save(state)
    return TrialFits(**{name: value.to(faces.gray.device) for name, value in state.items()})


def _balanced_weights(place: Tensor, bins: int) -> Tensor:
    """How often each guess is drawn so that every bin that has any comes as often as the others, shape (K,)."""
    return 1 / place.bincount(minlength=bins)[place]
