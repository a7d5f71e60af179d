"""A fit of all scales with compiled loops around the patch experts: arrays from beginning to end.

`LandmarkFitter` has the torch form, which defines it.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from clnf_torch.compilation.compiler import Array, Arrays, f32
from clnf_torch.compilation.kept import Kept
from clnf_torch.compilation.threads import arrays, in_threads
from clnf_torch.fitting.compiled import Scale
from clnf_torch.fitting.config import FitConfig, value_at
from clnf_torch.fitting.images import ImageBatch
from clnf_torch.fitting.kernels.cpu import placement, scales
from clnf_torch.fitting.kernels.cpu.records import Faces, Limits, Maps, Params, Widths
from clnf_torch.fitting.responses import ResponseField
from clnf_torch.models.kernels.cpu.shapes import model_arrays
from clnf_torch.models.numerics import Numerics
from clnf_torch.models.pdm import PDM, ShapeParams

if TYPE_CHECKING:
    from clnf_torch.fitting.fitter import FitState


def fit_scales(
    pdm: PDM,
    steps: Sequence[Scale],
    numerics: Numerics,
    images: ImageBatch,
    state: "FitState",
    smallest: tuple[float, float],
) -> tuple["FitState", list[tuple[ResponseField, Tensor]]]:
    """`LandmarkFitter.fit`.

    Args:
        pdm: The shape model.
        steps: The scales, coarse to fine.
        numerics: OpenFace's approximations or the exact forms.
        images: The images of the faces.
        state: Where to start.
        smallest: Scales below which faces fail, and below which they get their likelihood, pixels per millimetre.

    Returns:
        The state after the last scale; and of every scale the response maps, and the faces that were searched for in
        them, bool, (B,).
    """
    params = state.params
    shape = params.scale, params.rotation, params.translation, params.local
    others = state.active, state.view, state.likelihood, state.landmark_likelihoods, state.visible
    faces, known, maps = Faces(*arrays(*shape, *others)), _known(state), []
    for step in steps:
        faces, field, searched = _fit_scale(pdm, step, numerics, images, faces, known, smallest)
        maps.append((field, searched))
    found = [torch.from_numpy(values) for values in faces]
    fitted = replace(
        state,
        params=ShapeParams(*found[:4]),
        active=found[4],
        view=found[5],
        likelihood=found[6],
        landmark_likelihoods=found[7],
        visible=found[8],
    )
    return fitted, maps


def _fit_scale(
    pdm: PDM,
    step: Scale,
    numerics: Numerics,
    images: ImageBatch,
    faces: Faces,
    known: Arrays,
    smallest: tuple[float, float],
) -> tuple[Faces, ResponseField, Tensor]:
    """The faces after a scale, its response maps, and the faces that were searched for in them."""
    experts, config, count, size = step.experts, step.config, len(faces.scale), faces.visible.shape
    model, given = model_arrays(pdm), Params(*faces[:4])
    start = Params(*(np.empty_like(values) for values in given))
    view, visible, weight = np.empty(count, np.int64), np.empty(size, np.bool_), np.empty(size, np.float32)
    landmarks, to_reference = np.empty((*size, 2), np.float32), np.empty((count, 2, 2), np.float32)
    to_image = np.empty_like(to_reference)
    numbers = f32(config.weight_factor), f32(experts.scale), config.any_size
    placed = view, visible, weight, landmarks, to_reference, to_image
    placement.place_experts(model, given, faces.active, _views(experts), known, numbers, start, placed)

    around, turned = torch.from_numpy(landmarks), torch.from_numpy(to_image)
    request = experts.crop_request(around, turned, step.window)
    crops, readable = images.crop(request, numerics)
    responses, base = experts.respond_around(around, request, crops, torch.from_numpy(view), step.window, numerics)

    after = Faces(*(np.empty_like(values) for values in faces))
    shown, middle = arrays(responses, base)
    maps = Maps(shown, middle, to_reference, to_image, weight)
    widths = Widths(f32(value_at(config.sigma, 0)), f32(numerics.kernel_step or 0.0), f32(config.tolerance))
    limits = Limits(f32(smallest[0]), f32(smallest[1]), step.is_last)
    seen = view, visible, *arrays(readable)

    def some(start: Params, maps: Maps, prior: Arrays, seen: Arrays, before: Faces, after: Faces) -> None:
        scales.search_scale(model, start, maps, *prior, config.iterations, widths, limits, seen, before, after)

    rows = start, maps, (_prior(config, count),), seen, faces, after
    in_threads(some, rows, count)
    field = ResponseField(
        responses=responses,
        base=base,
        to_reference=torch.from_numpy(to_reference),
        to_image=turned,
        weight=torch.from_numpy(weight),
    )
    return after, field, torch.from_numpy(faces.active) & readable


def _known(state: "FitState") -> Arrays:
    """What is known about landmarks beforehand: which are hidden, and their weights; without rows where nothing is."""
    hidden, weight = state.hidden, state.landmark_weight
    no_truth, no_numbers = np.empty((0, 0), np.bool_), np.empty((0, 0), np.float32)
    return (
        no_truth if hidden is None else arrays(hidden)[0],
        no_numbers if weight is None else arrays(weight)[0],
    )


def _prior(config: FitConfig, count: int) -> Array:
    """Weight of the shape prior of each face, float32, shape (B,)."""
    given: Any = config.regularisation
    if isinstance(given, Tensor):
        return arrays(given.float().expand(count))[0]
    return np.full(count, value_at(given, 0), np.float32)


def _sources(experts: Any) -> tuple[Tensor, ...]:
    """What experts know about their views, as tensors."""
    return experts.view_centers, experts.visible, experts.confidence


def _views_of(experts: nn.Module) -> Arrays:
    """Centres of the views (V, 3), what they see (V, N) and how far it is to be trusted (V, N)."""
    return arrays(*_sources(experts))


_views: Any = Kept(_views_of, _sources)
