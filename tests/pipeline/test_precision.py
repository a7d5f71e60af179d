"""The precision of products in patch experts, beside torch's own switches."""

from __future__ import annotations

import os
import signal
import threading
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import clnf_torch
from clnf_torch.detection import load_face_detector
from clnf_torch.fitting import compiled
from clnf_torch.geometry.camera import Intrinsics
from clnf_torch.geometry.precision import PRECISIONS, _set_before_2_9, products_in
from clnf_torch.measures.head_pose import head_pose
from clnf_torch.measures.landmarks_3d import FittedShape, landmarks_3d
from clnf_torch.media.images import read_image
from clnf_torch.models import compiled as models_compiled
from clnf_torch.models.numerics import EXACT
from clnf_torch.models.patch_experts.cen import CENExperts
from clnf_torch.models.patch_experts.heatmap import HeatmapExperts
from clnf_torch.models.patch_experts.unet import UNet
from clnf_torch.models.pdm import PDM
from clnf_torch.pipeline import LandmarkDetector
from clnf_torch.quality import check_landmark_quality, repair_landmarks
from clnf_torch.tracking import VideoTracker, appearance
from tests.factories import CONFIG, N, make_boxes, make_experts, make_images, make_model, seeded
from tests.models.patch_experts.template_factories import make_ccnf, make_svr

# Pixels, of the default model on a face that is 110 pixels wide. Measured: at most 0.083 in 16 fits; bfloat16 keeps 8
# of 24 bits
BF16_WITHIN = 0.15
CPU, CARD = torch.device("cpu"), torch.device("cuda")
# Seconds until a thread is taken to wait for good
PATIENCE = 10.0


def full(precision: str = "float32") -> LandmarkDetector:
    numerics = replace(EXACT, precision=precision)
    return LandmarkDetector(make_model(dtype=torch.float32), numerics)


# What torch may be told to round products of float32 to
SWITCHES = {
    "all": lambda: setattr(torch.backends, "fp32_precision", "bf16"),
    "products": lambda: torch.set_float32_matmul_precision("medium"),
    "each": lambda: [setattr(switch, "fp32_precision", "tf32") for switch in switches()],
}


def switches():
    backends = torch.backends
    return backends.cuda.matmul, backends.cudnn.conv, backends.mkldnn.matmul, backends.mkldnn.conv


@pytest.fixture
def restored():
    """Leaves torch's switches as they were."""
    if not hasattr(torch.backends.cudnn, "conv"):
        pytest.skip("this torch has no switch of each library")
    before, products = [switch.fp32_precision for switch in switches()], torch.get_float32_matmul_precision()
    yield
    # Remembers its word beside those of the switches that it sets
    torch.set_float32_matmul_precision(products)
    torch.backends.fp32_precision = "none"
    for switch, value in zip(switches(), before, strict=True):
        switch.fp32_precision = value


def state():
    return [switch.fp32_precision for switch in (torch.backends, *switches())]


def seen_while_fitting(monkeypatch, detector):
    """What the switches say in the patch experts, and in the shape model and its Gauss-Newton steps."""
    experts, others = [], []
    respond, points = CENExperts.respond, PDM.points

    def looking_respond(self, *args):
        experts.append(tuple(state()[1:]))
        return respond(self, *args)

    def looking_points(self, local):
        others.append(tuple(state()[1:]))
        return points(self, local)

    with monkeypatch.context() as patch:
        patch.setattr(compiled, "kernels", lambda device_type: None)
        patch.setattr(CENExperts, "respond", looking_respond)
        patch.setattr(PDM, "points", looking_points)
        found = detector.fit(make_images(1), make_boxes(3), preset=CONFIG)
    assert experts and others
    return found.landmarks, set(experts), set(others)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("turn", SWITCHES.values(), ids=SWITCHES)
def test_switches_of_torch_are_neither_obeyed_nor_changed(monkeypatch, restored, turn, precision):
    expected, *_ = seen_while_fitting(monkeypatch, full(precision))
    turn()
    before = state()
    landmarks, experts, others = seen_while_fitting(monkeypatch, full(precision))
    assert state() == before
    assert torch.equal(landmarks, expected)
    rounding = {"tf32", "bf16"}
    assert not rounding.intersection(*others)
    # Nor is TF32 for the CPU
    assert not rounding.intersection(*experts)


