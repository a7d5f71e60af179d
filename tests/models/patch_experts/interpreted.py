"""Triton's program of CEN experts, in its interpreter, beside the torch form; prints how far apart they are as JSON.

A program of its own, since Triton decides when it is imported whether it interprets.
"""

from __future__ import annotations

import json
import os
import warnings
from dataclasses import replace
from typing import Any

os.environ["TRITON_INTERPRET"] = "1"

import numpy as np
import torch
from triton import language as tl
from triton.runtime import interpreter

from clnf_torch.geometry.precision import products_in
from clnf_torch.models import compiled
from clnf_torch.models.kernels.cuda import launch
from clnf_torch.models.numerics import EXACT, OPENFACE, Numerics
from clnf_torch.models.patch_experts.cen import CENExperts
from tests.factories import N, make_experts, make_stack, seeded

NAMES = ["relu", "relu", "sigmoid", "sigmoid"]


def make_areas(tiles: int, faces: int, width: int) -> torch.Tensor:
    """Gray levels (T, F, N, A, A)."""
    return 255 * torch.rand(tiles, faces, N, width, width, generator=seeded(4))


def make_deep(dtype: torch.dtype = torch.float32) -> CENExperts:
    """CE-CLM's four layers, small; a landmark is shown mirrored, another one is not visible."""
    stack = make_stack(3, (25, 40, 20, 33, 1), NAMES, 5, dtype)
    for weight in stack.weights:
        weight.data /= weight.shape[1] ** 0.5
    table = torch.tensor([[1, 0, 1, -1, 2], [0, 2, 1, 1, -1]])
    flipped = torch.tensor([[False, True, True, False, False], [True, False, False, False, False]])
    return CENExperts(0.25, 5, torch.zeros(2, 3), table >= 0, torch.ones(2, N), table, flipped, [stack])


def both(experts: CENExperts, areas: torch.Tensor, views: list[int], numerics: Numerics) -> tuple[Any, Any]:
    """Responses of the program, and of the torch form."""
    given = areas, torch.tensor(views), numerics
    with products_in(numerics.precision, areas.device):
        compiled.usable_on_card = lambda areas, weights: False
        expected = experts.respond_in_tiles(*given)
        compiled.usable_on_card, compiled.card_kernels = (lambda areas, weights: True), (lambda device: launch)
        return experts.respond_in_tiles(*given), expected


def apart(experts: CENExperts, areas: torch.Tensor, views: list[int], numerics: Numerics) -> float:
    """Greatest difference of responses; infinite where not the same ones are numbers."""
    found, expected = both(experts, areas, views, numerics)
    if not torch.equal(found.isnan(), expected.isnan()):
        return float("inf")
    return float((found.float() - expected.float()).nan_to_num().abs().max())


def spoiled() -> float:
    """Beside a face that can be seen, one with a constant area, one with a NaN, and one that is black."""
    areas = make_areas(1, 4, 9)
    areas[:, 1], areas[:, 2, 1, 4, 4], areas[:, 3] = 77.3, torch.nan, 0
    return apart(make_deep(), areas, [0], OPENFACE)


def alone() -> float:
    """How far a face's responses are from those that it has among others."""
    areas = make_areas(1, 5, 13)
    together, _ = both(make_deep(), areas, [1], EXACT)
    own, _ = both(make_deep(), areas[:, 3:4], [1], EXACT)
    return float((own - together[:, 3:4]).abs().max())


def rounded() -> float:
    """How much further from the full products the program's are than the torch form's where both round to bfloat16."""
    areas = make_areas(3, 2, 9)
    found, expected = both(make_deep(), areas, [1, 0, 1], replace(OPENFACE, precision="bf16"))
    _, full = both(make_deep(), areas, [1, 0, 1], OPENFACE)
    return float((found - full).abs().max() / (expected.float() - full).abs().max())


def dot_of_bfloat16(builder: Any, left: Any, right: Any, *rest: Any) -> Any:
    """The interpreter's product of matrices, which takes bfloat16 for whole numbers."""
    widened = [
        interpreter.TensorHandle((each.data.astype(np.uint32) << 16).view(np.float32), tl.float32)
        if each.dtype.scalar == tl.bfloat16
        else each
        for each in (left, right)
    ]
    return create_dot(builder, *widened, *rest)


# In float32, too, which cards leave to torch
launch.ON_TENSOR_CORES = tuple(launch.ROUNDING)
create_dot = interpreter.InterpreterBuilder.create_dot
interpreter.InterpreterBuilder.create_dot = dot_of_bfloat16


def main() -> None:
    """Prints the distances of every case."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    shallow, deep, half = make_experts(support=5, dtype=torch.float32), make_deep(), make_deep(torch.float16)
    areas = make_areas(3, 2, 9)
    found = {
        "four layers": apart(deep, areas, [1, 0, 1], OPENFACE),
        "four layers, every cell": apart(deep, areas, [1, 0, 1], EXACT),
        "four layers, one cell": apart(deep, make_areas(1, 2, 5), [0], EXACT),
        "four layers, many cells": apart(deep, make_areas(1, 3, 15), [0], OPENFACE),
        "two and three layers": apart(shallow, areas, [2, 0, 1], OPENFACE),
        "two and three layers, every cell": apart(shallow, areas, [2, 0, 1], EXACT),
        "weights of half precision": apart(half, areas, [1, 0, 1], OPENFACE),
        "other layout": apart(deep, areas.mT.contiguous().mT, [0, 0, 1], OPENFACE),
        "spoiled": spoiled(),
        "bfloat16": rounded(),
        "alone": alone(),
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
