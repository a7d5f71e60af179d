"""Many small networks that learn side by side: how they begin, how they are evaluated, how good they are."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from clnf_torch.models.patch_experts.expert_stack import ACTIVATIONS, ExpertStack

NAMED_WIDTHS = {"coarse": (300, 100, 50), "fine": (500, 200, 100)}  # of OpenFace's two coarse and two fine scales
FIRST_ANSWER = -2.0  # what fresh networks answer, before the last sigmoid: most patches lie beside their landmark


def widths_named(text: str) -> tuple[int, ...]:
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


def activations_of(widths: Sequence[int]) -> list[str]:
    """ReLUs, then sigmoids in the last hidden layer and in the answer."""
    return ["relu"] * (len(widths) - 1) + ["sigmoid"] * 2


def fresh_stack(experts: int, inputs: int, widths: Sequence[int], generator: torch.Generator) -> ExpertStack:
    """E networks that have learned nothing, on the CPU; their parameters ask for gradients.

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
    biases[-1] = FIRST_ANSWER - 0.5 * weights[-1].sum(1)  # the last hidden layer's sigmoids begin around 0.5
    return ExpertStack(weights, biases, activations_of(widths)).requires_grad_()


def answers(stack: ExpertStack, pixels: Tensor, dropout: float, generator: torch.Generator) -> Tensor:
    """Answers (E, P) of all networks to their own patches (E, P, in), with such a share of hidden neurons silent.

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
class Agreement:
    """Adds up, over batches, how well E experts' answers agree with what they should have been."""

    sums: Tensor  # (6, E) float64: count, answers, targets, and their squares and products

    @classmethod
    def none(cls, experts: int) -> "Agreement":
        """Before the first batch."""
        return cls(torch.zeros(6, experts, dtype=torch.float64))

    def add(self, answer: Tensor, target: Tensor) -> None:
        """Takes answers and targets (E, P) in."""
        a, t = answer.double(), target.double()
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