@pytest.mark.parametrize("turn", SWITCHES.values(), ids=SWITCHES)
def test_switches_change_no_bit_of_finding_measuring_judging_and_tracking(monkeypatch, restored, turn):
    """All of it as torch operations, which the switches are about."""
    monkeypatch.setattr(compiled, "kernels", lambda device_type: None)
    monkeypatch.setattr(models_compiled, "kernels", lambda: None)
    monkeypatch.setattr(appearance, "load_kernels", lambda name: None)
    image = read_image(Path(__file__).parents[2] / "docs" / "images" / "astronaut.jpg")[None]
    detector, finders = clnf_torch.load(), [load_face_detector(name) for name in (None, "blazeface")]
    boxes = torch.tensor([[172.0, 62.0, 110.0, 120.0], [169.0, 65.0, 112.0, 118.0]])
    given = detector.fit(image, boxes, torch.zeros(2, dtype=torch.int64))
    shape = FittedShape(pdm=detector.model.pdm, params=given.params, landmarks=given.landmarks)
    camera = Intrinsics.for_image(512, 512)
    crossed = given.landmarks[:, [*range(36), *range(42, 48), *range(36, 42), *range(48, 68)]]

    def computed():
        for finder in finders:
            found = finder.detect(image)
            yield from (found.boxes, found.score)
        yield from (head_pose(shape, camera).values, landmarks_3d(shape, camera))
        quality = check_landmark_quality(crossed, detector, frames=image, image_index=torch.zeros(2, dtype=torch.int64))
        yield from (quality.violation, quality.expert_agreement, quality.shape.params.local)
        yield repair_landmarks(crossed, detector, image, torch.zeros(2, dtype=torch.int64), multi_view=False).landmarks

        tracker = VideoTracker(detector, finders[0])
        state, _ = tracker.step(tracker.begin(), image)
        state, _ = tracker.step(state, image)
        assert len(state.tracks.appearance) and state.tracks.appearance.any()
        yield state.tracks.appearance

    expected = list(computed())
    turn()
    for one, other in zip(computed(), expected, strict=True):
        assert torch.equal(one.nan_to_num(), other.nan_to_num())


def test_a_switch_that_followed_another_one_goes_on_to(restored):
    torch.backends.fp32_precision = "bf16"
    torch.backends.mkldnn.conv.fp32_precision = "none"
    with products_in("float32", torch.device("cpu")):
        assert torch.backends.mkldnn.conv.fp32_precision == "ieee"
    torch.backends.fp32_precision = "tf32"
    assert torch.backends.mkldnn.conv.fp32_precision == "tf32"


def in_threads(*jobs):
    """Does jobs at the same time; their errors are raised here."""
    errors = []

    def work(job):
        try:
            job()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(job,), daemon=True) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert not any(thread.is_alive() for thread in threads)
    if errors:
        raise errors[0]


def test_tf32_is_for_cards(restored):
    before = state()
    with products_in("tf32", CARD):
        _, cuda_products, cudnn, *onednn = state()
        assert cuda_products == cudnn == "tf32" and "tf32" not in onednn
        with products_in("float32", CARD):
            assert "tf32" not in state()
        assert state()[1] == "tf32"
    assert state() == before


def test_threads_that_want_another_precision_wait(restored):
    before, seen, entered, disturbed, left = state(), {}, *(threading.Event() for _ in range(3))

    def rounded():
        with products_in("tf32", CARD):
            entered.set()
            # Time for the other thread, which must not use it
            disturbed.wait(0.2)
            seen["tf32"] = state()[1:3]
        left.set()

    def full():
        entered.wait(PATIENCE)
        with products_in("float32", CARD):
            disturbed.set()
            left.wait(PATIENCE)
            seen["float32"] = state()[1:3]

    in_threads(rounded, full)
    assert seen["tf32"] == ["tf32", "tf32"] and "tf32" not in seen["float32"]
    assert state() == before


def test_threads_do_not_wait_for_each_others_outer_blocks(restored):
    before, all_here, seen = state(), threading.Barrier(2, timeout=PATIENCE), []

    def fit():
        with products_in("float32", CARD):
            all_here.wait()
            with products_in("tf32", CARD):
                all_here.wait()
                seen.append(state()[1])
            assert state()[1] != "tf32"

    in_threads(fit, fit)
    assert seen == ["tf32", "tf32"] and state() == before


