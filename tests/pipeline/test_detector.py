"""`clnf_torch.pipeline.detector`: from frames and boxes to landmarks, independent rows, gradients of a fit."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch

from clnf_torch.converters import convert
from clnf_torch.fitting.config import PRESETS, preset_named
from clnf_torch.fitting.fitter import FitState, LandmarkFitter
from clnf_torch.fitting.images import ImageBatch
from clnf_torch.fitting.initialise import params_from_landmarks
from clnf_torch.fitting.mean_shift import UNSEEN
from clnf_torch.models.bundle import BundleError
from clnf_torch.models.landmark_model import LandmarkModel
from clnf_torch.models.numerics import EXACT, OPENFACE
from clnf_torch.models.pdm import ShapeParams
from clnf_torch.pipeline import FitResult, LandmarkDetector, load
from clnf_torch.pipeline.finish import _is_inside
from clnf_torch.tracking import VideoConfig
from tests.factories import CONFIG, M, N, make_boxes, make_images, make_model, make_pdm, make_rules
from tests.models.patch_experts.template_factories import make_ccnf, make_svr
from tests.models.test_bundle import make_bundle

FIXED = replace(CONFIG, iterations=2, tolerance=0.0)  # a fit without steps, but for clamps and the choice of the view


def detector(numerics: str = "exact", **kwargs) -> LandmarkDetector:
    return LandmarkDetector(make_model(**kwargs), numerics)


def assert_same(found: FitResult, expected: FitResult, **tolerances: float) -> None:
    """All fields of all rows."""
    for name in ("landmarks", "likelihood", "landmark_likelihoods"):
        a, b = getattr(found, name), getattr(expected, name)
        torch.testing.assert_close(a, b, equal_nan=True, msg=lambda text, n=name: f"{n}: {text}", **tolerances)
    for name in ("view", "visible", "hypothesis", "success"):
        assert getattr(found, name).tolist() == getattr(expected, name).tolist(), name


def rows_of(result: FitResult, rows) -> FitResult:
    return result[rows]


# A fit as a whole


@pytest.mark.parametrize("numerics", ["openface", "exact"])
@pytest.mark.parametrize("faces", [0, 1, 5])
def test_fit_gives_one_row_per_box(numerics, faces, device, dtype):
    result = detector(numerics, dtype=dtype).to(device).fit(make_images(), make_boxes(faces), preset=CONFIG)
    assert result.landmarks.shape == (faces, N, 2) and result.params.local.shape == (faces, M)
    assert result.landmark_likelihoods.shape == result.visible.shape == (faces, N)
    assert result.likelihood.shape == result.view.shape == result.hypothesis.shape == result.success.shape == (faces,)
    assert result.landmarks.dtype == dtype and result.landmarks.device.type == device.type
    assert result.success.all() and result.landmarks.isfinite().all()


def test_the_settings_are_openfaces_for_the_family():
    model, boxes = detector("openface"), make_boxes(3)
    own = replace(CONFIG, window_sizes=(11, 9, 7, 5), iterations=5, sigma=2.25, regularisation=22.5)
    assert_same(model.fit(make_images(), boxes), model.fit(make_images(), boxes, preset=own))


def test_multi_view_is_the_presets_or_the_callers_choice():
    model, boxes = detector("openface"), make_boxes(6)
    frontal, views = (model.fit(make_images(), boxes, preset=CONFIG, multi_view=m) for m in (False, True))
    assert (frontal.hypothesis == 0).all() and (views.hypothesis > 0).any()
    assert (views.likelihood >= frontal.likelihood).all()
    assert_same(model.fit(make_images(), boxes, preset=replace(CONFIG, multi_view=True)), views)
    assert_same(model.fit(make_images(), boxes, preset=CONFIG), frontal)


def test_frames_are_found_by_index_order_or_loneliness():
    model, images, boxes = detector(), make_images(3)[:, None], make_boxes(3)
    each = model.fit(images, boxes, preset=CONFIG)
    assert_same(model.fit(images, boxes, torch.tensor([0, 1, 2]), preset=CONFIG), each)
    for i in range(3):
        alone = model.fit(images[i : i + 1], boxes[i : i + 1], preset=CONFIG)
        assert_same(alone, rows_of(each, slice(i, i + 1)))
    one = model.fit(images[:1], boxes, preset=CONFIG)
    assert_same(rows_of(one, slice(0, 1)), rows_of(each, slice(0, 1)))


@pytest.mark.parametrize("number", [torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64])
def test_frame_may_be_any_whole_number(number):
    images, boxes, image_index = make_images(6), make_boxes(2), torch.tensor([5, 2])
    expected = detector().fit(images, boxes, image_index, preset=CONFIG)
    assert_same(detector().fit(images, boxes, image_index.to(number), preset=CONFIG), expected)


@pytest.mark.parametrize("numerics", ["openface", "exact"])
def test_uint8_float_and_rgb_frames(numerics):
    model, boxes = detector(numerics), make_boxes(3)
    gray = make_images().round()
    expected = model.fit(gray, boxes, preset=CONFIG)
    for frames in (gray.to(torch.uint8), gray.float(), gray.to(torch.uint8)[:, None].repeat(1, 3, 1, 1)):
        assert_same(model.fit(frames, boxes, preset=CONFIG), expected, atol=1e-4, rtol=1e-5)


# Rows that do not see one another


@pytest.fixture(scope="module")
def free(tmp_path_factory, golden_dir):
    """The detector of the free model in tests/golden, its image, and its boxes."""
    cv2 = pytest.importorskip("cv2")
    folder = golden_dir / "free_model"
    path = tmp_path_factory.mktemp("free") / "free.pt"
    convert(folder / "main_ceclm_free.txt", path)
    image = torch.from_numpy(cv2.imread(str(folder / "image.png"), cv2.IMREAD_GRAYSCALE))[None]
    (boxes,) = json.loads((folder / "boxes.json").read_text()).values()
    return load(path), image, torch.tensor(boxes[:1], dtype=torch.float32)


@pytest.mark.parametrize("numerics", ["openface", "exact"])
def test_a_face_alone_and_among_64(free, numerics):
    """The free model is random, so it answers the smallest difference: one last bit can flip a 1/32-pixel tie.

    Measured on an Intel Xeon with AVX-512: every row is the same to the last bit.
    """
    model, image, box = free
    model = LandmarkDetector(model.model, numerics)
    jitter = torch.randn(64, 4, generator=torch.Generator().manual_seed(0))
    boxes = box + jitter * box[:, 2:].mean() * 0.04
    together = model.fit(image, boxes)
    order = torch.randperm(64, generator=torch.Generator().manual_seed(1))
    cases = [order, *(torch.tensor([i]) for i in range(0, 64, 9))]
    for rows in cases:
        found, expected = model.fit(image, boxes[rows]), rows_of(together, rows)
        torch.testing.assert_close(found.landmarks, expected.landmarks, atol=1e-4, rtol=0)
        assert_same(found, expected, atol=1e-3, rtol=1e-4)


def test_faces_without_frames_fail():
    result = detector().fit(torch.zeros(0, 48, 48), make_boxes(2), torch.tensor([0, 3]), preset=CONFIG)
    assert not result.success.any() and result.landmarks.isnan().all()


@pytest.mark.parametrize("numerics", ["openface", "exact"])
@pytest.mark.parametrize("rules", [None, make_rules(cutoff=-0.3)], ids=["all", "early"])
def test_bad_rows_fail_alone(numerics, rules):
    model, images = detector(numerics, rules=rules), make_images(2)
    images[1] = math.nan
    good = make_boxes(4)
    expected = model.fit(images[:1], good, preset=CONFIG, multi_view=True)
    bad = [
        [math.nan, 10, 30, 30], [10, 10, math.inf, 30], [10, -math.inf, 30, 30],  # no numbers
        [10, 10, 0, 30], [10, 10, 30, 0], [10, 10, -30, 30], [30, 30, -30, -30],  # nothing inside
        [30, 30, 5, 5], [30, 30, 1e-20, 1e-20], [30, 30, 1e-300, 1e-300],  # too small
        [15, 15, 40, 40], [15, 15, 40, 40], [15, 15, 40, 40],  # NaN frame, frames that are not there
    ]  # fmt: skip
    strange = [[1e6, 1e6, 40, 40], [-500, 20, 40, 40], [1e30, 1e30, 40, 40], [-1e4, -1e4, 2e4, 2e4], [0, 0, 1e30, 1e30]]
    boxes = torch.cat((good[:2], torch.tensor(bad + strange, dtype=torch.float64), good[2:]))
    image_index = torch.zeros(len(boxes), dtype=torch.int64)
    image_index[2 + len(bad) - 3 : 2 + len(bad)] = torch.tensor([1, -1, 2])
    result = model.fit(images, boxes, image_index, preset=CONFIG, multi_view=True)
    assert_same(rows_of(result, [0, 1, -2, -1]), expected)
    assert not result.success[2 : 2 + len(bad)].any()
    assert result.landmarks[2:5].isnan().all()


def test_no_frames_and_no_faces():
    result = detector().fit(make_images()[:0], make_boxes(0), preset=CONFIG)
    assert result.landmarks.shape == (0, N, 2)


def test_images_without_pixels_are_black():
    result = detector().fit(torch.zeros(1, 0, 0, dtype=torch.uint8), make_boxes(2), preset=CONFIG)
    assert result.landmarks.isfinite().all()


# Gradients


def everything(model: LandmarkDetector) -> dict[str, torch.Tensor]:
    """The learned numbers that have a gradient."""
    return {name: value.requires_grad_() for name, value in model.named_parameters()}


def slope(run, value: torch.Tensor, direction: torch.Tensor, step: float) -> float:
    """The central difference of a scalar function along a direction."""
    with torch.no_grad():
        return ((run(value + step * direction) - run(value - step * direction)) / (2 * step)).item()


def check_gradients(run, inputs: dict[str, torch.Tensor], steps: dict[str, float]) -> None:
    """Autograd against central differences, along three random directions for each input."""
    inputs = {name: value.detach().clone().requires_grad_() for name, value in inputs.items()}
    # CCNF's relations are for one window size, which not every scale has
    gradients = torch.autograd.grad(run(**inputs), list(inputs.values()), allow_unused=True, materialize_grads=True)
    rng = torch.Generator().manual_seed(4)
    for (name, value), gradient in zip(inputs.items(), gradients, strict=True):
        for _ in range(3):
            direction = torch.randn(value.shape, generator=rng, dtype=value.dtype)
            others = {key: other for key, other in inputs.items() if key != name}
            step = next(size for start, size in steps.items() if name.startswith(start))
            numeric = slope(lambda v, n=name, o=others: run(**{n: v}, **o), value, direction, step)
            analytic = (gradient * direction).sum().item()
            assert analytic == pytest.approx(numeric, rel=1e-4, abs=1e-7), name


def make_ccnf_model() -> LandmarkModel:
    """No neuron has the weight from which neurons respond, where a fit jumps."""
    experts = [make_ccnf(3), make_ccnf(5)]
    for each in experts:
        each.alphas.data[0, -1] = 5e-5
    return LandmarkModel(make_pdm(), experts)


FAMILIES = {
    "CEN": make_model,
    "CCNF": make_ccnf_model,
    "SVR": lambda: LandmarkModel(make_pdm(), [make_svr(3), make_svr(5)]),
}


@pytest.mark.parametrize("call", ["fit", "fit_from_landmarks"])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_whole_fit_agrees_with_finite_differences(family, call):
    """Of images, boxes or first landmarks, expert weights and biases, mean and modes, all at once."""
    model = LandmarkDetector(FAMILIES[family](), "exact")
    learned = {name.replace(".", "/"): value.data for name, value in model.named_parameters()}
    start = make_boxes(3)
    if call == "fit_from_landmarks":
        start = Call(model, "fit")(make_images(), start).detach() + 0.3
    target = 40 + 9 * torch.randn(3, N, 2, generator=torch.Generator().manual_seed(3), dtype=torch.float64)

    def run(images, start, **values):
        own = {name.replace("/", "."): value for name, value in values.items()}
        result = torch.func.functional_call(Call(model, call), own, (images, start))
        return (result - target).square().mean()

    learned = {f"detector/{name}": value for name, value in learned.items()}
    inputs = {"images": make_images(), "start": start, **learned}
    # A fit hardly depends on variances, which are millimetres squared: rounding would hide it in smaller steps
    check_gradients(
        run, inputs, {"images": 1e-4, "start": 1e-6, "detector/model/pdm/variances": 1e-4, "detector": 1e-6}
    )


class Call(torch.nn.Module):
    """Landmarks of a detector's method, for `functional_call`."""

    def __init__(self, detector: LandmarkDetector, method: str) -> None:
        super().__init__()
        self.detector, self.method = detector, method
        self.preset = replace(FIXED, window_sizes=(5, 3, 3)[: detector.model.num_scales])

    def forward(self, images, start):
        return getattr(self.detector, self.method)(images, start, preset=self.preset).landmarks


