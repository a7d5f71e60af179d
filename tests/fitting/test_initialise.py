"""`clnf_torch.fitting.initialise`: starts out of boxes and out of landmarks."""

from __future__ import annotations

import math

import pytest
import torch

from clnf_torch.fitting.initialise import params_from_box, params_from_landmarks
from clnf_torch.models.pdm import ShapeParams
from tests.factories import M, N, make_boxes, make_params, make_pdm


def test_the_frontal_mean_face_fills_a_box_of_its_own_shape():
    pdm, zero = make_pdm(), torch.zeros(1, 3, dtype=torch.float64)
    boxes = torch.tensor([[10.0, 20.0, 62.0, 63.0]], dtype=torch.float64)  # the mean face's extent in millimetres
    params = params_from_box(pdm, boxes, zero)
    landmarks = pdm.landmarks(params)
    torch.testing.assert_close(params.scale, torch.ones(1, dtype=torch.float64))
    torch.testing.assert_close(landmarks.amin(1), boxes[:, :2])
    torch.testing.assert_close(landmarks.amax(1), boxes[:, :2] + boxes[:, 2:])


@pytest.mark.parametrize("own_shape", [False, True])
def test_turned_faces_are_centred_and_as_large_as_their_boxes_on_average(rng, own_shape):
    pdm, boxes = make_pdm(), make_boxes(5)
    rotation = torch.randn(5, 3, generator=rng, dtype=torch.float64) / 2
    local = make_params(5).local if own_shape else None
    params = params_from_box(pdm, boxes, rotation, local)
    landmarks = pdm.landmarks(params)
    lowest, highest = landmarks.amin(1), landmarks.amax(1)
    torch.testing.assert_close((lowest + highest) / 2, boxes[:, :2] + boxes[:, 2:] / 2)
    torch.testing.assert_close((boxes[:, 2:] / (highest - lowest)).mean(-1), torch.ones(5, dtype=torch.float64))
    torch.testing.assert_close(params.rotation, rotation)
    torch.testing.assert_close(params.local, torch.zeros(5, M, dtype=torch.float64) if local is None else local)


@pytest.mark.parametrize("faces", [0, 1, 5])
def test_boxes_one_by_one(rng, faces, device, dtype):
    pdm, boxes = make_pdm(dtype).to(device), make_boxes(faces).to(device, dtype)
    rotation = torch.zeros(faces, 3, device=device, dtype=dtype)
    together = params_from_box(pdm, boxes, rotation).globals
    assert together.shape == (faces, 6) and together.dtype == dtype and together.device.type == device.type
    for i in range(faces):
        alone = params_from_box(pdm, boxes[i : i + 1], rotation[i : i + 1])
        torch.testing.assert_close(alone.globals[0], together[i])


def test_box_gradients(rng):
    pdm = make_pdm()
    boxes, rotation = make_boxes(2).requires_grad_(), (torch.randn(2, 3, generator=rng).double() / 3).requires_grad_()

    def run(boxes, rotation):
        return params_from_box(pdm, boxes, rotation).globals

    assert torch.autograd.gradcheck(run, (boxes, rotation))


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_an_unusable_box_makes_an_unusable_row_and_sends_no_nan_back(value):
    pdm, boxes = make_pdm().requires_grad_(), make_boxes(3)
    expected = params_from_box(pdm, boxes, torch.zeros(3, 3, dtype=torch.float64)).globals
    boxes[1, 2] = value
    params = params_from_box(pdm, boxes.requires_grad_(), torch.zeros(3, 3, dtype=torch.float64))
    assert params.finite().tolist() == [True, False, True]
    torch.testing.assert_close(params.globals[::2], expected[::2])
    params.globals[::2].sum().backward()
    assert pdm.mean.grad.isfinite().all() and (boxes.grad[1] == 0).all()


def gentle(faces: int) -> ShapeParams:
    """Faces that the shape prior hardly holds back: large in the image, close to the mean."""
    params = make_params(faces)
    return ShapeParams(20 * params.scale, params.rotation / 2, params.translation, params.local / 8)


def test_landmarks_give_their_parameters_back():
    pdm, params = make_pdm(), gentle(6)
    found = params_from_landmarks(pdm, pdm.landmarks(params))
    torch.testing.assert_close(pdm.landmarks(found), pdm.landmarks(params), atol=0.15, rtol=0)
    torch.testing.assert_close(found.scale, params.scale, atol=0, rtol=5e-3)
    torch.testing.assert_close(found.rotation, params.rotation, atol=0.02, rtol=0)


