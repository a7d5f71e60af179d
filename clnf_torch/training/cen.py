"""Trains the CEN experts of one view at one scale: all of its landmarks together, epoch by epoch."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import torch
from torch import Tensor

from clnf_torch.models.patch_experts.mlp_stack import ACTIVATIONS, MLPStack
from clnf_torch.training.augmentation.photometric import NO_AUGMENTATION, ImageAugmentation
from clnf_torch.training.augmentation.random import Sampler
from clnf_torch.training.data.cen_samples import SUPPORT, AlignedFaces, Patches, ViewRows, patch_batches
from clnf_torch.training.trainer import EarlyStopping, Schedule, Task

# Of OpenFace's two coarse and two fine scales
NAMED_WIDTHS = {"coarse": (300, 100, 50), "fine": (500, 200, 100)}
# Before the last sigmoid: most patches lie beside their landmark
INITIAL_LOGIT = -2.0


def parse_widths(text: str) -> tuple[int, ...]:
    """Widths of hidden layers, by name ("coarse", "fine") or written out ("300-100-50").

    Raises:
        ValueError: It is neither.
    """
    if text in NAMED_WIDTHS:
        return NAMED_WIDTHS[text]
    parts = text.split("-")
    if not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise ValueError(f"widths {text!r}: give {', '.join(NAMED_WIDTHS)}, or numbers such as 300-100-50")
    return tuple(map(int, parts))


def layer_activations(widths: Sequence[int]) -> list[str]:
    """ReLUs, then sigmoids in the last hidden layer and at the output."""
    return ["relu"] * (len(widths) - 1) + ["sigmoid"] * 2


def init_stack(experts: int, inputs: int, widths: Sequence[int], generator: torch.Generator) -> MLPStack:
    """E networks with random weights, on the CPU; their parameters ask for gradients.

    Args:
        experts: How many.
        inputs: Pixels of a patch.
        widths: Of the hidden layers.
        generator: On the CPU.

    Source:
        Glorot, Bengio: Understanding the difficulty of training deep feedforward neural networks, AISTATS 2010.
    """
    weights, biases = [], []
    for before, after in pairwise((inputs, *widths, 1)):
        reach = (6 / (before + after)) ** 0.5
        weights.append((torch.rand(experts, before, after, generator=generator) * 2 - 1) * reach)
        biases.append(torch.zeros(experts, after))
    weights[-1] = weights[-1].abs()
    # The last hidden layer's sigmoids begin around 0.5
    biases[-1] = INITIAL_LOGIT - 0.5 * weights[-1].sum(1)
    return MLPStack(weights, biases, layer_activations(widths)).requires_grad_()


def predict(stack: MLPStack, pixels: Tensor, dropout: float, generator: torch.Generator) -> Tensor:
    """Outputs (E, P) of all networks for their own patches (E, P, in), with dropout of hidden units.

    The generator lies on the networks' device.
    """
    hidden = pixels
    for weight, bias, activation in zip(stack.weights, stack.biases, stack.activations, strict=True):
        if dropout and hidden is not pixels:
            heard = torch.empty_like(hidden).bernoulli_(1 - dropout, generator=generator)
            hidden = hidden * heard / (1 - dropout)
        hidden = ACTIVATIONS[activation](torch.baddbmm(bias[:, None], hidden, weight))
    return hidden.squeeze(-1).float()


@dataclass
class ErrorStatistics:
    """Sums over batches from which the mean squared error and the correlation of E experts follow."""

    sums: Tensor  # (6, E) float64: count, outputs, targets, and their squares and products

    @classmethod
    def none(cls, experts: int) -> "ErrorStatistics":
        """Before the first batch."""
        return cls(torch.zeros(6, experts, dtype=torch.float64))

    def add(self, output: Tensor, target: Tensor) -> None:
        """Adds outputs and targets (E, P)."""
        a, t = output.double(), target.double()
        parts = (torch.ones_like(a), a, t, a * a, t * t, a * t)
        self.sums += torch.stack([part.sum(1) for part in parts]).cpu()

    @property
    def error(self) -> Tensor:
        """Mean squared difference, shape (E,)."""
        count, _, _, squares, target_squares, products = self.sums
        return (squares + target_squares - 2 * products) / count

    @property
    def correlation(self) -> Tensor:
        """Squared correlation, 0 where one of them does not vary, shape (E,)."""
        count, total, target_total, squares, target_squares, products = self.sums
        covariance = count * products - total * target_total
        spread = (count * squares - total.square()) * (count * target_squares - target_total.square())
        return torch.where(spread > 0, covariance.square() / spread.clamp(min=1e-300), 0)


@dataclass(frozen=True, kw_only=True)
class CenConfig:
    """How CEN experts are trained; the defaults are those of CE-CLM's authors."""

    epochs: int = 25
    areas: int = 6  # per expert in a step, of 81 patches each: about the 512 of the authors
    learning_rate: float = 5e-5  # of Adam
    dropout: float = 0.3  # probability of hidden units
    sigma: float = 1.0  # width of the target Gaussians, reference pixels
    levels: int = 1  # of the image pyramids
    augmentation: ImageAugmentation = field(default_factory=ImageAugmentation)


