"""The searches of NU-RLMS that OpenFace wrote down: their inputs, and which kernels may be centred elsewhere by us."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from clnf_torch import OPENFACE, PDM, LandmarkModel, ShapeParams
from clnf_torch.fitting.config import FitConfig
from clnf_torch.fitting.images import ImageBatch
from clnf_torch.fitting.mean_shift import EDGE
from clnf_torch.fitting.responses import ResponseField
from clnf_torch.models.patch_experts.base import PatchExperts
from tests.agreement.golden import Golden, responses_of, scale_index, traces

KERNEL_STEP = 0.1  # cells: OpenFace centres its kernels on multiples of it
HALF_WAY = 2e-5  # cells: a float32 may round either way this close to the middle between two multiples


class Search(NamedTuple):
    """One search at one scale: over the pose alone (rigid), or over pose and shape."""

    trace: Golden  # of the scale
    steps: Golden  # of the search
    model: LandmarkModel
    rigid: bool
    start: ShapeParams
    visible: Tensor  # (1, N) bool
    weight: Tensor  # (1, N), 0 where not visible

    @property
    def name(self) -> str:
        """Which search it is, for messages."""
        return self.steps.prefix.rstrip("/")

    @property
    def pdm(self) -> PDM:
        """The shape model."""
        return self.model.pdm

    @property
    def experts(self) -> PatchExperts:
        """The patch experts of the scale."""
        return self.model.experts[scale_index(self.trace)]

    @property
    def view(self) -> Tensor:
        """The view, shape (1,)."""
        return self.trace["view_id"].long()

    @property
    def window(self) -> int:
        """R."""
        return int(self.trace.number("window"))

    @property
    def regularisation(self) -> float:
        """Weight of the shape prior."""
        return self.trace.number("reg_factor")

    @property
    def sigma(self) -> float:
        """Width of the kernel, cells."""
        return self.trace.number("sigma")

    def positions(self, when: str) -> Tensor:
        """OpenFace's landmarks in their maps at its first ("0") or last ("_last") iteration, cells, shape (1, N, 2)."""
        return torch.stack((self.steps[f"dxs{when}"], self.steps[f"dys{when}"]), dim=-1)

    def reached(self) -> ShapeParams:
        """OpenFace's parameters after each iteration, one row each."""
        return self.steps.params("iter_global", "iter_local")

    def field(self) -> ResponseField:
        """The response maps, blank where they are not stored, and where they lie."""
        return ResponseField(
            responses=responses_of(self.trace, self.pdm.num_landmarks),
            base=self.trace.points("base_shape"),
            to_reference=self.trace["sim_img_to_ref"],
            to_image=self.trace["sim_ref_to_img"],
            weight=self.weight,
        )

    def config(self, iterations: int) -> FitConfig:
        """The settings of the search, for so many iterations."""
        return FitConfig(
            iterations=iterations,
            sigma=self.sigma,
            regularisation=self.regularisation,
            weight_factor=self.trace.number("weight_factor"),  # which is in the weights already
            tolerance=0.01,
        )


def searches(golden: Golden, model: LandmarkModel) -> Iterator[Search]:
    """The searches of a fit: rigid, then non-rigid, at each scale of each hypothesis."""
    for trace in traces(golden):
        visible = model.experts[scale_index(trace)].visible[trace["view_id"].long()]
        for kind, before in (("rigid", ("global_in", "local_in")), ("nonrigid", ("global_rigid", "local_rigid"))):
            steps = trace.below(kind)
            weight = steps["weights0"][:, : model.pdm.num_landmarks] * visible
            yield Search(trace, steps, model, kind == "rigid", trace.params(*before), visible, weight)


def kernel_centres(positions: Tensor, window: int) -> Tensor:
    """The multiples of 0.1 cells that kernels are centred on, counted in tenths."""
    return (positions.clamp(0, window - EDGE) / KERNEL_STEP).round().int()


class Doubt(NamedTuple):
    """A kernel that one arithmetic may centre on another cell than the other does."""

    name: str
    flipped: bool  # the two positions at hand are rounded differently; otherwise they only lie close to half-way


def doubtful_kernels(search: Search, iteration: int, ours: Tensor, theirs: Tensor) -> list[Doubt]:
    """The kernels whose centre is in doubt at two positions (1, N, 2) of the same landmarks in their maps."""
    cells = [kernel_centres(where + by, search.window) for where in (ours, theirs) for by in (-HALF_WAY, HALF_WAY)]
    lowest, highest = torch.stack(cells).amin(0), torch.stack(cells).amax(0)
    flipped = kernel_centres(ours, search.window) != kernel_centres(theirs, search.window)
    doubtful = ((lowest != highest) & search.visible[..., None])[0].nonzero().tolist()
    where = f"{search.name} iteration {iteration}"
    return [
        Doubt(f"{where} landmark {i} {'xy'[c]}: {ours[0, i, c]:.5f} | {theirs[0, i, c]:.5f}", bool(flipped[0, i, c]))
        for i, c in doubtful
    ]


def positions_at(search: Search, params: ShapeParams) -> Tensor:
    """The landmarks of some parameters in their maps, cells, shape (1, N, 2)."""
    return search.field().positions(search.pdm.landmarks(params))


def answer(search: Search, image: Tensor) -> ResponseField:
    """Our experts' responses around OpenFace's landmarks."""
    field, width = search.field(), search.window + search.experts.support - 1
    images = ImageBatch(image, torch.zeros(1, dtype=torch.int64))
    areas = images.cut_areas(field.base, field.to_image, width, on_32nds=True)
    return replace(field, responses=search.experts(areas, search.view, OPENFACE))
