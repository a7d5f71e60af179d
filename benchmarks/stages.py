"""Where the time of a fit goes: a stopwatch around the functions that the stages consist of."""

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

from clnf_torch.compilation.conditions import load_kernels
from clnf_torch.fitting import gauss_newton, nu_rlms
from clnf_torch.fitting.images import ImageBatch
from clnf_torch.models.patch_experts import cen
from clnf_torch.models.patch_experts.mlp_stack import MLPStack
from clnf_torch.models.pdm import PDM

LOOPS = load_kernels("clnf_torch.fitting.kernels.cpu.fit")
COMPILED = {
    "crops": (ImageBatch, "crop"),
    "experts": (cen.CENExperts, "respond"),
    "views and frames of reference": (getattr(LOOPS, "placement", None), "place_experts"),
    "searches": (getattr(LOOPS, "scales", None), "search_scale"),
}
STAGES: dict[str, tuple[object, str]] = (
    COMPILED
    if LOOPS is not None
    else {
        "crops": (ImageBatch, "crop"),
        "patches": (cen, "cut_patches"),
        "experts' products": (MLPStack, "forward"),
        "mean shift": (nu_rlms, "mean_shift"),
        "Jacobian": (PDM, "landmarks_and_jacobian"),
        "normal equations": (gauss_newton, "normal_equations"),
        "solve": (gauss_newton, "solve"),
    }
)


@contextmanager
def stopwatch() -> Iterator[dict[str, float]]:
    """Seconds spent in each stage while the context lasts; on the CPU alone, where a call returns when it is done."""
    spent: dict[str, float] = defaultdict(float)
    with ExitStack() as stack:
        for stage, (owner, name) in STAGES.items():
            stack.enter_context(patch.object(owner, name, _timed(getattr(owner, name), stage, spent)))
        yield spent


def _timed(function: Callable[..., Any], stage: str, spent: dict[str, float]) -> Callable[..., Any]:
    """The function, adding its time to the stage's."""

    def timed(*args: object, **kwargs: object) -> object:
        begin = time.perf_counter()
        try:
            return function(*args, **kwargs)
        finally:
            spent[stage] += time.perf_counter() - begin

    return timed
