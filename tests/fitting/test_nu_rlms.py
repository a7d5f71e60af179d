"""`clnf_torch.fitting.nu_rlms`: against one face at a time, and rows that stop by themselves."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from clnf_torch.fitting.config import FitConfig
from clnf_torch.fitting.mean_shift import mean_shift
from clnf_torch.fitting.nu_rlms import nu_rlms
from clnf_torch.fitting.responses import ResponseField
from clnf_torch.geometry.similarity import invert_similarity, similarity_between
from clnf_torch.models.pdm import PDM, PosedShape, ShapeParams
from tests.factories import M, N, make_params, make_pdm, seeded

CONFIG = FitConfig(iterations=4, sigma=1.5, regularisation=20.0)


def make_field(faces: int, window: int = 7, dtype: torch.dtype = torch.float64) -> tuple[ShapeParams, ResponseField]:
    """Faces, and response maps around them that pull each landmark somewhere else."""
    pdm, params, rng = make_pdm(dtype), make_params(faces, dtype), seeded(9)
    base = pdm.landmarks(params)
    to_reference = similarity_between(base, pdm.reference_landmarks(params.local, 0.5))
    responses = torch.rand(faces, N, window, window, generator=rng, dtype=torch.float64).pow(3).to(dtype)
    weight = (0.5 + torch.rand(faces, N, generator=rng, dtype=torch.float64)).to(dtype)
    weight[:, 1] = 0  # not visible
    return params, ResponseField(
        responses=responses,
        base=base,
        to_reference=to_reference,
        to_image=invert_similarity(to_reference),
        weight=weight,
    )


def search(pdm: PDM, params: ShapeParams, *args, **options) -> tuple[ShapeParams, torch.Tensor]:
    """`nu_rlms` from and to Euler angles."""
    found, positions = nu_rlms(pdm, PosedShape.of(params), *args, **options)
    return found.params(), positions


def row_of(field: ResponseField, i: int) -> ResponseField:
    """One face."""
    return ResponseField(**{name: value[i : i + 1] for name, value in vars(field).items()})


def naive_nu_rlms(
    pdm: PDM, params: ShapeParams, field: ResponseField, config: FitConfig, rigid: bool, step: float | None
) -> tuple[ShapeParams, torch.Tensor, int]:
    """One face, step after step: parameters, last offsets, and the number of steps."""
    regularisation = torch.as_tensor(config.regularisation, dtype=pdm.mean.dtype).reshape(-1)[0]
    previous = offsets = None
    limit = 3 * pdm.variances.sqrt()
    for count in range(config.iterations):
        shape, jacobian = pdm.landmarks_and_jacobian(params, rigid)
        if previous is not None and (shape - previous).norm() < config.tolerance:
            return params, offsets, count
        previous = shape
        offsets = (shape[0] - field.base[0]) @ field.to_reference[0].T + (field.responses.shape[-1] - 1) // 2
        shift = mean_shift(field.responses, offsets[None], config.sigma, step)[0] @ field.to_image[0].T
        stacked = jacobian[0].flatten(0, 1)
        weighted = stacked * field.weight[0].repeat(2)[:, None]
        right = weighted.T @ torch.cat((shift[:, 0], shift[:, 1]))
        hessian = weighted.T @ stacked
        if not rigid:
            prior = torch.cat((torch.zeros(6), regularisation / pdm.variances))
            hessian = hessian + torch.diag(prior)
            right = right - prior * torch.cat((torch.zeros(6), params.local[0]))
        params = pdm.step(params, torch.linalg.solve(hessian, right)[None])
        params = replace(params, local=params.local.clamp(-limit, limit))
    return params, offsets, config.iterations


def same(found: ShapeParams, expected: ShapeParams, **tolerances: float) -> None:
    torch.testing.assert_close(found.globals, expected.globals, **tolerances)
    torch.testing.assert_close(found.local, expected.local, **tolerances)


@pytest.mark.parametrize("rigid", [True, False])
@pytest.mark.parametrize("step", [None, 0.1])
def test_faces_one_at_a_time(rigid, step):
    pdm, (params, field) = make_pdm(), make_field(5)
    found, positions = search(pdm, params, field, CONFIG, rigid=rigid, kernel_step=step)
    for i in range(5):
        row = slice(i, i + 1)
        expected, offsets, _ = naive_nu_rlms(pdm, params[row], row_of(field, i), CONFIG, rigid, step)
        same(found[row], expected)
        torch.testing.assert_close(positions[i], offsets)


@pytest.mark.parametrize("tolerance", [0.1, 0.3, 1.0])
def test_rows_that_have_converged_stop_while_others_go_on(tolerance):
    pdm, (params, field) = make_pdm(), make_field(12)
    config = replace(CONFIG, iterations=12, tolerance=tolerance)
    found, positions = search(pdm, params, field, config, rigid=False, kernel_step=None)
    counts = set()
    for i in range(12):
        row = slice(i, i + 1)
        expected, offsets, count = naive_nu_rlms(pdm, params[row], row_of(field, i), config, False, None)
        counts.add(count)
        same(found[row], expected)
        torch.testing.assert_close(positions[i], offsets)
    assert len(counts) > 2  # they did stop at different times


def test_tolerance_zero_takes_every_step():
    pdm, (params, field) = make_pdm(), make_field(2)
    config = replace(CONFIG, tolerance=0.0)
    found, _ = search(pdm, params, field, config, rigid=False, kernel_step=None)
    stepwise = params
    for _ in range(config.iterations):
        once = replace(config, iterations=1)
        stepwise, _ = search(pdm, stepwise, field, once, rigid=False, kernel_step=None)
    same(found, stepwise)


def test_rigid_search_keeps_the_shape():
    pdm, (params, field) = make_pdm(), make_field(3)
    found, _ = search(pdm, params, field, CONFIG, rigid=True, kernel_step=None)
    torch.testing.assert_close(found.local, params.local)
    assert (found.rotation - params.rotation).abs().amin() > 0


def test_positions_are_those_before_the_last_step():
    pdm, (params, field) = make_pdm(), make_field(2, window=5)
    once = replace(CONFIG, iterations=1)
    _, positions = search(pdm, params, field, once, rigid=False, kernel_step=None)
    torch.testing.assert_close(positions, torch.full((2, N, 2), 2.0, dtype=torch.float64))


@pytest.mark.parametrize("rigid", [True, False])
def test_a_regularisation_per_face_equals_numbers(rigid):
    pdm, (params, field) = make_pdm(), make_field(3)
    values = torch.tensor([0.001, 20.0, 200.0], dtype=torch.float64)
    together, _ = search(pdm, params, field, replace(CONFIG, regularisation=values), rigid=rigid, kernel_step=None)
    for i, value in enumerate(values.tolist()):
        row, config = slice(i, i + 1), replace(CONFIG, regularisation=value)
        alone, _ = search(pdm, params[row], row_of(field, i), config, rigid=rigid, kernel_step=None)
        same(together[row], alone)


def test_shapes_stay_within_three_deviations():
    pdm, (params, field) = make_pdm(), make_field(6)
    config = replace(CONFIG, regularisation=1e-6, iterations=10)
    local = search(pdm, params, field, config, rigid=False, kernel_step=None)[0].local
    limit = 3 * pdm.variances.sqrt()
    assert (local.abs() <= limit + 1e-9).all() and (local.abs() > 0.99 * limit).any()


@pytest.mark.parametrize("spoil", ["weight", "responses", "landmark weight"])
@pytest.mark.parametrize("rigid", [True, False])
def test_a_row_that_cannot_be_solved_stays_still_and_spares_the_others(spoil, rigid):
    pdm, (params, field) = make_pdm(), make_field(3)
    expected, _ = search(pdm, params, field, CONFIG, rigid=rigid, kernel_step=0.1)
    if spoil == "weight":
        field.weight[1] = 0
    elif spoil == "landmark weight":
        field.weight[1, 0] = torch.nan
    else:
        field.responses[1, 0] = torch.nan
    found, _ = search(pdm, params, field, CONFIG, rigid=rigid, kernel_step=0.1)
    same(found[::2], expected[::2])
    same(found[1:2], params[1:2])


@pytest.mark.parametrize("faces", [0, 1, 5])
def test_batch_shape_device_and_dtype(faces, device, dtype):
    pdm, (params, field) = make_pdm(dtype).to(device), make_field(faces, dtype=dtype)
    params = ShapeParams(*(value.to(device) for value in vars(params).values()))
    field = ResponseField(**{name: value.to(device) for name, value in vars(field).items()})
    found, positions = search(pdm, params, field, CONFIG, rigid=False, kernel_step=None)
    assert found.local.shape == (faces, M) and positions.shape == (faces, N, 2)
    assert found.scale.dtype == dtype and found.scale.device.type == device.type


@pytest.mark.parametrize("rigid", [True, False])
def test_gradients(rigid):
    pdm, (params, field) = make_pdm(), make_field(2, window=5)
    config = replace(CONFIG, iterations=2, tolerance=0.0)
    values = [value.clone().requires_grad_() for value in vars(params).values()]
    maps = [value.clone().requires_grad_() for value in vars(field).values()]

    def run(*tensors):
        start, given = ShapeParams(*tensors[:4]), ResponseField(**dict(zip(vars(field), tensors[4:], strict=True)))
        found, positions = search(pdm, start, given, config, rigid=rigid, kernel_step=None)
        return found.globals, found.local, positions

    assert torch.autograd.gradcheck(run, (*values, *maps), fast_mode=True)
