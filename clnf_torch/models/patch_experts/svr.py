"""Support vector regression (SVR), the patch experts of the classic CLM: a logistic template match per modality."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import reduce
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from clnf_torch.models import compiled
from clnf_torch.models.array_schema import Array
from clnf_torch.models.patch_experts.base import common_fields, type_name
from clnf_torch.models.patch_experts.mlp_stack import ACTIVATIONS
from clnf_torch.models.patch_experts.template_experts import TemplateExperts
from clnf_torch.models.schema import Context, Fields, OneOf, Several

# The same to the last bit wherever in a batch a face stands
sigmoid = ACTIVATIONS["sigmoid"]


def squared_gradient(areas: Tensor) -> Tensor:
    """Squared length of the gray-level gradient, from differences over two pixels, of areas (..., A, A).

    OpenFace: there is neither a root nor a factor, and the outermost pixels of an area are 0.
    """
    across = areas[..., 1:-1, 2:] - areas[..., 1:-1, :-2]
    down = areas[..., 2:, 1:-1] - areas[..., :-2, 1:-1]
    return pad(across.square() + down.square(), (1, 1, 1, 1))


MODALITIES: dict[str, Callable[[Tensor], Tensor]] = {
    # OpenFace standardises areas first, which normalised patches do not notice
    "raw": lambda areas: areas,
    "gradient": squared_gradient,
}


class SVRExperts(TemplateExperts):
    """SVR experts of one scale. OpenFace's form of them is exact: ``numerics`` changes nothing here.

    Args:
        scale: Pixels per millimetre.
        support: Side S of the patches.
        view_centers: Euler angles in radians, shape (V, 3).
        visible: bool, shape (V, N), with E entries that are true.
        confidence: Sum over the modalities, shape (V, N).
        weights: Each visible landmark's template in each modality, of mean 0 and length 1, shape (E, S * S, K).
        scalings: Of the correlation in each modality, shape (E, K).
        biases: Of each modality, shape (E, K).
        modalities: K names out of `MODALITIES`.

    Raises:
        ValueError: The tensors do not fit together, or a modality is unknown.

    Source:
        OpenFace ``SVR_patch_expert::Response``, ``Multi_SVR_patch_expert::Response``.
    """

    name = "svr"
    scalings: nn.Parameter
    biases: nn.Parameter

    def __init__(
        self,
        scale: float,
        support: int,
        view_centers: Tensor,
        visible: Tensor,
        confidence: Tensor,
        weights: Tensor,
        scalings: Tensor,
        biases: Tensor,
        modalities: Sequence[str],
    ) -> None:
        numbers = {"scalings": scalings, "biases": biases}
        super().__init__(scale, support, view_centers, visible, confidence, weights, **numbers)
        if not set(modalities) <= set(MODALITIES) or weights.shape[-1] != len(modalities):
            raise ValueError(f"{weights.shape[-1]} templates for modalities {list(modalities)} of {list(MODALITIES)}")
        self.modalities = tuple(modalities)

    def to_record(self) -> dict[str, Any]:
        """The experts as a bundle holds them."""
        numbers = {name: getattr(self, name).detach().double() for name in ("scalings", "biases")}
        return {
            **super().to_record(),
            "weights": self.weights.detach(),
            **numbers,
            "modalities": list(self.modalities),
        }

    @classmethod
    def check_record(cls, record: Mapping[str, Any], where: str, context: Context) -> None:
        """See `Experts.check_record`."""
        super().check_record(record, where, context)
        templates = context.sizes["K"]
        names = Several(OneOf(tuple(MODALITIES)), templates, templates)
        numbers = {"scalings": Array("E", "K"), "biases": Array("E", "K"), "modalities": names}
        Fields(numbers).check(record, where, context)

    @classmethod
    def from_record(cls, record: Mapping[str, Any], dtype: torch.dtype) -> "SVRExperts":
        """The experts in a record; weights keep the number type they are stored in."""
        numbers = {name: record[name].to(dtype) for name in ("scalings", "biases")}
        kept = {"weights": record["weights"], "modalities": record["modalities"]}
        return cls(**common_fields(record, dtype), **numbers, **kept)

    @classmethod
    def describe(cls, record: Mapping[str, Any]) -> Iterator[str]:
        """Lines that say what a record holds."""
        yield from super().describe(record)
        experts, kind = len(record["weights"]), type_name(record["weights"])
        yield f"{experts} experts over all views, modalities {' and '.join(record['modalities'])}, {kind}"

    def _respond_compiled(self, areas: Tensor, view: int, landmarks: Tensor, responses: Tensor) -> None:
        """See `TemplateExperts`."""
        own = self._experts[view]
        numbers = self.scalings[own], self.biases[own]
        compiled.kernels().respond_with_svr(areas, landmarks, self.weights[own], numbers, self.modalities, responses)

    def _answer(self, areas: Tensor, chosen: int | Tensor) -> Tensor:
        """Responses (E, B, R * R) of E experts to areas (E, B, A, A): the product over the modalities."""
        experts, answers = self._of(chosen), []
        for k, modality in enumerate(self.modalities):
            match = self._correlate(MODALITIES[modality](areas), chosen, slice(k, k + 1)).squeeze(-1).clamp(-1, 1)
            scaling, bias = (numbers[experts][:, k, None, None] for numbers in (self.scalings, self.biases))
            answers.append(sigmoid(scaling * match + bias))
        return reduce(torch.mul, answers)
