"""The first step of every search of NU-RLMS against OpenFace's, from stored inputs."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from clnf_torch.fitting.gauss_newton import normal_equations, solve
from clnf_torch.fitting.mean_shift import mean_shift
from tests.agreement.measure import Agreement
from tests.agreement.photographs import EVERY, MAPPED, each
from tests.agreement.searches import KERNEL_STEP, Search, answer, positions_at

# Bounds are two to ten times what was found, and no looser than what was asked for: right sides 1e-3, Hessians and
# updates 1e-4, mean shifts 1e-3 cells. What is left is OpenFace's own float32 rounding: of positions (3e-5 px at
# 500 px), and of right sides, which are small sums of large terms where a search starts near its end.
WITHIN_WEIGHT = 1e-6
WITHIN_POSITION, WITHIN_SHIFT, WITHIN_SHIFT_OF_OUR_RESPONSES = 2e-4, 5e-5, 1e-4  # cells
WITHIN_JACOBIAN, WITHIN_HESSIAN, WITHIN_UPDATE = 2e-6, 5e-6, 5e-5
WITHIN_RIGHT, WITHIN_RIGHT_OF_OUR_SHIFT = 5e-4, 1e-3
every_fit, mapped_fits = each(EVERY), each(MAPPED)
# Float32 alone: ties of the 1/32-pixel lattice fall as they do in OpenFace's float32.
in_float32 = pytest.mark.parametrize("dtype", [torch.float32], ids=["float32"])


def system(search: Search, shift: Tensor) -> tuple[Tensor, Tensor]:
    """The first step's matrix and right side, with the prior as the specification writes it."""
    _, jacobian = search.pdm.landmarks_and_jacobian(search.start, search.rigid)
    hessian, right = normal_equations(jacobian, search.weight, shift)
    if search.rigid:
        return hessian, right
    prior = torch.cat((shift.new_zeros(6), search.regularisation / search.pdm.variances))
    pull = prior * torch.cat((shift.new_zeros(1, 6), search.start.local), dim=-1)
    return hessian + prior.diag(), right - pull


def scaled(hessian: Tensor, by: Tensor) -> Tensor:
    """Entries relative to the root of their diagonal entries' product: stricter than to the largest entry."""
    root = by.diagonal(dim1=-2, dim2=-1).sqrt()
    return hessian / root[..., None] / root[..., None, :]


@every_fit
def test_weights(found, agree: Agreement):
    for search in found:
        factor, confidence = search.trace.number("weight_factor"), search.experts.confidence[search.view]
        ours = search.visible * (factor * confidence if factor else torch.ones_like(confidence))
        agree.relative("first step: weights", ours, search.weight, within=WITHIN_WEIGHT, note=search.name)


@every_fit
def test_first_positions(found, agree: Agreement):
    for search in found:
        ours, theirs = positions_at(search, search.start), search.positions("0")
        agree.absolute("first step: positions, cells", ours, theirs, within=WITHIN_POSITION, note=search.name)


@mapped_fits
def test_first_mean_shift(found, agree: Agreement):
    for search in found:
        shift = mean_shift(search.field().responses, search.positions("0"), search.sigma, KERNEL_STEP)
        ours, theirs = shift * search.visible[..., None], search.steps.points("ms0_ref")
        agree.absolute("first step: mean shift, cells", ours, theirs, within=WITHIN_SHIFT, note=search.name)


@every_fit
@in_float32
def test_first_mean_shift_of_our_responses(found, fit, read_image, agree: Agreement):
    """Where no responses are stored; landmarks outside their windows and profile views are among them."""
    stage = "first step: mean shift of our responses, cells"
    for search in found:
        responses = answer(search, read_image(fit.image)).responses
        shift = mean_shift(responses, search.positions("0"), search.sigma, KERNEL_STEP)
        ours, theirs = shift * search.visible[..., None], search.steps.points("ms0_ref")
        agree.absolute(stage, ours, theirs, within=WITHIN_SHIFT_OF_OUR_RESPONSES, note=search.name)


@every_fit
def test_first_jacobian(found, agree: Agreement):
    for search in found:
        _, jacobian = search.pdm.landmarks_and_jacobian(search.start, search.rigid)
        ours = (jacobian * search.visible[:, None, :, None]).flatten(1, 2)
        agree.relative("first step: Jacobian", ours, search.steps["J0"], within=WITHIN_JACOBIAN, note=search.name)


@every_fit
def test_first_system_and_update(found, agree: Agreement):
    for search in found:
        hessian, right = system(search, search.steps.points("ms0_img"))
        stored, stored_right = search.steps["hessian0"], search.steps["rhs0"]
        ours, theirs = scaled(hessian, stored), scaled(stored, stored)
        agree.absolute("first step: Hessian", ours, theirs, within=WITHIN_HESSIAN, note=search.name)
        agree.relative("first step: right side", right, stored_right, within=WITHIN_RIGHT, note=search.name)
        update = solve(stored, stored_right)
        agree.relative("first step: update", update, search.steps["update0"], within=WITHIN_UPDATE, note=search.name)


@mapped_fits
def test_first_update_from_responses(found, agree: Agreement):
    for search in found:
        field, note = search.field(), search.name
        shift = mean_shift(field.responses, search.positions("0"), search.sigma, KERNEL_STEP) @ field.to_image.mT
        hessian, right = system(search, shift)
        theirs, update = search.steps["rhs0"], search.steps["update0"]
        agree.relative("first step, whole: right side", right, theirs, within=WITHIN_RIGHT_OF_OUR_SHIFT, note=note)
        agree.relative("first step, whole: update", solve(hessian, right), update, within=WITHIN_UPDATE, note=note)