@pytest.mark.parametrize("others", PRECISIONS)
def test_the_cpu_waits_for_nobody(others):
    together = threading.Barrier(2, timeout=PATIENCE)

    def fit(precision):
        with products_in("float32", CPU), products_in(precision, CPU):
            together.wait()

    in_threads(lambda: fit("tf32"), lambda: fit(others))


def test_blocks_may_end_in_another_order(restored):
    def waiting():
        with products_in("float32", CARD):
            yield

    before, generator = state(), waiting()
    next(generator)
    with products_in("tf32", CARD):
        in_threads(generator.close)
        assert state()[1] == "tf32"
    assert state() == before


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no processes are forked here")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_process_waits_for_no_thread_that_it_does_not_have(restored):
    entered, done = threading.Event(), threading.Event()

    def rounded():
        with products_in("tf32", CARD):
            entered.set()
            done.wait(PATIENCE)

    def fork():
        entered.wait(PATIENCE)
        if not (child := os.fork()):
            signal.alarm(int(PATIENCE))
            with products_in("float32", CARD):
                os._exit("tf32" in state())
        done.set()
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0

    in_threads(rounded, fork)


def test_switches_of_older_torch_are_restored():
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    for kind in ("tf32", "ieee"):
        with _set_before_2_9(kind):
            assert torch.backends.cudnn.allow_tf32 is (kind == "tf32")
            assert torch.get_float32_matmul_precision() == ("high" if kind == "tf32" else "highest")
    assert (torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32) == before


def make_heatmap_experts() -> HeatmapExperts:
    """One view, a network with random weights."""
    torch.manual_seed(3)
    network = UNet(N, (8, 16), normalised=False).eval().requires_grad_(False)
    centers, visible = torch.zeros(1, 3), torch.ones(1, N, dtype=torch.bool)
    return HeatmapExperts(0.25, centers, visible, torch.ones(1, N), 32, network)


FAMILIES = {"cen": make_experts, "ccnf": make_ccnf, "svr": make_svr}


@pytest.mark.parametrize("family", [*FAMILIES, "heatmap"])
def test_bf16_rounds_products_of_experts_alone(family):
    experts = make_heatmap_experts() if family == "heatmap" else FAMILIES[family](dtype=torch.float32)
    landmarks, to_image = 30 + 5 * torch.rand(2, N, 2, generator=seeded(1)), 1.1 * torch.eye(2).repeat(2, 1, 1)
    request = experts.crop_request(landmarks, to_image, 5)
    crops = 255 * torch.rand(2, request.centers.shape[1], request.width, request.width, generator=seeded(2))
    view = torch.tensor([0, min(1, experts.num_views - 1)])
    (exact, base), (same, _), (short, base_there) = (
        experts.respond_around(landmarks, request, crops, view, 5, replace(EXACT, precision=precision))
        for precision in PRECISIONS
    )
    assert short.dtype == torch.float32 and torch.equal(base, base_there)
    # No TF32 on the CPU
    assert torch.equal(same, exact)
    assert not torch.equal(short, exact)
    torch.testing.assert_close(short, exact, rtol=0, atol=0.05 * exact.max().item())


def test_the_default_model_in_bf16():
    cv2 = pytest.importorskip("cv2")
    image = cv2.imread(str(Path(__file__).parents[2] / "docs" / "images" / "astronaut.jpg"), cv2.IMREAD_GRAYSCALE)
    detector, boxes = clnf_torch.load(), torch.tensor([[172.0, 62.0, 110.0, 120.0], [169.0, 65.0, 112.0, 118.0]])
    frames, index = torch.from_numpy(image)[None], torch.zeros(2, dtype=torch.int64)
    expected = detector.fit(frames, boxes, index)
    detector.precision = "bf16"
    found = detector.fit(frames, boxes, index)
    assert found.success.all() and not torch.equal(found.landmarks, expected.landmarks)
    torch.testing.assert_close(found.landmarks, expected.landmarks, rtol=0, atol=BF16_WITHIN)
    assert torch.equal(clnf_torch.load(precision="bf16").fit(frames, boxes, index).landmarks, found.landmarks)


def test_a_precision_that_there_is_not():
    detector = full()
    message = "precision 'fp8' is not known; choose one of 'float32', 'tf32', 'bf16'"
    with pytest.raises(ValueError, match=message):
        detector.precision = "fp8"
    with pytest.raises(ValueError, match=message):
        clnf_torch.load(precision="fp8")
    assert detector.precision == "float32"
