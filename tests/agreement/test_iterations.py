"""Every iteration of NU-RLMS against OpenFace's, on its responses and on ours, and the likelihoods at the end."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from clnf_torch import ShapeParams
from clnf_torch.fitting.mean_shift import landmark_likelihoods, model_likelihood
from clnf_torch.fitting.nu_rlms import nu_rlms
from clnf_torch.fitting.responses import ResponseField
from clnf_torch.models.pdm import PosedShape
from tests.agreement.measure import FLIP, Agreement
from tests.agreement.photographs import CHAOTIC, EVERY, MAPPED, each
from tests.agreement.searches import KERNEL_STEP, Doubt, Search, answer, doubtful_kernels, positions_at

# Parameters after any number of iterations: 1e-5 was found. Where a kernel may be centred on the next 0.1 cell, 1.6e-4
# was found, and 1e-3 was asked for.
CERTAIN, DOUBTFUL = 5e-5, 1e-3
WITHIN_LIKELIHOOD = 1e-5  # 4.5e-7 was found
mapped_fits, unmapped_fits = each(MAPPED), each([fit for fit in EVERY if fit not in (*MAPPED, CHAOTIC)])
# Float32 alone: ties of the 1/32-pixel lattice fall as they do in OpenFace's float32.
in_float32 = pytest.mark.parametrize("dtype", [torch.float32], ids=["float32"])


@mapped_fits
def test_every_iteration(found, fit, agree: Agreement, record_property):
    for search in found:
        for count, ours, theirs, doubts in follow(search, search.field()):
            stage = "every iteration: parameters" + (", kernels in doubt" if doubts else "")
            note = f"{search.name} iteration {count}; kernels in doubt: {doubts or 'none'}"
            agree.params(stage, ours, theirs, within=DOUBTFUL if doubts else CERTAIN, note=note)
        for name in flipped(doubts):
            record_property(FLIP, f"{fit.file} {name}")


@unmapped_fits
@in_float32
def test_every_iteration_until_a_kernel_is_in_doubt(found, fit, read_image, agree: Agreement, record_property):
    """On our own responses: weighted fits, ten iterations, early ends and profile views are among them."""
    compared = 0
    for search in found:
        for count, ours, theirs, doubts in follow(search, answer(search, read_image(fit.image))):
            if doubts:
                break
            note = f"{search.name} iteration {count}"
            agree.params("every iteration: parameters, our responses", ours, theirs, within=CERTAIN, note=note)
            compared += 1
        for name in flipped(doubts):
            record_property(FLIP, f"{fit.file} {name}")
    assert compared > 0.5 * sum(len(search.reached()) for search in found)


def follow(search: Search, field: ResponseField) -> Iterator[tuple[int, ShapeParams, ShapeParams, list[Doubt]]]:
    """Our and OpenFace's parameters after each number of iterations, and the kernels that were in doubt until then."""
    reached, doubts = search.reached(), []
    for count in range(1, len(reached) + 1):
        config = search.config(count)
        start, rigid = PosedShape.of(search.start), search.rigid
        posed, positions = nu_rlms(search.pdm, start, field, config, rigid=rigid, kernel_step=KERNEL_STEP)
        before = search.positions("0") if count == 1 else positions_at(search, reached[count - 2 : count - 1])
        doubts += doubtful_kernels(search, count, positions, before)
        yield count, posed.params(), reached[count - 1 : count], doubts


def flipped(doubts: list[Doubt]) -> list[str]:
    """The names of the kernels that are centred elsewhere."""
    return [doubt.name for doubt in doubts if doubt.flipped]


@mapped_fits
def test_likelihoods(found, agree: Agreement):
    judged = [search for search in found if "lhood" in search.steps]
    assert judged
    for search in judged:
        responses, seen = search.field().responses, search.visible[0]
        ours = landmark_likelihoods(responses, search.positions("_last"), search.visible, search.sigma)
        theirs = search.steps["landmark_lhoods"]
        agree.relative("likelihood of landmarks", ours[:, seen], theirs[:, seen], within=WITHIN_LIKELIHOOD)
        assert torch.equal(ours[:, ~seen], theirs[:, ~seen])
        ours = model_likelihood(ours, search.visible)
        agree.absolute("likelihood of the model", ours, search.steps["lhood"], within=WITHIN_LIKELIHOOD)
