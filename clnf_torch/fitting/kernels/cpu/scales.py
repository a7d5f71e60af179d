"""The end of a scale of a fit as loops: the searches on response maps, likelihoods, and what becomes of the faces."""

from typing import Any

import numpy as np

from clnf_torch.compilation.compiler import Array, Arrays, compiled, f32
from clnf_torch.fitting.kernels.cpu.density import kernel_mean, pad_rows, set_kernel
from clnf_torch.fitting.kernels.cpu.search import search_responses
from clnf_torch.fitting.mean_shift import FLOOR, UNSEEN


@compiled
def search_scale(
    pdm: Arrays,
    params: Arrays,
    field: Arrays,
    prior: Array,
    steps: int,
    widths: Arrays,
    limits: Arrays,
    seen: Arrays,
    before: Arrays,
    after: Arrays,
) -> None:
    """Searches on the response maps of faces, and their states thereafter.

    Args:
        pdm: As `model_arrays` gives it.
        params: Where to start, as for `search_responses`; changed in place.
        field: The response maps, and where they lie; likewise.
        prior: Its weight, shape (B,).
        steps: Rigid and non-rigid ones at most.
        widths: Of the kernels.
        limits: Scales below which faces fail, and below which they get their likelihood, pixels per millimetre; and
            whether all of them get it.
        seen: View (B,), visible (B, N), and rows whose image could be read, bool, (B,).
        before: Parameters, active (B,), view (B,), likelihood (B,), landmark_likelihoods (B, N) and visible (B, N).
        after: Become the same after the scale.
    """
    rigid, found = np.empty(len(params[0]), np.float32), np.empty(field[1].shape, np.float32)
    precision = np.empty((len(prior), len(pdm[3])), np.float32)
    for b in range(len(prior)):
        precision[b] = prior[b] * pdm[3]
    search_responses(pdm, params, field, precision, steps, widths, rigid, found)
    own = np.empty(field[1].shape[1], np.float32)
    view, visible, readable = seen
    for b in range(len(rigid)):
        active = before[4][b] and readable[b]
        scale, euler, translation, local = params if active else (before[0], before[1], before[2], before[3])
        after[0][b], after[1][b], after[2][b], after[3][b] = scale[b], euler[b], translation[b], local[b]
        after[4][b] = active and not params[0][b] < limits[0]
        after[5][b] = view[b] if active else before[5][b]
        after[8][b] = visible[b] if active else before[8][b]
        after[6][b], after[7][b] = before[6][b], before[7][b]
        if active and (limits[2] or rigid[b] < limits[1]):
            after[6][b] = likelihoods(pad_rows(field[0][b]), found[b], visible[b], widths[0], own)
            after[7][b] = own


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
