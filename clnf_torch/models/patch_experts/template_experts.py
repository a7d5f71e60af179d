"""Patch experts that compare patches with templates, one set of templates per landmark and view: CCNF and SVR."""

from abc import abstractmethod
from collections.abc import Mapping
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from clnf_torch.models import compiled
from clnf_torch.models.array_schema import Array
from clnf_torch.models.numerics import Numerics
from clnf_torch.models.patch_experts.base import PatchExperts
from clnf_torch.models.patch_experts.patches import cut_patches
from clnf_torch.models.schema import Context, Fields, SchemaError

# A block whose patches stay in a core's cache
CPU_EXPERTS, CPU_ROWS = 4, 2000
# Matrix routines round a row or column differently by its place where there are not a multiple of these
FEW = 8
# Pixels of one block's patches on other devices: 256 MiB of float32
CUDA_NUMBERS = 1 << 26
# Templates of an expert, beyond those of any model
MOST_TEMPLATES = 256


class TemplateExperts(PatchExperts):
    """One expert for every landmark that a view shows; experts are stored view by view, landmark by landmark.

    Args:
        scale: Pixels per millimetre.
        support: Side S of the patches.
        view_centers: Euler angles in radians, shape (V, 3).
        visible: bool, shape (V, N), with E entries that are true.
        confidence: Shape (V, N).
        weights: The templates of each expert, pixels row by row, shape (E, S * S, K).
        **numbers: What else the family has for each expert, shape (E, ...), kept as parameters of these names.

    Raises:
        ValueError: There is not one expert for each visible landmark, or its templates are of another size.
    """

    weights: nn.Parameter

    def __init__(
        self,
        scale: float,
        support: int,
        view_centers: Tensor,
        visible: Tensor,
        confidence: Tensor,
        weights: Tensor,
        **numbers: Tensor,
    ) -> None:
        super().__init__(scale, support, view_centers, visible, confidence)
        seen = [[landmark for landmark, shown in enumerate(view) if shown] for view in visible.tolist()]
        ends = list(accumulate(map(len, seen), initial=0))
        counts = {len(values) for values in (weights, *numbers.values())}
        if counts != {ends[-1]} or weights.shape[1] != support * support:
            raise ValueError(
                f"{ends[-1]} visible landmarks need as many experts with templates of {support * support} pixels; "
                f"there are {sorted(counts)} with {weights.shape[1]}"
            )
        self._experts = [slice(*ends[view : view + 2]) for view in range(len(seen))]
        # Of landmarks that a view does not show, any
        numbers_of_each = (visible.flatten().cumsum(0) - 1).clamp(min=0).view_as(visible)
        self.expert: Tensor
        self.register_buffer("expert", numbers_of_each, persistent=False)
        for view, landmarks in enumerate(seen):
            self.register_buffer(
                f"_landmarks_{view}", torch.tensor(landmarks, dtype=torch.int64, device="cpu"), persistent=False
            )
        for name, values in {"weights": weights, **numbers}.items():
            self.register_parameter(name, nn.Parameter(values, requires_grad=False))

    @classmethod
    def check_record(cls, record: Mapping[str, Any], where: str, context: Context) -> None:
        """See `Experts.check_record`; the numbers E of experts and K of templates are known afterwards."""
        super().check_record(record, where, context)
        context.sizes["E"] = experts = int(record["visible"].sum())
        weights = record.get("weights")
        if isinstance(weights, Tensor) and weights.ndim and len(weights) != experts:
            raise SchemaError(f"{where}: {experts} visible landmarks need as many experts, found {len(weights)}")
        templates = Array("E", record["support"] ** 2, "K", longest=MOST_TEMPLATES)
        Fields({"weights": templates}).check(record, where, context)

    def respond(self, areas: Tensor, view: int, numerics: Numerics) -> Tensor:
        """Responses (B, N, R, R) of one view's experts to areas (B, N, A, A); the same under any numerics."""
        window = areas.shape[-1] - self.support + 1
        landmarks: Tensor = getattr(self, f"_landmarks_{view}")
        # `parameters` looks for modules within too, which takes as long as several operations
        if compiled.usable(areas, (values for values in self._parameters.values() if values is not None)):
            found = areas.new_zeros(*areas.shape[:2], window, window)
            self._respond_compiled(areas, view, landmarks, found)
            return found
        responses = areas.new_zeros(areas.shape[1], areas.shape[0], window * window)
        responses[landmarks] = self._answer(areas.transpose(0, 1)[landmarks], view)
        return responses.transpose(0, 1).unflatten(-1, (window, window))

    def respond_in_tiles(self, areas: Tensor, views: Tensor, numerics: Numerics) -> Tensor:
        """Responses (T, F, N, R, R) to areas (T, F, N, A, A) of tiles of faces, each tile of one view (T,)."""
        window = areas.shape[-1] - self.support + 1
        answers = self._answer(areas.transpose(1, 2).flatten(0, 1), self.expert[views].flatten())
        answers = answers.unflatten(0, (areas.shape[0], areas.shape[2])).transpose(1, 2)
        return torch.where(self.visible[views][:, None, :, None], answers, 0).unflatten(-1, (window, window))

    @abstractmethod
    def _respond_compiled(self, areas: Tensor, view: int, landmarks: Tensor, responses: Tensor) -> None:
        """Writes the responses to areas (B, N, A, A) of a view's landmarks (E,) by compiled loops."""

    @abstractmethod
    def _answer(self, areas: Tensor, chosen: int | Tensor) -> Tensor:
        """Responses (E, B, R * R) of E experts, all those of a view or those of numbers (E,), to areas (E, B, A, A)."""

    def _of(self, chosen: int | Tensor) -> slice | Tensor:
        """Where the experts of a view, or those of numbers (E,), are stored."""
        return self._experts[chosen] if isinstance(chosen, int) else chosen

    def _correlate(self, areas: Tensor, chosen: int | Tensor, templates: slice) -> Tensor:
        """Correlation of normalised patches with some templates of chosen experts, (E, B, R * R, K), in blocks.

        Half-precision templates are widened to the areas' number type.
        """
        weights = self.weights[self._of(chosen)][..., templates].to(areas.dtype)
        count = weights.shape[-1]
        weights = pad(weights, (0, -count % FEW))
        some_experts, some_faces = _block(areas, self.support)
        answers = []
        for some, own in zip(areas.split(some_experts), weights.split(some_experts), strict=True):
            blocks = []
            for block in some.split(some_faces, dim=1):
                patches = cut_patches(block, self.support, checkerboard=False)
                blocks.append(torch.bmm(patches.flatten(1, 2), own).unflatten(1, patches.shape[1:3]))
            answers.append(torch.cat(blocks, dim=1))
        # Products may be rounded to bfloat16, nothing else
        return torch.cat(answers)[..., :count].to(areas.dtype)


def _block(areas: Tensor, support: int) -> tuple[int, int]:
    """How many experts and how many faces of areas (E, B, A, A) to look at together."""
    rows = (areas.shape[-1] - support + 1) ** 2
    if areas.device.type == "cpu":
        experts, most = CPU_EXPERTS, CPU_ROWS
    else:
        experts, most = areas.shape[0], CUDA_NUMBERS // support**2
    faces = max(1, min(areas.shape[1], most // (experts * rows)))
    return max(1, most // (rows * faces)), faces