@pytest.mark.parametrize("bad", ["box", "size", "frame", "image", "weight"])
def test_a_failed_row_does_not_poison_what_the_rows_share(bad):
    model, images, boxes = detector(), make_images(2), make_boxes(3)
    image_index, weight = torch.tensor([0, 1, 0]), torch.ones(3, N, dtype=torch.float64)
    if bad == "image":
        images[1] = math.nan
    elif bad == "frame":
        image_index[1] = 7
    elif bad == "weight":
        weight[1] = 0
    else:
        boxes[1, 2] = math.nan if bad == "box" else 0.0
    learned, images, boxes = everything(model), images.requires_grad_(), boxes.requires_grad_()
    result = model.fit(images, boxes, image_index, preset=FIXED, landmark_weight=weight)
    rest = torch.tensor([0, 2])
    result.landmarks[rest].square().sum().backward()
    found = {name: value.grad for name, value in learned.items()}
    alone = detector()
    expected = everything(alone)
    kept = alone.fit(make_images(2), make_boxes(3)[rest], image_index[rest], preset=FIXED).landmarks
    kept.square().sum().backward()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value.grad, msg=lambda text, n=name: f"{n}: {text}")
    assert (boxes.grad[1] == 0).all() and boxes.grad[rest].abs().sum() > 0
    assert images.grad.isfinite().all() and (images.grad[1] == 0).all()


