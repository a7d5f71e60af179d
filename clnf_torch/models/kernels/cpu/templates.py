"""Experts that compare patches with templates, as loops: CCNF and SVR, one expert after the other."""

import numpy as np

from clnf_torch.compilation.compiler import Array, Arrays, compiled, f32
from clnf_torch.compilation.products import LOWEST, NOTHING, multiply
from clnf_torch.compilation.tiles import LANES
from clnf_torch.models.kernels.cpu.activations import exponential, sigmoid
from clnf_torch.models.kernels.cpu.weights import own_weights
from clnf_torch.models.patch_experts.patches import TINY

RAW, GRADIENT = 0, 1


@compiled
def respond_with_ccnf(
    areas: Array,
    landmarks: Array,
    weights: Array,
    biases: Array,
    alphas: Array,
    least_alpha: float,
    sigmas: Array,
    responses: Array,
) -> None:
    """Responses of CCNF experts to the areas of all faces.

    Args:
        areas: Gray levels, shape (B, N, A, A).
        landmarks: That of each expert, shape (E,).
        weights: Templates, shape (E, S * S, K), float32, or float16 seen as int16.
        biases: Of the neurons, shape (E, K).
        alphas: Their weights in the response and in Sigma, shape (E, K).
        least_alpha: Neurons of no more weight do not respond.
        sigmas: Sigma, shape (E, R * R, R * R); without any, none is applied.
        responses: Become the response maps of the landmarks, shape (B, N, R, R).
    """
    window, size, neurons = responses.shape[2], weights.shape[1], weights.shape[2]
    patches = new_patches(areas.shape[2], window)
    outputs = np.empty((neurons, patches[1].shape[1]), np.float32)
    answers, smooth = np.empty(window * window, np.float32), np.empty(window * window, np.float32)
    own, scratch = np.empty((neurons, size), np.float32), np.empty(size * neurons, np.float32)
    gains = np.empty(neurons, np.float32)
    for e in range(len(landmarks)):
        own[:] = own_weights(weights, e, scratch).reshape(size, neurons).T
        whole = f32(0)
        for k in range(neurons):
            gains[k] = f32(2) * alphas[e, k] if alphas[e, k] > least_alpha else f32(0)
            whole += alphas[e, k]
        # `lone_sigma`
        lone = f32(0.5) / whole if whole > 0 else f32(0)
        for b in range(len(areas)):
            correlate(areas[b, landmarks[e]], own, patches, outputs)
            for k in range(neurons):
                for i in range(outputs.shape[1]):
                    outputs[k, i] += biases[e, k]
            sigmoid(outputs.reshape(-1))
            total = patches[2][0]
            total[:] = 0
            for k in range(neurons):
                for i in range(outputs.shape[1]):
                    total[i] += gains[k] * outputs[k, i]
            answers[:] = total[: window * window]
            smoothen(answers, sigmas, e, lone, smooth)
            write_raised(smooth, responses[b, landmarks[e]])


