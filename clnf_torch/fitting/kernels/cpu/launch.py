"""The compiled loops on tensors: how they become arrays, and how threads share the faces."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from clnf_torch.compilation.compiler import Arrays, f32
from clnf_torch.compilation.threads import arrays, in_threads
from clnf_torch.fitting.config import FitConfig, value_at
from clnf_torch.fitting.kernels.cpu import crops, search
from clnf_torch.fitting.kernels.cpu.records import Maps, Params, Widths
from clnf_torch.geometry.kernels.cpu import warps
from clnf_torch.geometry.sampling import MARGIN
from clnf_torch.models.kernels.cpu.shapes import model_arrays
from clnf_torch.models.pdm import PDM, ShapeParams

if TYPE_CHECKING:
    from clnf_torch.fitting.responses import ResponseField


def search_responses(
    pdm: PDM, start: ShapeParams, field: "ResponseField", config: FitConfig, kernel_step: float | None
) -> tuple[Tensor, ShapeParams, Tensor]:
    """`search_responses` of `nu_rlms`."""
    params, rigid = _copied(start), torch.empty_like(start.scale)
    found = field.base.new_empty(field.base.shape)
    maps = Maps(*arrays(field.responses, field.base, field.to_reference, field.to_image, field.weight))
    prior = config.prior_precision(pdm.variances).expand(len(found), -1)
    widths = Widths(*map(f32, (value_at(config.sigma, 0), kernel_step or 0.0, config.tolerance)))
    rows = Params(*arrays(*params)), maps, arrays(prior, rigid, found)

    def some(params: Params, maps: Maps, others: Arrays) -> None:
        prior, rigid, found = others
        search.search_responses(model_arrays(pdm), params, maps, prior, config.iterations, widths, rigid, found)

    in_threads(some, rows, len(found))
    return rigid, ShapeParams(*params), found


def cut_areas(
    padded: Tensor, image_index: Tensor, landmarks: Tensor, to_image: Tensor, width: int, on_32nds: bool
) -> Tensor:
    """`ImageBatch.cut_areas`."""
    areas = landmarks.new_empty(*landmarks.shape[:2], width, width)
    (images,), whole_numbers = arrays(padded), padded.dtype == torch.uint8

    def some(faces: Arrays) -> None:
        index, landmarks, to_image, areas = faces
        crops.cut_areas(images, index, landmarks, to_image, on_32nds, whole_numbers, areas)

    in_threads(some, (arrays(image_index, landmarks, to_image, areas),), len(areas))
    return areas


def crop(
    padded: Tensor, image_index: Tensor, landmarks: Tensor, to_image: Tensor, width: int, on_32nds: bool
) -> tuple[Tensor, Tensor]:
    """`ImageBatch.crop` of areas that are not smooth."""
    areas = cut_areas(padded, image_index, landmarks, to_image, width, on_32nds)
    if on_32nds and padded.dtype == torch.uint8:
        # Whatever the positions
        return areas, torch.ones(len(areas), dtype=torch.bool, device="cpu")
    readable = torch.empty(len(areas), dtype=torch.bool, device="cpu")
    crops.keep_readable(*arrays(areas, readable))
    return areas, readable


def read_warped(
    padded: Tensor,
    size: tuple[int, int],
    image_index: Tensor,
    landmarks: Tensor,
    corner: Tensor,
    table: Sequence[Tensor],
    on_32nds: bool,
) -> Tensor:
    """`ImageBatch.read_warped`."""
    found = landmarks.new_empty(len(landmarks), len(table[-1]))
    (images,), places = arrays(padded), arrays(*table)

    def some(faces: Arrays) -> None:
        index, landmarks, corner, found = faces
        warps.read_warped(images, size, MARGIN, index, landmarks, corner, places, on_32nds, found)

    in_threads(some, (arrays(image_index, landmarks, corner, found),), len(found))
    return found


def search_landmarks(pdm: PDM, landmarks: Tensor, known: Tensor | None, rotation: Tensor | None) -> ShapeParams:
    """`params_from_landmarks`."""
    faces, count = landmarks.shape[:2]
    euler = np.zeros((faces, 3), np.float32) if rotation is None else np.array(arrays(rotation)[0])
    sizes = faces, (faces, 2), (faces, pdm.num_modes)
    scale, translation, local = (np.empty(size, np.float32) for size in sizes)
    counts = np.ones((faces, count), np.bool_) if known is None else arrays(known)[0]

    def some(params: Params, others: Arrays) -> None:
        search.search_landmarks(model_arrays(pdm), params, *others)

    params = Params(scale, euler, translation, local)
    in_threads(some, (params, (*arrays(landmarks), counts)), faces)
    return ShapeParams(*map(torch.from_numpy, params))


def _copied(params: ShapeParams) -> tuple[Tensor, ...]:
    """Scale, rotation, translation and coefficients in memory of their own."""
    values = (params.scale, params.rotation, params.translation, params.local)
    return tuple(value.detach().clone(memory_format=torch.contiguous_format) for value in values)