@pytest.mark.parametrize("rows", ["one known landmark", "all at one point", "not in any frame"])
def test_a_face_without_known_landmarks_does_not_poison_the_others(rows):
    model, images = detector(), make_images()
    landmarks = model.fit(images, make_boxes(2), preset=CONFIG).landmarks.detach()
    image_index = torch.zeros(2, dtype=torch.int64)
    if rows == "not in any frame":
        image_index[1] = 3
    elif rows == "all at one point":
        landmarks[1] = landmarks[1, :1].clone()
    else:
        landmarks[1, 1:] = math.nan
    learned = everything(model)
    result = model.fit_from_landmarks(images, landmarks.requires_grad_(), image_index, preset=FIXED)
    assert result.success.tolist() == [True, False] and result.landmarks[1].isnan().all()
    result.landmarks[:1].square().sum().backward()
    assert all(value.grad.isfinite().all() for value in learned.values())
    assert (landmarks.grad[1] == 0).all() and landmarks.grad[0].abs().sum() > 0


# Fits from landmarks and parameters, and what is known about each face


def test_fit_from_landmarks_starts_at_the_parameters_of_its_landmarks(rng):
    model, images = detector("openface"), make_images()
    landmarks = model.fit(images, make_boxes(4), preset=CONFIG).landmarks
    landmarks = landmarks + 2 * torch.randn(4, N, 2, generator=rng, dtype=torch.float64)
    found = model.fit_from_landmarks(images, landmarks, preset=CONFIG)
    start = FitState.at(params_from_landmarks(model.model.pdm, landmarks), N)
    fitter = LandmarkFitter(model.model, CONFIG, OPENFACE)
    expected = fitter.fit(ImageBatch(images, torch.zeros(4, dtype=torch.int64)), start)
    torch.testing.assert_close(found.landmarks, model.model.pdm.landmarks(expected.params))
    torch.testing.assert_close(found.likelihood, expected.likelihood)
    assert found.success.all() and (found.hypothesis == 0).all()
    assert (found.landmarks - landmarks).abs().amin((1, 2)).gt(0).all()


