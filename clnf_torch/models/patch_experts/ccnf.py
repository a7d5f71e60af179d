"""Continuous conditional neural fields (CCNF), the patch experts of CLNF: a few neurons, then one linear smoothing."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from clnf_torch.compilation.kept import Numbers
from clnf_torch.geometry.constants import hold
from clnf_torch.models import compiled
from clnf_torch.models.array_schema import Array
from clnf_torch.models.patch_experts.base import common_fields, type_name
from clnf_torch.models.patch_experts.mlp_stack import ACTIVATIONS
from clnf_torch.models.patch_experts.template_experts import FEW, TemplateExperts
from clnf_torch.models.schema import Context, Fields, refuse


def sigma_matrices(alphas: Tensor, betas: Tensor, components: Tensor) -> Tensor:
    """The smoothing matrices of E experts for one window size, ``(2 (sum(alpha) I + sum_c beta_c B_c))^-1``.

    Args:
        alphas: Weights of all K neurons, those too that the response leaves out, shape (E, K).
        betas: Weights of the components, shape (E, C).
        components: Symmetric relations between the cells of a window, row by row, shape (C, R * R, R * R).

    Returns:
        Symmetric matrices in the number type of `alphas`, shape (E, R * R, R * R). They are computed in float64.
        OpenFace: zeros where the matrix to invert is not positive definite, as ``cv::invert`` gives.

    Source:
        OpenFace ``CCNF_patch_expert::ComputeSigmas``.
    """
    own = alphas.double().sum(-1)
    identity = torch.eye(components.shape[-1], dtype=own.dtype, device=own.device)
    precision = torch.einsum("ec,cpq->epq", betas.double(), components.double()) + own[:, None, None] * identity
    lower, failed = torch.linalg.cholesky_ex(2 * precision)
    return torch.cholesky_inverse(lower).masked_fill(failed[:, None, None] > 0, 0).to(alphas.dtype)


def lone_sigma(alphas: Tensor) -> Tensor:
    """What takes Sigma's place for window sizes without components: one factor per expert, shape (E,).

    OpenFace: such windows, e.g. 5 and 13, lose their smoothing without a word.
    """
    own = alphas.sum(-1)
    positive = own > 0
    return (0.5 / own.masked_fill(~positive, 1)).masked_fill(~positive, 0)


# The same to the last bit wherever in a batch a face stands
sigmoid = ACTIVATIONS["sigmoid"]
# OpenFace: neurons of no more weight do not respond, yet count in Sigma
LEAST_ALPHA = 1e-4
# Side of a window whose cells are related; OpenFace's largest is 19, and matrices grow with its fourth power
LARGEST_WINDOW = 25


class CCNFExperts(TemplateExperts):
    """CCNF experts of one scale. OpenFace's form of them is exact: ``numerics`` changes nothing here.

    Args:
        scale: Pixels per millimetre.
        support: Side S of the patches.
        view_centers: Euler angles in radians, shape (V, 3).
        visible: bool, shape (V, N), with E entries that are true.
        confidence: Shape (V, N).
        weights: Of each visible landmark's neurons, times their gain, pixels row by row, shape (E, S * S, K).
        biases: Of the neurons, shape (E, K).
        alphas: Weights of the neurons in the response, 0 for those an expert does not have, shape (E, K).
        betas: Weights of the components of Sigma, shape (E, C).
        components: By window size R, relations between the cells of a window, shape (at most C, R * R, R * R).

    Raises:
        ValueError: The tensors do not fit together.

    Source:
        OpenFace ``CCNF_patch_expert::ResponseOpenBlas``.
    """

    name = "ccnf"
    biases: nn.Parameter
    alphas: nn.Parameter
    betas: nn.Parameter

    def __init__(
        self,
        scale: float,
        support: int,
        view_centers: Tensor,
        visible: Tensor,
        confidence: Tensor,
        weights: Tensor,
        biases: Tensor,
        alphas: Tensor,
        betas: Tensor,
        components: Mapping[int, Tensor],
    ) -> None:
        numbers = {"biases": biases, "alphas": alphas, "betas": betas}
        super().__init__(scale, support, view_centers, visible, confidence, weights, **numbers)
        self._windows = tuple(components)
        for window, matrices in components.items():
            if matrices.shape[0] > betas.shape[1] or matrices.shape[1:] != (window**2, window**2):
                raise ValueError(
                    f"components of window {window} have shape {tuple(matrices.shape)}; expected at most "
                    f"{betas.shape[1]} of {window**2} x {window**2}"
                )
            self.register_buffer(f"components_{window}", matrices)
        self._sigmas: dict[tuple[int | None, int], _Sigma] = {}

    def to_record(self) -> dict[str, Any]:
        """The experts as a bundle holds them."""
        numbers = {name: getattr(self, name).detach().double() for name in ("biases", "alphas", "betas")}
        components = {window: self.get_buffer(f"components_{window}") for window in self._windows}
        return {**super().to_record(), "weights": self.weights.detach(), **numbers, "components": components}

    @classmethod
    def check_record(cls, record: Mapping[str, Any], where: str, context: Context) -> None:
        """See `Experts.check_record`."""
        super().check_record(record, where, context)
        numbers = {"biases": Array("E", "K"), "alphas": Array("E", "K", low=0), "betas": Array("E", "C", shortest=0)}
        Fields(numbers).check(record, where, context)
        components = record.get("components")
        if not isinstance(components, dict):
            raise refuse(f"{where}.components", "a dictionary of window sizes", components)
        for window, matrices in components.items():
            if type(window) is not int or not 1 <= window <= LARGEST_WINDOW:
                raise refuse(f"{where}.components", f"windows of 1 to {LARGEST_WINDOW} cells", window)
            related = Array("own", window**2, window**2, longest=context.sizes["C"], shortest=0)
            related.check(matrices, f"{where}.components[{window}]", context.inner())

    @classmethod
    def from_record(cls, record: Mapping[str, Any], dtype: torch.dtype) -> "CCNFExperts":
        """The experts in a record; weights and components keep the number type they are stored in."""
        numbers = {name: record[name].to(dtype) for name in ("biases", "alphas", "betas")}
        kept = {"weights": record["weights"], "components": record["components"]}
        return cls(**common_fields(record, dtype), **numbers, **kept)

    @classmethod
    def describe(cls, record: Mapping[str, Any]) -> Iterator[str]:
        """Lines that say what a record holds."""
        yield from super().describe(record)
        experts, _, neurons = record["weights"].shape
        yield f"{experts} experts over all views, {neurons} neurons each, {type_name(record['weights'])}"
        yield f"smoothed windows: {', '.join(map(str, sorted(record['components']))) or 'none'}"

    def _gains(self, experts: slice | Tensor) -> Tensor:
        """What neurons of experts are multiplied by in the response, shape (E, K)."""
        return torch.where(self.alphas[experts] > LEAST_ALPHA, 2 * self.alphas[experts], 0)

    def _respond_compiled(self, areas: Tensor, view: int, landmarks: Tensor, responses: Tensor) -> None:
        """See `TemplateExperts`."""
        own, window = self._experts[view], responses.shape[-1]
        sigmas = self.sigma(view, window) if window in self._windows else None
        numbers = self.weights, self.biases, self.alphas
        compiled.kernels().respond_with_ccnf(areas, landmarks, own, numbers, LEAST_ALPHA, sigmas, responses)

    def _answer(self, areas: Tensor, chosen: int | Tensor) -> Tensor:
        """Responses (E, B, R * R) of E experts to areas (E, B, A, A)."""
        experts, window = self._of(chosen), areas.shape[-1] - self.support + 1
        alphas = self._gains(experts)[:, None, None]
        neurons = sigmoid(self._correlate(areas, chosen, slice(None)) + self.biases[experts][:, None, None])
        answers = (alphas * neurons).sum(-1)
        if window in self._windows:
            rows = pad(answers, (0, 0, 0, -answers.shape[1] % FEW))
            # Sigma is symmetric
            sigma = self.sigma(chosen, window) if isinstance(chosen, int) else self.sigma(None, window)[experts]
            answers = torch.bmm(rows, sigma)[:, : answers.shape[1]].to(rows.dtype)
        else:
            answers = answers * lone_sigma(self.alphas[experts])[:, None, None]
        # OpenFace: only where a response fell below 0
        return answers - answers.amin(-1, keepdim=True).clamp(max=0)

    def sigma(self, view: int | None, window: int) -> Tensor:
        """Sigma of all experts, or a view's, for a window with components, (E, R * R, R * R); kept once it is computed.

        It goes when the model moves or its numbers change, as far as `Numbers` sees, and numbers that are being
        learned, or stand in for the model's own, are never served from it.
        """
        sources = (self.alphas, self.betas)
        changing = any(source.requires_grad or not isinstance(source, nn.Parameter) for source in sources)
        if changing or torch.compiler.is_compiling():
            return self._compute_sigma(view, window)
        kept = self._sigmas.get((view, window))
        if kept is None or not kept.numbers.are(sources):
            # Of use in any later call, one with gradients too
            with torch.inference_mode(False), torch.no_grad():
                kept = _Sigma(Numbers(sources), self._compute_sigma(view, window))
            self._sigmas[view, window] = kept
        return hold(kept.values)

    def _compute_sigma(self, view: int | None, window: int) -> Tensor:
        """Sigma (E, R * R, R * R) from the alphas and betas of all experts, or a view's."""
        experts, components = (
            slice(None) if view is None else self._experts[view],
            self.get_buffer(f"components_{window}"),
        )
        return sigma_matrices(self.alphas[experts], self.betas[experts, : len(components)], components)

    def _apply(self, fn: Any, recurse: bool = True) -> Any:
        """Moves or casts the experts, as ``nn.Module.to`` does; what was computed on the old device goes."""
        self._sigmas.clear()
        return super()._apply(fn, recurse)


class _Sigma(NamedTuple):
    """Sigma of a view and window, and the numbers that it was computed from."""

    numbers: Numbers
    values: Tensor
