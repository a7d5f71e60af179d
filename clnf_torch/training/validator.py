"""Trains a validator: a small network that tells by the face between the landmarks how far they are off."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from clnf_torch.fitting.initialise import params_from_landmarks
from clnf_torch.models.landmark_model import LandmarkModel
from clnf_torch.models.pdm import PDM
from clnf_torch.training.augmentation.photometric import ImageAugmentation
from clnf_torch.training.augmentation.random import Sampler
from clnf_torch.training.data.crops import FaceCrops, in_halved
from clnf_torch.training.metrics import FAILED
from clnf_torch.training.shape_gaussian import MIRROR_68
from clnf_torch.training.trainer import cosine_schedule, load_checkpoint, save_checkpoint
from clnf_torch.training.validator_network import layers_of, make_network, places_of, targets
from clnf_torch.training.validator_samples import (
    STARTS,
    TrialFits,
    disturb,
    fits_from_everywhere,
    gray_between,
    in_sharpnesses,
    make_view,
    set_statistics,
    with_half_faces,
)
from clnf_torch.training.warp_table import frame_landmarks, make_warp_table

# Steps
SAVE_EVERY = 250
# Steps until the full learning rate
WARM_UP = 100

Report = Callable[[str, int, int, float], None]
"""Called with what is done, the steps done, the steps in all, and the loss (or the share of fits that failed)."""


@dataclass(frozen=True, kw_only=True)
class ValidatorConfig:
    """What a validator is, and how it is trained."""

    side: int = 56  # of the images that it looks at, pixels; divisible by 8
    widths: tuple[int, ...] = (16, 32, 64, 64)  # channels of its convolutions
    hidden: int = 64
    bins: int = 20  # steps of confidence, as many as OpenFace's validators for CE-CLM have
    passing: float = FAILED  # the error below which landmarks are taken for a face
    softness: float = 1.0  # of the targets, bins
    levels: int = 3  # sharpnesses of the images that it is shown
    steps: int = 3000
    batch: int = 128
    fitted: float = 0.5  # share of the landmarks that come from fits; the others are true ones, disturbed
    marked: float = 0.4  # share of faces with pen markings
    rate: float = 2e-3  # highest learning rate of AdamW
    decay: float = 0.02  # of weights
    seed: int = 0


class ValidatorTraining:
    """The training of a validator, step by step.

    Args:
        config: Settings.
        faces: Annotated faces.
        pdm: The shape model; its mean, seen from the front, is the frame of reference.
        fits: Landmarks that fits have found.
    """

    def __init__(self, config: ValidatorConfig, faces: FaceCrops, pdm: PDM, fits: TrialFits) -> None:
        self.config, self.faces, self.pdm, self.fits, self.step = config, faces, pdm, fits, 0
        self.device = faces.gray.device
        self.generator = torch.Generator().manual_seed(config.seed)
        self._params = params_from_landmarks(pdm, faces.landmarks)
        self._mirror = torch.tensor(MIRROR_68, device=self.device)
        self._images = in_sharpnesses(faces.gray, config.levels)
        self._share = _even_share(places_of(fits.error, config.bins, config.passing).long().cpu(), config.bins)
        self._frame = frame_landmarks(pdm.mean[:, :2], config.side).float()
        self._table = make_warp_table(pdm.mean[:, :2].cpu(), config.side)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            self.network = make_network(config.side, config.widths, config.hidden, config.bins).to(self.device)
        true = pdm.landmarks(self._params)
        self._view = make_view(self._table, config.side, self.network).to(self.device)
        set_statistics(self._view, self._images[0], (true, true[:, self._mirror]))
        self._optimiser = torch.optim.AdamW(self.network.parameters(), lr=config.rate, weight_decay=config.decay)

    def run(self, until: int | None = None, report: Callable[[int, float], None] = lambda *_: None) -> None:
        """Steps until a number of them, or all, are done; `report` is told the number and the loss of each."""
        for _ in range(self.step, min(self.config.steps, until or self.config.steps)):
            loss = self._one_step()
            self.step += 1
            report(self.step, loss)

    def record(self) -> dict[str, Any]:
        """The validator so far, as a bundle's ``validator`` with one view."""
        statistics = {"mean": self._view.mean.cpu(), "deviation": self._view.deviation.cpu()}
        return {
            "kind": "cnn",
            "size": [self.config.side, self.config.side],
            "orientations": torch.zeros(1, 3, dtype=torch.float64),
            "views": [{**self._table, **statistics, "layers": layers_of(self.network)}],
        }

    def state(self) -> dict[str, Any]:
        """All that a checkpoint must hold."""
        return {
            "step": self.step,
            "network": self.network.state_dict(),
            "optimiser": self._optimiser.state_dict(),
            "generator": self.generator.get_state(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Goes on from a checkpoint."""
        self.step = state["step"]
        self.network.load_state_dict(state["network"])
        self._optimiser.load_state_dict(state["optimiser"])
        self.generator.set_state(state["generator"])

    def _one_step(self) -> float:
        """Draws landmarks, and moves the weights; the loss."""
        config = self.config
        for group in self._optimiser.param_groups:
            group["lr"] = cosine_schedule(self.step, config.steps, config.rate, WARM_UP)
        guesses, pixels = self._samples()
        wanted = targets(guesses.error, config.bins, config.passing, config.softness)
        with torch.autocast(self.device.type, torch.bfloat16):
            scores = self._view(pixels)
        loss = cross_entropy(scores.float(), wanted)
        self._optimiser.zero_grad()
        loss.backward()
        self._optimiser.step()
        return loss.item()

    @torch.no_grad()
    def _samples(self) -> tuple[TrialFits, Tensor]:
        """A batch of landmarks, and the gray levels between them as a pen and a camera would have them (B, P)."""
        dice, side, places = Sampler(self.generator, self.device), self.config.side, self._view.places
        guesses = self._guesses(dice)
        warped = self._warped(guesses, int(dice.choice(len(self._images), 1)), dice)
        images = warped.new_zeros(len(guesses), side * side).index_copy(1, places, warped).view(-1, side, side)
        here = self._frame.expand(len(guesses), -1, -1)
        spoilt = ImageAugmentation(marked=self.config.marked)(images, here, dice)
        return guesses, spoilt.flatten(1)[:, places]

    def _guesses(self, dice: Sampler) -> TrialFits:
        """Landmarks of fits, as many from every bin, and disturbed ones."""
        fitted = round(self.config.fitted * self.config.batch)
        drawn = torch.multinomial(self._share, fitted, replacement=True, generator=self.generator)
        face = dice.choice(len(self.faces), self.config.batch - fitted)
        disturbed = TrialFits.of(self.faces, face, disturb(self.pdm, self._params[face], dice))
        return TrialFits.concatenate([self.fits[drawn.to(self.device)], disturbed])

    def _warped(self, guesses: TrialFits, level: int, dice: Sampler) -> Tensor:
        """Gray levels between the landmarks in images of a sharpness, half of them mirrored; (B, P)."""
        landmarks = in_halved(guesses.landmarks, level)
        mirrored = dice.chance(0.5, len(guesses))[:, None, None]
        landmarks = torch.where(mirrored, landmarks[:, self._mirror], landmarks)
        return gray_between(self._view, self._images[level].rows(guesses.face), landmarks)


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
    given = f"{len(faces)} {fingerprint(model)}"
    faces = with_half_faces(faces, config.seed)
    fits = _fits(model, faces, config.seed, folder / "validator_fits.pt", given, report)
    training = ValidatorTraining(config, faces, model.pdm, fits)
    path, task = folder / "validator.pt", f"{config} {given}"
    state = load_checkpoint(path, task)
    if state is not None:
        training.restore(state)
    while training.step < config.steps:
        until = min(config.steps, training.step + SAVE_EVERY)
        training.run(until, lambda step, loss: report(path.stem, step, config.steps, loss))
        save_checkpoint(path, task, training.state())
    return training.record()


def fingerprint(model: LandmarkModel) -> str:
    """Twelve letters that differ between models of different numbers."""
    digest = hashlib.sha256()
    for value in model.state_dict().values():
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:12]


def _fits(model: LandmarkModel, faces: FaceCrops, seed: int, path: Path, given: str, report: Report) -> TrialFits:
    """Fits of the faces, from their checkpoint where there is one."""
    task = f"{seed} {given}"
    state = load_checkpoint(path, task)
    if state is None:
        kinds = len(STARTS)
        fits = fits_from_everywhere(model, faces, seed, lambda n, failed: report(path.stem, n, kinds, failed))
        state = vars(fits)
        save_checkpoint(path, task, state)
    return TrialFits(**{name: value.to(faces.gray.device) for name, value in state.items()})


def _even_share(place: Tensor, bins: int) -> Tensor:
    """How often each guess is drawn so that every bin that has any comes as often as the others, shape (K,)."""
    return 1 / place.bincount(minlength=bins)[place]
