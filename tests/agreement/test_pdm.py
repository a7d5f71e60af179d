"""The shape model against OpenFace's, on stored parameters, boxes and landmarks."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from clnf_torch import PDM, LandmarkDetector, ShapeParams
from clnf_torch.fitting.initialise import params_from_box, params_from_landmarks
from clnf_torch.geometry.rotation import euler_by_quaternion, euler_to_matrix
from clnf_torch.geometry.similarity import invert_similarity, similarity_between
from tests.agreement.golden import Golden
from tests.agreement.measure import Agreement

REFERENCE_SCALE = 0.35  # pixels per millimetre; the golden similarities were made for it
STEP = (0.05, 0.02, -0.03, 0.01, 1.5, -2.0)  # the pose's part of the step that the golden updates took
# Both sides compute in float32, whose rounding leaves a few times 1e-7.
WITHIN = 2e-6
# Gauss-Newton over up to 1000 float32 steps: shapes come to rest 2.7e-6 apart, those in float64 9.2e-6 from OpenFace's.
WITHIN_OF_LANDMARKS = 1e-5


class Cases:
    """The cases of a golden file as the rows of one batch."""

    def __init__(self, golden: Golden, dtype: torch.dtype) -> None:
        self._cases = list(golden.to(dtype).groups(r"case\d+"))

    def __getitem__(self, key: str) -> Tensor:
        """A value of every case."""
        return torch.cat([case[key] for case in self._cases])

    def points(self, key: str) -> Tensor:
        """Points of every case, shape (C, N, 2)."""
        return torch.cat([case.points(key) for case in self._cases])

    def params(self, global_key: str, local_key: str) -> ShapeParams:
        """Parameters of every case."""
        return ShapeParams.from_globals(self[global_key], self[local_key])


@pytest.fixture(params=["pdm", "pdm_68", "pdm_inner", "pdm_left_eye"])
def file(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def cases(file: str, golden: Callable[[str], Golden], dtype: torch.dtype) -> Cases:
    return Cases(golden(file), dtype)


@pytest.fixture
def pdm(
    file: str, golden: Callable[[str], Golden], detector: Callable[..., LandmarkDetector], dtype: torch.dtype
) -> PDM:
    """The model that a golden file belongs to."""
    if file == "pdm":
        return detector("free", dtype).model.pdm
    return _stored_pdm(golden(file).to(dtype))


def _stored_pdm(golden: Golden) -> PDM:
    """The model whose numbers are in the golden file, stacked as OpenFace keeps them."""
    mean, modes, variances = golden["mean_shape"], golden["princ_comp"], golden["eigen_values"]
    return PDM(mean.view(3, -1).mT, modes.view(3, -1, modes.shape[-1]).permute(2, 1, 0), variances.flatten())


def test_converted_model_has_openfaces_numbers(golden, detector):
    ours, theirs = detector("standin").model.pdm, _stored_pdm(golden("pdm_68"))
    for name in ("mean", "modes", "variances"):
        torch.testing.assert_close(getattr(ours, name), getattr(theirs, name), rtol=0, atol=0)


def test_shape(pdm, cases, agree: Agreement):
    params = cases.params("global", "local")
    points = cases["shape3d"].unflatten(-1, (3, -1)).mT
    agree.relative("pdm: 3D points", pdm.points(params.local), points, within=WITHIN)
    landmarks = pdm.landmarks(params)
    agree.relative("pdm: landmarks", landmarks, cases.points("shape2d"), within=WITHIN)
    lowest, highest = landmarks.amin(-2), landmarks.amax(-2)
    box = torch.cat((lowest, highest - lowest), dim=-1)
    agree.relative("pdm: box around landmarks", box, cases["calc_bounding_box"], within=WITHIN)


@pytest.mark.parametrize(("rigid", "key"), [(True, "rigid_jacobian"), (False, "jacobian")])
def test_jacobian(pdm, cases, agree: Agreement, rigid, key):
    _, jacobian = pdm.landmarks_and_jacobian(cases.params("global", "local"), rigid)
    ours, theirs = jacobian.flatten(1, 2).mT.flatten(0, 1), cases[key].mT.flatten(0, 1)  # a row per column
    agree.relative("pdm: Jacobian, each column", ours, theirs, within=WITHIN)


def test_rotation(cases, agree: Agreement):
    matrix = euler_to_matrix(cases["global"][:, 1:4])
    agree.relative("pdm: rotation matrix", matrix, cases["rotation"], within=WITHIN)
    agree.relative("pdm: Euler angles", euler_by_quaternion(matrix), cases["euler_roundtrip"], within=WITHIN)
    agree.relative(
        "pdm: Euler angles", euler_by_quaternion(cases["rotation"]), cases["euler_from_rotation"], within=WITHIN
    )


def test_similarity_to_the_reference_frame(pdm, cases, agree: Agreement):
    params = cases.params("global", "local")
    reference = pdm.reference_landmarks(params.local, REFERENCE_SCALE)
    to_reference = similarity_between(pdm.landmarks(params), reference)
    agree.relative("pdm: similarities", to_reference, cases["sim_img_to_ref"], within=WITHIN)
    agree.relative("pdm: similarities", invert_similarity(to_reference), cases["sim_ref_to_img"], within=WITHIN)


def test_step_and_clamp(pdm, cases, agree: Agreement):
    params = cases.params("global", "local")
    pose = params.local.new_tensor(STEP).expand(len(params), -1)
    stepped = pdm.step(params, torch.cat((pose, cases["updated_local"] - params.local), dim=-1))
    agree.params("pdm: step", stepped, cases.params("updated_global", "updated_local"), within=WITHIN)
    agree.relative("pdm: clamp", pdm.clamp(stepped.local), cases["updated_clamped_local"], within=WITHIN)
    agree.relative("pdm: clamp", pdm.clamp(params.local), cases["clamped_local"], within=WITHIN)


def test_parameters_from_a_box(pdm, cases, agree: Agreement):
    ours = params_from_box(pdm, cases["in_bbox"], cases["in_rotation"], cases["local"])
    agree.params("pdm: from a box", ours, cases.params("calc_params_bbox", "local"), within=WITHIN)


def test_parameters_from_landmarks(pdm, cases, agree: Agreement):
    landmarks = cases.points("in_landmarks")
    ours = params_from_landmarks(pdm, landmarks, known=landmarks[..., 0] != 0)
    theirs = cases.params("calc_params_lm_global", "calc_params_lm_local")
    agree.params("pdm: from landmarks", ours, theirs, within=WITHIN_OF_LANDMARKS)


def test_some_cases_miss_landmarks_and_some_are_clamped(golden):
    every = [Cases(golden(name), torch.float32) for name in ("pdm_68", "pdm_left_eye")]
    assert all((cases.points("in_landmarks")[..., 0] == 0).any() for cases in every)
    assert any((cases["updated_clamped_local"] != cases["updated_local"]).any() for cases in every)