def test_fit_from_landmarks_fills_in_unknown_landmarks():
    model, images = detector("openface"), make_images()
    landmarks = model.fit(images, make_boxes(3), preset=CONFIG).landmarks
    expected = model.fit_from_landmarks(images, landmarks, preset=CONFIG)
    landmarks[1, 3, 0] = math.nan
    landmarks[2, :3] = math.nan  # two known ones are too few
    found = model.fit_from_landmarks(images, landmarks, preset=CONFIG)
    assert found.success.tolist() == [True, True, False]
    assert found.landmarks[1].isfinite().all() and found.landmarks[2].isnan().all()
    assert_same(rows_of(found, slice(0, 1)), rows_of(expected, slice(0, 1)))


@pytest.mark.parametrize("faces", [0, 1, 5])
def test_fit_from_landmarks_one_by_one(faces):
    model, images = detector("openface"), make_images()
    landmarks = make_boxes(faces)[:, None, :2] + 0.6 * (make_pdm().mean[:, :2] + 30)
    together = model.fit_from_landmarks(images, landmarks, preset=CONFIG)
    assert together.landmarks.shape == (faces, N, 2)
    for i in range(faces):
        alone = model.fit_from_landmarks(images, landmarks[i : i + 1], preset=CONFIG)
        assert_same(alone, rows_of(together, slice(i, i + 1)))