def test_unknown_landmarks_do_not_matter():
    pdm, params = make_pdm(), gentle(2)
    landmarks, known = pdm.landmarks(params), torch.ones(2, N, dtype=torch.bool)
    known[1, 2] = False
    expected = params_from_landmarks(pdm, landmarks, known)
    for value in (math.nan, -1e6, 0.0):
        landmarks[1, 2] = value
        found = params_from_landmarks(pdm, landmarks, known)
        torch.testing.assert_close(found.globals, expected.globals)
        torch.testing.assert_close(found.local, expected.local)
    torch.testing.assert_close(pdm.landmarks(found)[known], pdm.landmarks(params)[known], atol=0.5, rtol=0)


def test_a_given_rotation_is_where_the_search_begins():
    pdm, params = make_pdm(), gentle(2)
    params = ShapeParams(
        params.scale, params.rotation + torch.tensor([0.0, 0.0, 3.0]), params.translation, params.local
    )
    landmarks = pdm.landmarks(params)
    near = params_from_landmarks(pdm, landmarks, rotation=torch.tensor([[0.0, 0.0, 3.0]]).double().repeat(2, 1))
    torch.testing.assert_close(pdm.landmarks(near), landmarks, atol=0.15, rtol=0)


def naive_from_landmarks(pdm, landmarks: torch.Tensor) -> ShapeParams:
    """One face, one step after the other, as section 3 of OpenFace's description has it."""
    lowest, highest = landmarks.amin(1), landmarks.amax(1)
    mean = pdm.mean[:, :2]
    scale = ((highest - lowest) / (mean.amax(0) - mean.amin(0))).mean(-1)
    zero = torch.zeros(1, 3, dtype=landmarks.dtype)
    params = ShapeParams(scale, zero, (lowest + highest) / 2, zero[:, :M])
    error, slow = (pdm.landmarks(params) - landmarks).norm(), 0
    for _ in range(1000):
        shape, jacobian = pdm.landmarks_and_jacobian(params, rigid=False)
        stacked = jacobian[0].flatten(0, 1)
        prior = torch.cat((torch.zeros(6), 1 / pdm.variances))
        right = stacked.T @ (landmarks - shape)[0].T.flatten() - prior * torch.cat((torch.zeros(6), params.local[0]))
        delta = torch.linalg.solve(stacked.T @ stacked + torch.diag(prior), right)
        stepped = pdm.step(params, 0.75 * delta[None])
        posed = ShapeParams(stepped.scale, stepped.rotation, stepped.translation, params.local)
        new_error = (pdm.landmarks(posed) - landmarks).norm()
        slow, params = slow + bool(0.999 * error < new_error), stepped
        error = new_error
        if slow == 3:
            break
    return params


def test_landmarks_step_by_step(rng):
    pdm = make_pdm()
    landmarks = pdm.landmarks(make_params(4)) + torch.randn(4, N, 2, generator=rng, dtype=torch.float64)
    together = params_from_landmarks(pdm, landmarks)
    for i in range(4):
        expected = naive_from_landmarks(pdm, landmarks[i : i + 1])
        torch.testing.assert_close(together.globals[i : i + 1], expected.globals)
        torch.testing.assert_close(together.local[i : i + 1], expected.local)


@pytest.mark.parametrize("faces", [0, 1, 5])
def test_landmarks_one_by_one(faces):
    pdm, params = make_pdm(), make_params(faces)
    landmarks = pdm.landmarks(params)
    together = params_from_landmarks(pdm, landmarks)
    assert together.globals.shape == (faces, 6) and together.local.shape == (faces, M)
    for i in range(faces):
        torch.testing.assert_close(params_from_landmarks(pdm, landmarks[i : i + 1]).globals[0], together.globals[i])


@pytest.mark.parametrize("value", [math.nan, math.inf, 1e30])
def test_impossible_landmarks_spare_the_other_rows(value):
    pdm = make_pdm()
    landmarks = pdm.landmarks(make_params(3))
    expected = params_from_landmarks(pdm, landmarks)
    landmarks[1] = value
    found = params_from_landmarks(pdm, landmarks)
    torch.testing.assert_close(found.globals[::2], expected.globals[::2])
