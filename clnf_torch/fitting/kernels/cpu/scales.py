"""The end of a scale of a fit as loops: the searches on response maps, likelihoods, and what becomes of the faces."""

from typing import Any

import numpy as np

from clnf_torch.compilation.compiler import Array, Arrays, compiled, f32
from clnf_torch.fitting.kernels.cpu.density import kernel_mean, pad_rows, set_kernel
from clnf_torch.fitting.kernels.cpu.records import Faces, Limits, Maps, Params, Widths
from clnf_torch.fitting.kernels.cpu.search import search_responses
from clnf_torch.fitting.mean_shift import FLOOR, UNSEEN
from clnf_torch.models.kernels.cpu.shapes import ShapeModel


@compiled
def search_scale(
    pdm: ShapeModel,
    params: Params,
    maps: Maps,
    prior: Array,
    iterations: int,
    widths: Widths,
    limits: Limits,
    seen: Arrays,
    before: Faces,
    after: Faces,
) -> None:
    """Searches on the response maps of faces, and their states thereafter.

    Args:
        pdm: The shape model.
        params: Where to start; changed in place.
        maps: The response maps, and where they lie.
        prior: Its weight, shape (B,).
        iterations: Rigid and non-rigid ones at most.
        widths: Of the kernels.
        limits: Which faces fail, and which get their likelihood.
        seen: View (B,), visible (B, N), and rows whose image could be read, bool, (B,).
        before: The faces before the scale.
        after: Output: the faces after it.
    """
    rigid, found = np.empty(len(params.scale), np.float32), np.empty(maps.base.shape, np.float32)
    precision = np.empty((len(prior), len(pdm.precision)), np.float32)
    for b in range(len(prior)):
        precision[b] = prior[b] * pdm.precision
    search_responses(pdm, params, maps, precision, iterations, widths, rigid, found)
    own = np.empty(maps.base.shape[1], np.float32)
    view, visible, readable = seen
    for b in range(len(rigid)):
        active = before.active[b] and readable[b]
        fitted = params if active else Params(before.scale, before.euler, before.translation, before.local)
        after.scale[b], after.euler[b] = fitted.scale[b], fitted.euler[b]
        after.translation[b], after.local[b] = fitted.translation[b], fitted.local[b]
        after.active[b] = active and not params.scale[b] < limits.least
        after.nearest_view[b] = view[b] if active else before.nearest_view[b]
        after.visible[b] = visible[b] if active else before.visible[b]
        after.likelihood[b], after.landmark_likelihoods[b] = before.likelihood[b], before.landmark_likelihoods[b]
        if active and (limits.all_judged or rigid[b] < limits.judged):
            after.likelihood[b] = likelihoods(pad_rows(maps.responses[b]), found[b], visible[b], widths.sigma, own)
            after.landmark_likelihoods[b] = own


@compiled
def likelihoods(responses: Array, positions: Array, visible: Array, sigma: float, found: Array) -> Any:
    """`landmark_likelihoods` (N,) of a face, and its `model_likelihood`; the response maps are those of `pad_rows`."""
    total, count, kernels = 0.0, 0, np.empty((2, 2, responses.shape[2]), np.float32)
    for i in range(len(found)):
        found[i] = f32(UNSEEN)
        if visible[i]:
            found[i] = density(responses, i, positions[i, 0], positions[i, 1], sigma, kernels)
            total += np.log(found[i] + f32(FLOOR))
            count += 1
    return total / count if count > 0 else -np.inf


@compiled
def density(responses: Array, i: int, x: float, y: float, sigma: float, kernels: Array) -> Any:
    """The kernel density estimate of one of response maps (N, R, W) at (x, y)."""
    # The kernel would be a number
    if x != x or y != y:
        return f32(np.nan)
    power = np.empty(responses.shape[2], np.float32)
    set_kernel(x, sigma, power, kernels[0])
    set_kernel(y, sigma, power, kernels[1])
    return kernel_mean(responses, i, kernels, 0, 1)[0]