def start_of(model: LandmarkDetector, call: str) -> tuple:
    """The arguments of a fit or a refinement of three faces."""
    boxes = make_boxes(3)
    return (make_images(), boxes if call == "fit" else model.fit(make_images(), boxes, preset=CONFIG).landmarks)


@pytest.mark.parametrize("call", ["fit", "fit_from_landmarks"])
def test_a_landmark_without_weight_does_not_pull(call):
    """Its experts may say what they like."""
    weight, results = torch.tensor([1.0, 1.0, 0.0, 1.0, 1.0]), []
    model = detector(views=1)
    args = start_of(model, call)
    for change in (0.0, 0.7):
        for experts in model.model.experts:
            experts.stacks[0].weights[0].data[1] += change  # expert 1 serves landmark 2 alone
        results.append(getattr(model, call)(*args, preset=CONFIG, landmark_weight=weight).landmarks)
    torch.testing.assert_close(results[0], results[1])
    plain = getattr(model, call)(*args, preset=CONFIG).landmarks
    assert (plain - results[0]).abs().max() > 1e-3


@pytest.mark.parametrize("call", ["fit", "fit_from_landmarks"])
def test_a_weaker_prior_lets_shapes_go_further(call):
    model = detector()
    args = start_of(model, call)
    config = replace(CONFIG, adapt=False, iterations=6)
    sizes = [
        getattr(model, call)(*args, preset=config, regularisation=value).params.local.norm().item()
        for value in (1000.0, 50.0, 1.0)
    ]
    assert all(stiff < soft for stiff, soft in pairwise(sizes))


@pytest.mark.parametrize("call", ["fit", "fit_from_landmarks"])
def test_hidden_landmarks_are_not_seen(call):
    model = detector()
    result = getattr(model, call)(*start_of(model, call), preset=CONFIG, visible=torch.tensor([1, 1, 0, 1, 1]).bool())
    assert not result.visible[:, 2].any() and (result.landmark_likelihoods[:, 2] == UNSEEN).all()
    assert result.visible[:, 3].all()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("regularisation", torch.tensor(9.0)),
        ("regularisation", 9.0),
        ("regularisation", torch.tensor([9.0])),
        ("landmark_weight", torch.tensor([1.0, 0.5, 2.0, 1.0, 0.1])),
        ("landmark_weight", torch.tensor([[2.0], [1.0], [0.5]])),
        ("landmark_weight", torch.tensor([1, 2, 1, 1, 1])),
        ("visible", torch.tensor([True, False, True, True, True])),
    ],
)
def test_options_broadcast_over_the_faces(name, value):
    model, images, boxes = detector(), make_images(), make_boxes(3)
    found = model.fit(images, boxes, preset=CONFIG, **{name: value})
    full = torch.as_tensor(value).expand((3,) if name == "regularisation" else (3, N))
    assert_same(model.fit(images, boxes, preset=CONFIG, **{name: full.clone()}), found)
    for i in range(3):
        alone = model.fit(images, boxes[i : i + 1], preset=CONFIG, **{name: full[i : i + 1]})
        assert_same(alone, rows_of(found, slice(i, i + 1)))


def test_a_regularisation_takes_the_place_of_the_configured_one():
    model, images, boxes = detector(), make_images(), make_boxes(3)
    found = model.fit(images, boxes, preset=CONFIG, regularisation=40.0)
    assert_same(found, model.fit(images, boxes, preset=replace(CONFIG, regularisation=40.0)))


# The door