@dataclass(frozen=True)
class TrainedExperts:
    """The experts of a view, one per trained landmark."""

    stack: MLPStack  # E networks on the CPU
    confidence: Tensor  # (E,) squared correlation with the targets on held-out faces
    error: Tensor  # (E,) mean squared error there


class CenTask(Task):
    """The training of one view at one scale; a round is an epoch.

    Early stopping: every expert keeps the weights of its best epoch on the held-out faces.

    Args:
        config: Settings.
        faces: The faces, on the device to train on.
        rows: Those to train on, and which of them are mirrored.
        held_out: Those to judge by.
        at: The landmark of each expert, int64, shape (E,).
        widths: Of the hidden layers.
        seed: Of all randomness.
    """

    module: MLPStack
    early_stopping: EarlyStopping

    def __init__(
        self,
        config: CenConfig,
        faces: AlignedFaces,
        rows: ViewRows,
        held_out: ViewRows,
        at: Tensor,
        widths: tuple[int, ...],
        seed: int = 0,
    ) -> None:
        self.config = config
        self.schedule = Schedule(rounds=config.epochs, learning_rate=config.learning_rate, save_every=1)
        self._faces, self._rows, self._held_out, self._at, self._seed = faces, rows, held_out, at, seed
        self._device = faces.landmarks.device
        # What is drawn comes from the first, dropout from the second, on the device
        self.generators = (torch.Generator().manual_seed(seed), torch.Generator(self._device).manual_seed(seed))
        self.module = init_stack(len(at), SUPPORT**2, widths, self.generators[0]).to(self._device)
        self.optimiser = torch.optim.Adam(self.module.parameters(), lr=config.learning_rate)
        self._correlation = torch.zeros(len(at), dtype=torch.float64)
        never = torch.full((len(at),), torch.inf, dtype=torch.float64)
        self.early_stopping = EarlyStopping([*self.module.parameters(), self._correlation], self._judge, never)

    def experts(self) -> TrainedExperts:
        """The best experts so far."""
        *parameters, confidence = (best.cpu().clone() for best in self.early_stopping.best)
        layers = len(self.module.weights)
        stack = MLPStack(parameters[:layers], parameters[layers:], self.module.activations)
        return TrainedExperts(stack, confidence, self.early_stopping.error.clone())

    def progress(self, loss: float) -> float:
        """The mean confidence so far."""
        return float(self.early_stopping.best[-1].mean())

    def losses(self) -> Iterator[Tensor]:
        """The losses of an epoch, which takes every face eleven times."""
        config, (drawn, dropout) = self.config, self.generators
        for patches in self._epoch(self._rows, config.augmentation, drawn):
            with self._autocast():
                output = predict(self.module, patches.pixels, config.dropout, dropout)
            yield (output - patches.target).square().mean(1).sum()

    @torch.no_grad()
    def after_step(self) -> None:
        """Keeps every output a non-negative mixture of the last hidden units."""
        self.module.weights[-1].clamp_(min=0)

    @torch.no_grad()
    def _judge(self) -> Tensor:
        """Mean squared error (E,) on the held-out faces, which are the same patches in every epoch."""
        statistics = ErrorStatistics.none(len(self._at))
        for patches in self._epoch(self._held_out, NO_AUGMENTATION, torch.Generator().manual_seed(self._seed)):
            statistics.add(predict(self.module, patches.pixels, 0.0, self.generators[1]), patches.target)
        self._correlation.copy_(statistics.correlation)
        return statistics.error

    def _epoch(self, rows: ViewRows, augmentation: ImageAugmentation, generator: torch.Generator) -> Iterator[Patches]:
        """The patches of an epoch of some faces."""
        config, sampler = self.config, Sampler(generator, self._device)
        return patch_batches(self._faces, rows, self._at, config.areas, config.sigma, augmentation, sampler)

    def _autocast(self) -> torch.autocast:
        """Half precision where it is faster."""
        return torch.autocast(self._device.type, torch.bfloat16, enabled=self._device.type == "cuda")
