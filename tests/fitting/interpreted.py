"""Triton's programs, run in its interpreter, beside the torch forms; prints how far apart they are as JSON.

A program of its own, since Triton decides when it is imported whether it interprets.
"""

from __future__ import annotations

import json
import os
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

os.environ["TRITON_INTERPRET"] = "1"

import torch
from triton import language as tl
from triton.language import core
from triton.runtime import interpreter

from clnf_torch.fitting import compiled
from clnf_torch.fitting.config import PRESETS, FitConfig
from clnf_torch.fitting.initialise import params_from_landmarks
from clnf_torch.fitting.kernels.cuda import launch
from clnf_torch.fitting.nu_rlms import search_responses
from clnf_torch.fitting.responses import ResponseField
from clnf_torch.models.pdm import PDM, ShapeParams
from tests.factories import seeded
from tests.fitting.random_searches import make_pdm, make_search

DEFAULT, TRACKING, WILD = (PRESETS[name].at_scale(0, (0.25,)) for name in ("default", "tracking", "wild"))
# Landmarks, modes, window, faces, settings, distance of kernel centres
SEARCHES = {
    "default": (68, 34, 11, 1, DEFAULT, None),
    "default, stepped": (28, 10, 9, 2, DEFAULT, 0.1),
    "tracking": (51, 20, 7, 1, TRACKING, None),
    "tracking, stepped": (7, 2, 9, 2, TRACKING, 0.1),
    "wild": (7, 2, 15, 1, WILD, None),
    "wild, stepped": (28, 10, 31, 1, replace(WILD, iterations=4), 0.1),
    "every step": (33, 7, 5, 1, FitConfig(iterations=3, sigma=2, regularisation=25, tolerance=0), None),
}
SPOILED = ("no weight", "nan weight", "nan map", "empty map", "nan start", "infinite base")


@contextmanager
def running(kernels: Any) -> Iterator[None]:
    """Runs these kernels wherever compiled ones may run; None: the torch forms."""
    before, compiled.kernels = compiled.kernels, lambda device_type: kernels
    try:
        yield
    finally:
        compiled.kernels = before


def both(run: Callable[[], Any]) -> tuple[Any, Any]:
    """What a function gives with the programs, and what without."""
    with running(launch):
        found = run()
    with running(None):
        return found, run()


def apart(pdm: PDM, found: ShapeParams, expected: ShapeParams) -> float:
    """Greatest distance of landmarks, pixels; infinite where not the same ones are numbers."""
    for name, value in vars(found).items():
        if not torch.equal(value.isnan(), getattr(expected, name).isnan()):
            return float("inf")
    return (pdm.landmarks(found) - pdm.landmarks(expected)).nan_to_num().abs().max().item()


def searched(pdm: PDM, start: ShapeParams, field: ResponseField, config: FitConfig, step: float | None) -> list[float]:
    """How far landmarks, their places in the maps, and scales after the rigid search are apart."""
    found, expected = both(lambda: search_responses(pdm, start, field, config, step))
    places = (found[2] - expected[2]).nan_to_num().abs().max().item()
    return [apart(pdm, found[1], expected[1]), places, (found[0] - expected[0]).nan_to_num().abs().max().item()]


def spoiled() -> list[float]:
    """As `searched`, of rows that cannot be solved, beside one that can; each with a regularisation of its own."""
    pdm = make_pdm(20, 6)
    start, field = make_search(pdm, len(SPOILED) + 1, 7)
    field.weight[0], field.weight[1], field.responses[2], field.responses[3] = 0, torch.nan, torch.nan, 0
    start.translation[4], field.base[5] = torch.nan, torch.inf
    config = FitConfig(iterations=2, regularisation=torch.logspace(-1, 3, len(SPOILED) + 1))
    return searched(pdm, start, field, config, 0.1)


def beyond_the_limit() -> list[float]:
    """As `searched`, of a shape that no face has: the rigid search already clamps it."""
    pdm = make_pdm(9, 3)
    start, field = make_search(pdm, 1, 5)
    return searched(pdm, replace(start, local=4 * pdm.variances.sqrt()[None]), field, FitConfig(iterations=2), None)


def other_layout() -> list[float]:
    """As `searched`, with maps and weights that are not contiguous."""
    pdm = make_pdm(7, 2)
    start, field = make_search(pdm, 1, 5)
    other = ResponseField(**{name: value.mT.contiguous().mT for name, value in vars(field).items()})
    other = replace(other, base=field.base.mT.contiguous().mT, weight=field.weight.repeat_interleave(2, 1)[:, ::2])
    return searched(pdm, start, other, FitConfig(iterations=2), None)


def alone() -> list[float]:
    """How far a face that is searched alone is from the same one among others."""
    pdm, config = make_pdm(7, 2), FitConfig(iterations=2)
    start, field = make_search(pdm, 3, 5)
    one = ResponseField(**{name: value[1:2] for name, value in vars(field).items()})
    with running(launch):
        _, together, there = search_responses(pdm, start, field, config, None)
        _, own, here = search_responses(pdm, start[1:2], one, config, None)
    return [apart(pdm, own, together[1:2]), (here - there[1:2]).abs().max().item(), 0.0]


def from_landmarks(landmarks: int, modes: int) -> list[float]:
    """How far parameters of given landmarks are apart: of all, of some, of none."""
    pdm = make_pdm(landmarks, modes)
    start, _ = make_search(pdm, 3, 3)
    target = pdm.landmarks(start) + torch.randn(3, landmarks, 2, generator=seeded(8))
    known = torch.rand(3, landmarks, generator=seeded(9)) > 0.2
    known[0], known[2] = True, False
    target[~known] = torch.nan
    return [apart(pdm, *both(lambda: params_from_landmarks(pdm, target, known)))]


def main() -> None:
    """Prints the distances of every case, and the seconds that it took."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    # The interpreter changes the language anew for every function that a program calls, which takes most of its time
    patch = interpreter._patch_lang
    patch(_sees_the_language)
    interpreter._patch_lang = lambda function: interpreter._LangPatchScope()
    cases: dict[str, Callable[[], list[float]]] = {
        "spoiled": spoiled,
        "beyond the limit": beyond_the_limit,
        "other layout": other_layout,
        "alone": alone,
        "from landmarks": lambda: from_landmarks(12, 4),
    }
    for name, (landmarks, modes, window, faces, config, step) in SEARCHES.items():
        pdm = make_pdm(landmarks, modes)
        cases[name] = lambda pdm=pdm, of=(faces, window), how=(config, step): searched(
            pdm, *make_search(pdm, *of), *how
        )
    found = {}
    for name, case in cases.items():
        before = time.perf_counter()
        found[name] = {"apart": case(), "seconds": time.perf_counter() - before}
    print(json.dumps(found))


def _sees_the_language() -> Any:
    """The modules that the interpreter has to change."""
    return tl, core


if __name__ == "__main__":
    main()