@pytest.mark.parametrize(
    ("call", "arguments", "message"),
    [
        ("fit", {"boxes": torch.zeros(3, 5)}, r"boxes have shape \(3, 5\); expected real numbers of shape \(B, 4\)"),
        ("fit", {"boxes": torch.zeros(4)}, r"boxes have shape \(4,\); expected real numbers of shape \(B, 4\)"),
        (
            "fit_from_landmarks",
            {"landmarks": torch.zeros(3, 4, 2)},
            r"landmarks have shape \(3, 4, 2\); expected real numbers of shape \(B, 5, 2\)",
        ),
        ("fit", {"frames": torch.zeros(72, 80)}, r"frames have shape \(72, 80\)"),
        ("fit", {"frames": torch.zeros(1, 72, 80, 3)}, r"give frames.permute\(0, 3, 1, 2\)"),
        ("fit", {"frames": torch.zeros(1, 72, 80, dtype=torch.int32)}, "frames are torch.int32"),
        ("fit", {"frames": torch.zeros(2, 72, 80)}, r"3 faces in 2 frames: say with image_index \(B,\)"),
        ("fit_from_landmarks", {"frames": torch.zeros(2, 72, 80)}, r"3 faces in 2 frames: say with image_index \(B,\)"),
        (
            "fit",
            {"image_index": torch.zeros(2).long()},
            r"image_index is torch.int64 of shape \(2,\); expected .* \(3,\)",
        ),
        (
            "fit",
            {"image_index": torch.zeros(3)},
            r"image_index is torch.float32 of shape \(3,\); expected one whole number",
        ),
        ("fit", {"preset": "quick"}, "preset 'quick' is not known"),
        ("fit_from_landmarks", {"preset": "quick"}, "preset 'quick' is not known"),
        ("fit", {"preset": replace(CONFIG, window_sizes=(5,))}, "do not suit a model of 2 scales"),
        ("fit", {"regularisation": torch.ones(2)}, r"regularisation has shape \(2,\); expected \(3,\)"),
        ("fit", {"landmark_weight": torch.ones(4)}, r"landmark_weight has shape \(4,\); expected \(3, 5\)"),
        ("fit_from_landmarks", {"visible": torch.ones(2, 5)}, r"visible has shape \(2, 5\); expected \(3, 5\)"),
    ],
)
def test_arguments_of_the_wrong_shape_are_refused(call, arguments, message):
    start = {"boxes": make_boxes(3)} if call == "fit" else {"landmarks": torch.zeros(3, N, 2)}
    arguments = {"frames": make_images(), **start, "preset": CONFIG, **arguments}
    with pytest.raises(ValueError, match=message):
        getattr(detector(), call)(**arguments)


@pytest.mark.parametrize("regularisation", [math.nan, -5, math.inf, -1e-9])
def test_a_regularisation_without_sense_is_refused(regularisation):
    with pytest.raises(ValueError, match="expected a finite number that is not negative"):
        detector().fit(make_images(), make_boxes(2), preset=CONFIG, regularisation=regularisation)


@pytest.mark.parametrize("call", ["fit", "fit_with_own_success", "fit_from_landmarks", "fit_from_params"])
def test_a_regularisation_per_face_of_the_settings_is_checked_as_the_argument(call):
    model, images, boxes = detector(), make_images(), make_boxes(4)
    start = model.fit(images, boxes, preset=CONFIG)
    faces = {"fit_from_landmarks": start.landmarks, "fit_from_params": start.params}.get(call, boxes)

    def fitted(values):
        found = getattr(model, call)(images, faces, preset=replace(CONFIG, regularisation=torch.tensor(values)))
        return found[0] if isinstance(found, tuple) else found

    found = fitted([25.0, math.nan, -5.0, math.inf])
    assert found.success.tolist() == [True, False, False, False]
    assert_same(found[:1], fitted([25.0] * 4)[:1])
    with pytest.raises(ValueError, match=r"regularisation has shape \(3,\); expected \(4,\)"):
        fitted([25.0] * 3)


@pytest.mark.parametrize("preset", [None, 3, {"iterations": 5}])
def test_a_preset_of_another_type_is_refused(preset):
    with pytest.raises(
        ValueError, match=f"preset is of type {type(preset).__name__}; expected the name of one, or a Fit"
    ):
        detector().fit(make_images(), make_boxes(2), preset=preset)


def test_a_regularisation_per_face_is_refused_where_faces_come_and_go():
    settings = replace(CONFIG, regularisation=torch.ones(2))
    with pytest.raises(ValueError, match="captured fit has any number of faces: give one number"):
        detector().captured(2, (40, 40), preset=settings)
    with pytest.raises(ValueError, match="faces come and go in videos: give one number"):
        VideoConfig(preset=settings)


