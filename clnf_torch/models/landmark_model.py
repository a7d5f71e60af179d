"""A landmark model: a shape, and for each scale the patch experts that look for its landmarks."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from torch import Tensor, nn

from clnf_torch.models.patch_experts.base import Experts
from clnf_torch.models.pdm import PDM


@dataclass(frozen=True)
class EarlyTermination:
    """When a rotation hypothesis is good enough after the first scale: likelihood * weight + bias > cutoff, by view."""

    weights: Tensor  # (V,)
    biases: Tensor  # (V,)
    cutoffs: Tensor  # (V,)


class LandmarkModel(nn.Module):
    """PDM and patch experts that belong together.

    Args:
        pdm: The shape model of N landmarks.
        experts: Patch experts per scale, coarse to fine, each for the same N landmarks.
        family: Which patch experts they are, e.g. "cen"; OpenFace chooses its settings by it.
        early_termination: Numbers that let good rotation hypotheses end the search early.
        triangulations: Triangles between landmarks for each view, for drawing, int64, each (T, 3).
        parts: Finer models of regions of the face, in the order in which they are folded back.

    Raises:
        ValueError: There are no experts, or they are for another number of landmarks.

    Source:
        OpenFace ``CLNF``, the part that is read from files.
    """

    def __init__(
        self,
        pdm: PDM,
        experts: Sequence[Experts],
        family: str,
        early_termination: EarlyTermination | None = None,
        triangulations: Sequence[Tensor] = (),
        parts: Sequence["Part"] = (),
    ) -> None:
        super().__init__()
        counts = [scale.visible.shape[1] for scale in experts]
        if not counts or set(counts) != {pdm.num_landmarks}:
            raise ValueError(
                f"the PDM has {pdm.num_landmarks} landmarks, the patch experts of the scales are for {counts}"
            )
        self.pdm, self.family = pdm, family
        self.experts = nn.ModuleList(experts)
        self.triangulations = tuple(triangulations)
        self._parts = nn.ModuleList(parts)
        self.early_weights: Tensor | None
        self.early_biases: Tensor | None
        self.early_cutoffs: Tensor | None
        for name in ("weights", "biases", "cutoffs"):
            self.register_buffer(f"early_{name}", getattr(early_termination, name) if early_termination else None)

    @property
    def early_termination(self) -> EarlyTermination | None:
        """The early-termination numbers, on the model's device."""
        if self.early_weights is None or self.early_biases is None or self.early_cutoffs is None:
            return None
        return EarlyTermination(self.early_weights, self.early_biases, self.early_cutoffs)

    def experts_at(self, index: int) -> Experts:
        """The patch experts of a scale, 0 being the coarsest."""
        return cast(Experts, self.experts[index])

    @property
    def patch_scales(self) -> tuple[float, ...]:
        """Pixels per millimetre of every scale's reference frame."""
        return tuple(self.experts_at(index).scale for index in range(self.num_scales))

    @property
    def parts(self) -> tuple["Part", ...]:
        """The finer models of regions of the face."""
        return tuple(cast(Part, part) for part in self._parts)

    @property
    def num_scales(self) -> int:
        """Number of scales."""
        return len(self.experts)


class Part(nn.Module):
    """A finer model of a region of the face, and which of its landmarks the whole face has too.

    Args:
        name: OpenFace's name of it, e.g. "left_eye_28"; settings are chosen by it.
        model: Shape and patch experts of the region.
        in_parent: Landmarks of the face that it shares, int64, shape (K,).
        in_part: Which of its own landmarks they are, int64, shape (K,).

    Raises:
        ValueError: A shared landmark does not exist in the part, or the lists differ in length.

    Source:
        OpenFace ``CLNF::hierarchical_models`` and ``hierarchical_mapping``.
    """

    def __init__(self, name: str, model: LandmarkModel, in_parent: Tensor, in_part: Tensor) -> None:
        super().__init__()
        if in_parent.shape != in_part.shape or not in_part.numel() or int(in_part.max()) >= model.pdm.num_landmarks:
            raise ValueError(
                f"part {name!r} of {model.pdm.num_landmarks} landmarks shares {in_part.tolist()} with "
                f"{in_parent.tolist()} of the face; give pairs of landmarks that exist"
            )
        self.name, self.model = name, model
        self.in_parent: Tensor
        self.in_part: Tensor
        self.register_buffer("in_parent", in_parent)
        self.register_buffer("in_part", in_part)
