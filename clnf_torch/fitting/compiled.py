"""When a search runs as compiled loops, and how its tensors get there and back; the torch forms are the definition."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import pairwise
from types import ModuleType
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

from clnf_torch.fitting.config import FitConfig, value_at
from clnf_torch.fitting.responses import ResponseField
from clnf_torch.models.pdm import PDM, PosedShape

# Set to 0 for the torch forms everywhere
SWITCH = "CLNF_TORCH_COMPILED"
# A thread takes longer to start than to search fewer faces than these
FACES_PER_THREAD = 4


@cache
def _kernels() -> ModuleType | None:
    """The compiled loops; None where numba is not installed, or not wanted."""
    if os.environ.get(SWITCH) == "0":
        return None
    try:
        from clnf_torch.fitting import kernels
    except ImportError:
        return None
    return kernels


def usable(*tensors: Tensor) -> bool:
    """Whether searches of these tensors can run as compiled loops: plain numbers, float32, on the CPU.

    Not while anything records, traces or transforms operations: gradients, `torch.compile`, `torch.func`.
    """
    transformed = torch.compiler.is_compiling() or torch._C._functorch.peek_interpreter_stack() is not None
    if transformed or forward_ad._current_level >= 0:
        return False
    recorded = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)
    plain = all(tensor.device.type == "cpu" and tensor.dtype == torch.float32 for tensor in tensors)
    return plain and not recorded and _kernels() is not None


def search(
    pdm: PDM, start: PosedShape, field: ResponseField, config: FitConfig, precision: Tensor | None, step: float | None
) -> tuple[PosedShape, Tensor]:
    """`nu_rlms` as compiled loops; `step` is its kernel step, and without a precision the search is rigid."""
    kernels, rigid = _kernels(), precision is None
    assert kernels is not None
    prior = torch.zeros_like(pdm.variances[None]) if precision is None else precision
    posed, found = _copied(start), field.base.new_empty(field.base.shape)
    maps = (field.responses, field.base, field.to_reference, field.to_image, field.weight)
    widths = value_at(config.sigma, 0), step or 0.0, config.tolerance

    def some(rows: slice) -> None:
        own = prior if len(prior) == 1 else prior[rows]
        kernels.search(
            _model_arrays(pdm),
            _arrays(*(values[rows] for values in posed)),
            _arrays(*(values[rows] for values in maps)),
            *_arrays(own),
            config.iterations,
            _float32(widths),
            rigid,
            *_arrays(found[rows]),
        )

    _in_threads(some, len(found))
    return PosedShape(*posed), found


def search_landmarks(pdm: PDM, start: PosedShape, landmarks: Tensor, weight: Tensor) -> PosedShape:
    """The steps of `params_from_landmarks` as compiled loops, from the upright start on."""
    kernels = _kernels()
    assert kernels is not None
    posed, targets = _copied(start), landmarks.mT.contiguous()

    def some(rows: slice) -> None:
        kernels.search_landmarks(
            _model_arrays(pdm),
            _arrays(*(values[rows] for values in posed)),
            *_arrays(targets[rows], weight[rows], 1 / pdm.variances),
        )

    _in_threads(some, len(targets))
    return PosedShape(*posed)


def _in_threads(some: Callable[[slice], None], count: int) -> None:
    """Does rows of a batch, shared among as many threads as torch uses.

    The threads end with the call: a pool that stays would be without its threads in a forked process.
    """
    threads = min(torch.get_num_threads(), count // FACES_PER_THREAD)
    if threads < 2:
        some(slice(0, count))
        return
    ends = [count * number // threads for number in range(threads + 1)]
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(some, (slice(*pair) for pair in pairwise(ends))))


def _model_arrays(pdm: PDM) -> tuple[Any, ...]:
    """Mean points (3, N), modes (M, 3, N) and greatest coefficients (M,) of a shape model."""
    return _arrays(pdm.mean.mT, pdm.modes.mT, pdm.local_limit)


def _copied(shape: PosedShape) -> tuple[Tensor, ...]:
    """Scale, rotation, translation and coefficients in memory of their own."""
    values = (shape.scale, shape.rotation, shape.translation, shape.local)
    return tuple(value.detach().clone(memory_format=torch.contiguous_format) for value in values)


def _arrays(*tensors: Tensor) -> tuple[Any, ...]:
    """The tensors as contiguous arrays, without a copy where they are contiguous."""
    return tuple(tensor.detach().contiguous().numpy() for tensor in tensors)


def _float32(numbers: tuple[float, ...]) -> tuple[Any, ...]:
    """Numbers in the type that the loops compute in."""
    return tuple(torch.tensor(numbers, dtype=torch.float32).numpy())
