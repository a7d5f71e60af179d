"""The networks of CEN as loops: patches go through all layers while the weights of their expert are in the cache."""

import numpy as np

from clnf_torch.compilation.compiler import Array, Arrays, compiled_exactly, f32
from clnf_torch.compilation.products import LOWEST, NOTHING, multiply
from clnf_torch.compilation.tiles import LANES
from clnf_torch.models.kernels.cpu.activations import rectify, sigmoid
from clnf_torch.models.kernels.cpu.patches import cut_patches, lay_out
from clnf_torch.models.kernels.cpu.weights import multiply_few, own_weights, weights_ahead

# Patches that go through the layers together: they, and an expert's weights, stay in a core's second cache
PATCHES = 128
LINEAR, RELU, SIGMOID = 0, 1, 2


@compiled_exactly
def respond(
    areas: Array,
    experts: Array,
    landmarks: Array,
    flipped: Array,
    weights: Arrays,
    biases: Arrays,
    activations: tuple[int, ...],
    widest: int,
    checkerboard: bool,
    responses: Array,
) -> None:
    """Responses of some experts of a stack to the areas of all faces.

    Args:
        areas: Gray levels, shape (B, N, A, A).
        experts: Numbers of the experts in their stack, shape (E,).
        landmarks: Those that each serves, shape (E, U).
        flipped: Landmarks whose areas are shown mirrored, shape (N,).
        weights: Of each layer, shape (all, in, out), float32, or float16 seen as int16.
        biases: Of each layer, shape (all, out).
        activations: Of each layer.
        widest: Outputs of the widest layer.
        checkerboard: See `cut_patches`.
        responses: Become the response maps of the landmarks, shape (B, N, R, R).
    """
    window = responses.shape[2]
    cells = window * window // 2 if checkerboard else window * window
    faces, uses = len(areas), landmarks.shape[1]
    patches = np.empty((max(PATCHES, cells), weights[0].shape[1]), np.float32)
    buffers = np.empty((2, len(patches) * max(widest, LANES)), np.float32)
    scratch = np.empty(largest(weights), np.float32)
    together = max(1, PATCHES // max(cells, 1))
    for e in range(len(experts)):
        following = experts[min(e + 1, len(experts) - 1)]
        for first in range(0, faces * uses, together):
            last = min(first + together, faces * uses)
            for k in range(first, last):
                landmark = landmarks[e, k % uses]
                some = patches[(k - first) * cells : (k - first + 1) * cells]
                cut_patches(areas[k // uses, landmark], flipped[landmark], checkerboard, some)
            some = patches[: (last - first) * cells]
            answers = propagate(some, weights, biases, activations, experts[e], following, buffers, scratch)
            for k in range(first, last):
                landmark = landmarks[e, k % uses]
                own = answers[(k - first) * cells : (k - first + 1) * cells]
                lay_out(own, flipped[landmark], checkerboard, responses[k // uses, landmark])


@compiled_exactly
def largest(weights: Arrays) -> int:
    """Numbers of the largest layer of an expert."""
    size = 0
    for layer in range(len(weights)):
        size = max(size, weights[layer].shape[1] * weights[layer].shape[2])
    return size


@compiled_exactly
def propagate(
    patches: Array,
    weights: Arrays,
    biases: Arrays,
    activations: tuple[int, ...],
    expert: int,
    following: int,
    buffers: Array,
    scratch: Array,
) -> Array:
    """Outputs (P,) of one network for patches (P, in); the weights of the one that follows are fetched meanwhile."""
    count, source, last = len(patches), patches.reshape(-1), len(weights) - 1
    for layer in range(len(weights)):
        bias, inner = biases[layer][expert], weights[layer].shape[1]
        found = buffers[layer % 2, : count * len(bias)]
        weight = own_weights(weights[layer], expert, scratch)
        if len(bias) >= LANES:
            ahead = weights_ahead(weights[min(layer + 1, last)], expert)
            if layer + 2 >= last:
                ahead = weights_ahead(weights[0], following)
            begins, places = np.arange(count) * inner, np.arange(count) * len(bias)
            least = f32(0) if activations[layer] == RELU else LOWEST
            multiply(source, begins, (1, 0, inner), weight, False, bias, found, places, NOTHING, least, ahead)
        else:
            multiply_few(source.reshape(count, inner), weight.reshape(inner, len(bias)), bias, found)
            if activations[layer] == RELU:
                rectify(found)
        if activations[layer] == SIGMOID:
            sigmoid(found)
        source = found
    return source
