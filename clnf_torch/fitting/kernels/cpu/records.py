"""What the loops of a fit are told of faces, as arrays by name."""

from typing import Any, NamedTuple, TypeAlias

from clnf_torch.compilation.compiler import Array

# numba knows the types
Number: TypeAlias = Any


class Params(NamedTuple):
    """`ShapeParams` of B faces."""

    scale: Array  # (B,)
    euler: Array  # (B, 3)
    translation: Array  # (B, 2)
    local: Array  # (B, M)


class Maps(NamedTuple):
    """A `ResponseField` of B faces, or of one without the first axis."""

    responses: Array  # (B, N, R, R)
    base: Array  # (B, N, 2)
    to_reference: Array  # (B, 2, 2)
    to_image: Array  # (B, 2, 2)
    weight: Array  # (B, N)


class Widths(NamedTuple):
    """How the mean shift looks at maps, and when a search ends."""

    sigma: Number  # width of the kernel, cells
    kernel_step: Number  # multiples of it are what kernels are centred on; 0: they are centred anywhere
    tolerance: Number  # pixels that landmarks move at least, all together


class Limits(NamedTuple):
    """Which faces fail, and which get their likelihood."""

    least: Number  # scale below which faces fail, pixels per millimetre
    judged: Number  # scale below which faces get their likelihood, whatever scales follow
    all_judged: bool  # whether all get it


class Faces(NamedTuple):
    """The fields of a `FitState` of B faces that change."""

    scale: Array
    euler: Array
    translation: Array
    local: Array
    active: Array
    nearest_view: Array
    likelihood: Array
    landmark_likelihoods: Array
    visible: Array