@pytest.mark.parametrize(
    "given",
    [
        {"regularisation": torch.tensor([25.0, math.nan, -5.0, math.inf])},
        {"landmark_weight": torch.tensor([[1.0] * 5, [math.nan] + [1.0] * 4, [-1.0] + [1.0] * 4, [0.0] * 5])},
        {"visible": torch.tensor([[True] * 5, [False] * 5, [False] * 4 + [True], [True, True, False, False, False]])},
    ],
    ids=lambda given: next(iter(given)),
)
@pytest.mark.parametrize("call", ["fit", "fit_from_landmarks"])
def test_numbers_of_a_face_without_sense_make_an_unsuccessful_row(call, given):
    model, images, boxes = detector(), make_images(), make_boxes(4)
    start = boxes if call == "fit" else model.fit(images, boxes, preset=CONFIG).landmarks
    found = getattr(model, call)(images, start, preset=CONFIG, **given)
    assert found.success.tolist() == [True, False, False, False]
    alone = {name: value[:1] for name, value in given.items()}
    assert_same(rows_of(found, slice(0, 1)), getattr(model, call)(images, start[:1], preset=CONFIG, **alone))


def test_arrays_and_lists_are_taken():
    model, images, boxes = detector(), make_images(2), make_boxes(2)
    expected = model.fit(images, boxes, torch.tensor([1, 0]), preset=CONFIG)
    for frames, places, index in (
        (images.numpy(), boxes.numpy(), np.array([1, 0])),
        (list(images), boxes.tolist(), [1, 0]),
        (list(images.numpy()), list(boxes), (1, 0)),
    ):
        assert_same(model.fit(frames, places, index, preset=CONFIG), expected)


def test_success_needs_half_of_the_landmarks_in_the_image():
    """A face that is fitted well, but was left with its lower half outside, or all of it."""
    model, images, boxes = detector(), make_images(), make_boxes(1)
    whole = model.fit(images, boxes, preset=CONFIG)
    assert whole.success.all()
    heights = whole.landmarks[0, :, 1].sort().values
    shares = []
    for rows in range(4, images.shape[1], 4):
        cut = _is_inside(whole.landmarks, (rows, images.shape[2])).item()
        shares.append((cut, (heights <= rows - 0.5).double().mean().item()))
    assert {cut for cut, _ in shares} == {True, False}
    assert all(cut == (share >= 0.5) for cut, share in shares)
    assert not _is_inside(whole.landmarks * torch.nan, (72, 80)).any()


def test_a_fit_beside_the_image_does_not_succeed():
    model, images = detector(), make_images()
    boxes = make_boxes(3)
    boxes[1, 0] += 500
    boxes[2, 1] -= 500
    for multi_view in (False, True):
        found = model.fit(images, boxes, preset=CONFIG, multi_view=multi_view)
        assert found.success.tolist()[1:] == [False, False] and found.confidence[1:].tolist() == [0, 0]


def test_load(tmp_path):
    path = tmp_path / "small.pt"
    torch.save(make_bundle(), path)
    found = load(path, dtype=torch.float64)
    assert found.numerics is OPENFACE and not found.training
    assert load(path, numerics="exact").numerics is EXACT
    assert load(path).model.pdm.mean.dtype == torch.float32
    expected = detector("openface").fit(make_images(), make_boxes(2), preset=CONFIG)
    assert_same(found.fit(make_images(), make_boxes(2), preset=CONFIG), expected, atol=2e-3, rtol=1e-3)
    with pytest.raises(BundleError, match="there is no such file"):
        load(tmp_path / "none.pt")
    with pytest.raises(ValueError, match="numerics 'fast' is not known"):
        load(path, numerics="fast")


def test_a_preset_is_what_fit_takes_by_its_name():
    default = load()
    for each in (default, detector()):
        for name in PRESETS:
            assert each.preset(name) == preset_named(name, each.model.family)
    assert default.preset() != PRESETS["default"]
    assert PRESETS["default"].for_family(default.model.family) == default.preset()
    with pytest.raises(ValueError, match="preset 'best' is not known; choose one of 'default'"):
        default.preset("best")


@pytest.mark.parametrize(
    ("field", "change"),
    [
        ("local", lambda values: values.repeat(2, 1)),
        ("local", lambda values: values[:, :5]),
        ("scale", lambda values: values.repeat(2)),
        ("rotation", lambda values: values[:, :2]),
        ("translation", lambda values: values[0]),
    ],
)
def test_parameters_of_other_shapes_are_refused(field, change):
    """Loops would read beyond them."""
    shipped = load()
    frames, boxes = torch.zeros(1, 3, 200, 200, dtype=torch.uint8), torch.tensor([[40.0, 40.0, 90.0, 90.0]])
    params = shipped.fit(frames, boxes, parts=False).params
    wrong = replace(params, **{field: change(getattr(params, field))})
    with pytest.raises(ValueError, match=r"params have scale .*; expected scale \(B,\), .* and local \(B, 55\)"):
        shipped.fit_from_params(frames, wrong)
    assert not shipped.model.pdm._has_loops_for(wrong)