@compiled
def new_patches(width: int, window: int) -> Arrays:
    """Space for `correlate` with areas of some width: for the area, its patches, and four numbers of each."""
    support, cells = width - window + 1, -(-window * window // LANES) * LANES
    space = np.zeros((support, width * window + cells), np.float32)
    return space, np.empty((support * support, cells), np.float32), np.empty((4, cells), np.float32)


@compiled
def correlate(area: Array, templates: Array, patches: Arrays, found: Array) -> None:
    """Correlation of the normalised patches of an area with templates.

    Cells are the last axis, so that loops over them are vector instructions; there are as many as fill vectors, and
    those beyond the window are without meaning.

    Args:
        area: Gray levels, shape (A, A).
        templates: Shape (K, S * S).
        patches: From `new_patches`.
        found: Becomes the correlations, first those of the window, row by row, shape (K, C).
    """
    # Of each column of a patch: the pixels of the area from there on, in rows of the window
    pixels, columns, numbers = patches
    # Contiguous, which the rows of an array that is unpacked are not known to be
    first, total, squares, nothing = numbers[0], numbers[1], numbers[2], numbers[3]
    support = round(templates.shape[1] ** 0.5)
    window = len(area) - support + 1
    for x in range(support):
        for y in range(len(area)):
            for u in range(window):
                pixels[x, y * window + u] = area[y, x + u]
    first[:] = pixels[0, : len(first)]
    total[:], squares[:], nothing[:] = 0, 0, 0
    for p in range(len(columns)):
        x, start = p % support, p // support * window
        # Counted from a pixel: exact where there is no contrast, and less rounded where there is little
        source, own = pixels[x, start : start + len(total)], columns[p]
        for i in range(len(total)):
            pixel = source[i] - first[i]
            own[i] = pixel
            total[i] += pixel
    for i in range(len(total)):
        total[i] /= f32(len(columns))
    for p in range(len(columns)):
        own = columns[p]
        for i in range(len(total)):
            pixel = own[i] - total[i]
            own[i] = pixel
            squares[i] += pixel * pixel
    begins, places = np.arange(len(templates)) * len(columns), np.arange(len(templates)) * len(total)
    multiply(
        templates.reshape(-1), begins, (1, 0, len(columns)), columns.reshape(-1), False, nothing, found.reshape(-1),
        places, NOTHING, LOWEST, NOTHING,
    )  # fmt: skip
    for i in range(len(total)):
        squares[i] = f32(1) / np.sqrt(squares[i] + f32(len(columns)) * f32(TINY))
    for k in range(len(found)):
        for i in range(len(total)):
            found[k, i] *= squares[i]


@compiled
def smoothen(answers: Array, sigmas: Array, expert: int, lone: float, smooth: Array) -> None:
    """Answers (R * R,) times Sigma of an expert, or times what stands in for it."""
    if len(sigmas) == 0:
        for i in range(len(answers)):
            smooth[i] = answers[i] * lone
        return
    sigma = sigmas[expert]
    smooth[:] = 0
    # Sigma is symmetric
    for j in range(len(answers)):
        for i in range(len(answers)):
            smooth[i] += answers[j] * sigma[j, i]


@compiled
def write_raised(answers: Array, response: Array) -> None:
    """Answers (R * R,) as a response map (R, R), raised to 0 as a whole where one of them is below."""
    lowest = f32(0)
    for i in range(len(answers)):
        lowest = answers[i] if answers[i] < lowest else lowest
    flat = response.reshape(-1)
    for i in range(len(answers)):
        flat[i] = answers[i] - lowest


@compiled
def respond_with_svr(
    areas: Array, landmarks: Array, weights: Array, numbers: Arrays, modalities: Array, responses: Array
) -> None:
    """Responses of SVR experts to the areas of all faces: products over the modalities.

    Args:
        areas: Gray levels, shape (B, N, A, A).
        landmarks: That of each expert, shape (E,).
        weights: A template per modality, shape (E, S * S, K), float32, or float16 seen as int16.
        numbers: Scalings and biases, shape (E, K) each.
        modalities: Of each template, `RAW` or `GRADIENT`, shape (K,).
        responses: Become the response maps of the landmarks, shape (B, N, R, R).
    """
    window, size, templates = responses.shape[2], weights.shape[1], weights.shape[2]
    patches, shown = new_patches(areas.shape[2], window), np.zeros(areas.shape[2:], np.float32)
    scratch, own = np.empty(size * templates, np.float32), np.empty((templates, size), np.float32)
    matches = np.empty((1, patches[1].shape[1]), np.float32)
    scalings, biases = numbers
    for e in range(len(landmarks)):
        own[:] = own_weights(weights, e, scratch).reshape(size, templates).T
        for b in range(len(areas)):
            response = responses[b, landmarks[e]]
            response[:] = 1
            for k in range(templates):
                shown[:] = areas[b, landmarks[e]]
                if modalities[k] == GRADIENT:
                    shown[:] = 0
                    square_gradient(areas[b, landmarks[e]], shown)
                correlate(shown, own[k : k + 1], patches, matches)
                multiply_logistic(matches[0], scalings[e, k], biases[e, k], response)


@compiled
def multiply_logistic(matches: Array, scaling: float, bias: float, response: Array) -> None:
    """Multiplies a response map (R, R) by the logistic function of correlations (C,), which lie in [-1, 1]."""
    window = len(response)
    for i in range(len(matches)):
        # A NaN stays one
        match = f32(-1) if matches[i] < f32(-1) else f32(1) if matches[i] > f32(1) else matches[i]
        matches[i] = f32(1) / (f32(1) + exponential(-(scaling * match + bias)))
    for v in range(window):
        for u in range(window):
            response[v, u] *= matches[v * window + u]


@compiled
def square_gradient(area: Array, found: Array) -> None:
    """`svr.squared_gradient` of an area (A, A); the outermost pixels stay what they are."""
    for y in range(1, len(area) - 1):
        for x in range(1, len(area) - 1):
            across, down = area[y, x + 1] - area[y, x - 1], area[y + 1, x] - area[y - 1, x]
            found[y, x] = across * across + down * down
