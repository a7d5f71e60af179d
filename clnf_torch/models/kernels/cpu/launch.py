"""The compiled loops on tensors: how they become arrays, and how threads share the experts."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from clnf_torch.compilation import tiles
from clnf_torch.compilation.compiler import Array, Arrays, f32
from clnf_torch.compilation.threads import arrays, in_threads
from clnf_torch.models.kernels.cpu import convolutions, mesh, mlps, shapes, templates, unet, windows

ACTIVATIONS = {"relu": mlps.RELU, "sigmoid": mlps.SIGMOID}

NO_SIGMAS = np.zeros((0, 0, 0), np.float32)
MODALITIES = {"raw": templates.RAW, "gradient": templates.GRADIENT}


def respond_with_mlps(
    areas: Tensor,
    first: int,
    landmarks: Tensor,
    flipped: Tensor,
    layers: tuple[Sequence[Tensor], Sequence[Tensor]],
    activations: Sequence[str],
    checkerboard: bool,
    responses: Tensor,
) -> None:
    """Fills in the responses (B, N, R, R) of neighbouring experts of a stack to areas (B, N, A, A).

    Args:
        areas: Gray levels.
        first: The first expert.
        landmarks: Those that each expert serves, shape (E, U).
        flipped: Landmarks whose areas are shown mirrored, shape (N,).
        layers: Weights and biases of each layer of all experts of the stack.
        activations: Of each layer, by name.
        checkerboard: As for `cut_patches`.
        responses: The response maps; those of other landmarks stay as they are.
    """
    weights, biases = layers
    kinds = tuple(ACTIVATIONS.get(name, mlps.LINEAR) for name in activations)
    widest = max(bias.shape[1] for bias in biases)
    given, flags, found = arrays(areas, flipped, responses)
    numbers = tuple(map(_numbers, weights)), arrays(*(bias.float() for bias in biases))

    def some(rows: Arrays) -> None:
        experts, served = rows
        mlps.respond(given, experts, served, flags, *numbers, kinds, widest, checkerboard, found)

    in_threads(some, (arrays(torch.arange(first, first + len(landmarks), device="cpu"), landmarks),), len(landmarks))


def respond_with_ccnf(
    areas: Tensor,
    landmarks: Tensor,
    own: slice,
    numbers: Sequence[Tensor],
    least_alpha: float,
    sigmas: Tensor | None,
    responses: Tensor,
) -> None:
    """Fills in the responses (B, N, R, R) of a view's CCNF experts to areas (B, N, A, A).

    Args:
        areas: Gray levels.
        landmarks: Those of the view, shape (E,).
        own: Where the view's experts are among all.
        numbers: Weights, biases and alphas of all experts.
        least_alpha: Neurons of no more weight do not respond.
        sigmas: Sigma, shape (E, R * R, R * R); None: none is applied.
        responses: The response maps; those of other landmarks stay as they are.
    """
    given, found = arrays(areas, responses)
    weights, *others = numbers
    rows = _numbers(weights)[own], *(array[own] for array in arrays(*others))
    smoothing = () if sigmas is None else arrays(sigmas)

    def some(rows: Arrays, smoothing: Arrays) -> None:
        templates.respond_with_ccnf(given, *rows, f32(least_alpha), smoothing[0] if smoothing else NO_SIGMAS, found)

    in_threads(some, ((*arrays(landmarks), *rows), smoothing), len(landmarks))


def respond_with_svr(
    areas: Tensor,
    landmarks: Tensor,
    weights: Tensor,
    numbers: Sequence[Tensor],
    modalities: Sequence[str],
    responses: Tensor,
) -> None:
    """Fills in the responses (B, N, R, R) of SVR experts to areas (B, N, A, A); see `templates.respond_with_svr`."""
    given, found = arrays(areas, responses)
    kinds = np.array([MODALITIES[name] for name in modalities])

    def some(rows: Arrays, numbers: Arrays) -> None:
        templates.respond_with_svr(given, *rows, numbers, kinds, found)

    in_threads(some, ((*arrays(landmarks), _numbers(weights)), arrays(*numbers)), len(landmarks))


def unet_layers(network: nn.Module) -> Any:
    """The layers of a `UNet` as compiled loops."""
    return unet.layers_of(network)


def mesh_layers(network: nn.Module) -> Any:
    """The layers of a `MeshNetwork` as compiled loops."""
    return mesh.layers_of(network)


def heatmaps(layers: Any, gray: Tensor, maps: Tensor) -> None:
    """Fills in the heatmaps (B, N, H, H) of a network's layers for images (B, A, A)."""

    def some(rows: Arrays) -> None:
        own, found = rows
        for block, last in layers.blocks(own):
            convolutions.heatmaps_of(last, layers.head, found[block])

    in_threads(some, (arrays(gray, maps),), len(gray))


def heatmap_windows(layers: Any, gray: Tensor, middle: Tensor, parts: Tensor) -> None:
    """Fills in square parts (B, N, R, R), around cells (B, N, 2), of the heatmaps that `heatmaps` would fill in."""

    def some(rows: Arrays) -> None:
        own, cells, found = rows
        for block, last in layers.blocks(own):
            convolutions.windows_of(last, layers.head, cells[block], found[block])

    in_threads(some, (arrays(gray, middle, parts),), len(gray))


def fills_vectors(widths: Iterable[int]) -> bool:
    """Whether layers of such widths can be products of the loops."""
    return min(widths) >= tiles.LANES


def project_shapes(pdm: nn.Module, params: Any) -> Tensor:
    """`PDM.landmarks` of `ShapeParams`, (B, N, 2)."""
    model = shapes.model_arrays(pdm)
    values = arrays(params.scale, params.rotation, params.translation, params.local)
    landmarks = np.empty((len(values[0]), model.mean.shape[1], 2), np.float32)
    shapes.project_shapes(model.mean, model.modes, values, landmarks)
    return torch.from_numpy(landmarks)


def _numbers(weights: Tensor) -> Array:
    """Weights as an array; float16 is seen as int16."""
    weights = weights.detach().contiguous()
    return (weights.view(torch.int16) if weights.dtype == torch.float16 else weights).numpy()


def cut_windows(maps: Tensor, middle: Tensor, parts: Tensor) -> None:
    """Fills in square parts (B, N, R, R) of maps (B, N, H, H) around cells (B, N, 2)."""

    def some(rows: Arrays) -> None:
        windows.cut_windows(*rows)

    in_threads(some, (arrays(maps, middle, parts),), len(maps))