def test_parameters_of_another_number_type_are_converted():
    shipped = load()
    frames, boxes = torch.zeros(1, 3, 200, 200, dtype=torch.uint8), torch.tensor([[40.0, 40.0, 90.0, 90.0]])
    params = shipped.fit(frames, boxes, parts=False).params
    expected = shipped.fit_from_params(frames, params, parts=False)
    doubled = ShapeParams(*(values.double() for values in vars(params).values()))
    found = shipped.fit_from_params(frames, doubled, parts=False)
    torch.testing.assert_close(found.landmarks, expected.landmarks, rtol=0, atol=0, equal_nan=True)


@pytest.mark.filterwarnings("ignore:There is a performance drop")
def test_fits_and_their_gradients_in_vmap():
    """As in `torch.func`'s gradients for each sample; warned of is what torch does one by one."""
    detector = LandmarkDetector(make_model(), "exact")
    images, boxes = make_images(2), make_boxes(2)

    def fit(frame: torch.Tensor, box: torch.Tensor) -> torch.Tensor:
        return detector.fit(frame[None], box[None], preset=CONFIG).landmarks[0]

    expected = detector.fit(images, leaf := boxes.clone().requires_grad_(), preset=CONFIG).landmarks
    expected.sum().backward()
    torch.testing.assert_close(torch.func.vmap(fit)(images, boxes), expected.detach())
    slopes = torch.func.vmap(torch.func.grad(lambda box, frame: fit(frame, box).sum()))(boxes, images)
    torch.testing.assert_close(slopes, leaf.grad)


def test_results_are_loaded_as_torch_loads_by_default(tmp_path):
    found = detector().fit(make_images(2), make_boxes(2), preset=CONFIG)
    torch.save({"fit": found, "settings": CONFIG}, tmp_path / "fits.pt")
    again = torch.load(tmp_path / "fits.pt", weights_only=True)
    assert_same(again["fit"], found)
    assert again["settings"] == CONFIG


@pytest.fixture
def shipped_alone() -> LandmarkDetector:
    """The small model, to be changed."""
    return load("small")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_experts_that_were_cast_alone_are_refused(dtype):
    model = detector()
    model.model.experts[1].to(dtype)
    sentence = (
        rf"detector.model.experts\[1\] is {dtype}, detector.model.pdm torch.float64; expected one number type in all "
        r"parts: cast the whole detector, detector.float\(\) or detector.double\(\), or load it anew"
    )
    images, boxes, start = make_images(2), make_boxes(2), detector().fit(make_images(2), make_boxes(2), preset=CONFIG)
    for fit, given in (
        (model.fit, boxes),
        (model.fit_from_landmarks, start.landmarks),
        (model.fit_from_params, start.params),
    ):
        with pytest.raises(ValueError, match=sentence):
            fit(images, given, preset=CONFIG)


@pytest.mark.parametrize(
    ("place", "named"),
    [
        ("refinement", "model.refinement"),
        ("gaze_network", "model.gaze_network"),
        ("pdm", r"model.experts\[0\]"),
        ("_parts", r"model.parts\[0\].model.pdm"),
        ("error_model", "model.error_model"),
        ("depth_shape", "model.depth_shape"),
        ("", "validator"),
    ],
)
def test_parts_of_a_model_that_were_cast_or_moved_alone_are_refused(shipped_alone, place, named):
    model, frames, boxes = shipped_alone.model, torch.zeros(1, 9, 9, dtype=torch.uint8), [[1.0, 1, 5, 5]]
    part = getattr(model, place) if place else shipped_alone.validator
    shipped_alone.fit(frames, boxes)
    part.double()
    with pytest.raises(ValueError, match=rf"detector.{named} is torch.float\d\d, detector.model.pdm torch.float\d\d; "):
        shipped_alone.fit(frames, boxes)
    part.float().to("meta")
    sentence = (
        rf"detector.{named} is on (meta|cpu), detector.model.pdm on (cpu|meta); expected all parts on one device: "
    )
    with pytest.raises(ValueError, match=sentence):
        shipped_alone.fit(frames, boxes)
