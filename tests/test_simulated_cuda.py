"""What runs on a card, on cards that the processor simulates: its branches, its devices, what the host waits for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import clnf_torch
from clnf_torch.compilation.conditions import plain_numbers
from clnf_torch.detection.face_detector import FaceBoxes
from clnf_torch.fitting.gauss_newton import solve
from clnf_torch.geometry.constants import constant
from clnf_torch.geometry.records import map_tensors
from clnf_torch.media.images import read_image
from clnf_torch.pipeline import LandmarkDetector
from clnf_torch.tracking import VideoConfig, VideoTracker
from tests.detection.test_mtcnn import make_frames
from tests.factories import CONFIG, make_boxes, make_images, make_model
from tests.mtcnns import make_mtcnn
from tests.pipeline.test_unread import calls, make_detector
from tests.simulated_cuda import OnCard, SimulatedCards, missing, simulated_cards
from tests.simulated_driver import simulated_driver

ASTRONAUT = Path(__file__).parents[1] / "docs" / "images" / "astronaut.jpg"
pytestmark = pytest.mark.skipif(bool(missing()), reason=missing() or "cards can be simulated")


@pytest.fixture(autouse=True)
def cards():
    """Cards in every test; what is computed on the processor beside them is what it always is."""
    with simulated_cards() as cards:
        yield cards


def home(record: Any) -> Any:
    """A record with the numbers of its tensors."""
    return map_tensors(lambda values: values.numbers if isinstance(values, OnCard) else values, record)


def assert_close(found: Any, expected: Any, within: float = 1e-6) -> None:
    """Records of equal numbers; those that were found are on a card."""
    assert found.landmarks.is_cuda
    torch.testing.assert_close(home(found).landmarks, expected.landmarks, atol=within, rtol=0, equal_nan=True)
    assert found.success.tolist() == expected.success.tolist()


def test_tensors_of_two_devices_are_refused():
    first, second, own = torch.ones(3, device="cuda"), torch.ones(3, device="cuda:1"), torch.ones(3)
    assert first.device == torch.device("cuda:0") and first.is_cuda and (first + 1).device == first.device
    for other in (second, own, second.sum()):
        with pytest.raises(RuntimeError, match="same device"):
            first + other
    assert (first + own.sum()).tolist() == [4, 4, 4]
    assert torch.equal(first.cpu(), own) and type(first.cpu()) is torch.Tensor
    with pytest.raises(RuntimeError, match="same device"):
        first[torch.tensor([1])]


def test_reads_are_counted(cards):
    values = torch.arange(3.0, device="cuda")
    values[1:] += 1
    assert not +cards.reads
    assert values.sum().item() == 5 and values[values > 1].shape == (2,) and values.cpu().tolist() == [0, 2, 3]
    assert +cards.reads == {"_local_scalar_dense": 1, "index": 1, "_to_copy": 1}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
def test_steps_are_the_processor_s(rng, dtype):
    """A card solves with other functions; rows without a solution get none there either."""
    root = torch.randn(5, 40, 40, generator=rng, dtype=torch.float64).to(dtype)
    hessian, right = root @ root.mT + torch.eye(40, dtype=dtype), torch.randn(5, 40, generator=rng).to(dtype)
    hessian[1], hessian[2, 0, 0], right[3, 2] = 0, -1, torch.nan
    found, expected = solve(hessian.to("cuda:0"), right.to("cuda:0")), solve(hessian, right)
    torch.testing.assert_close(found.numbers, expected)
    assert found.any(1).tolist() == [True, False, False, False, True]


def test_numbers_of_two_cards_are_nothing_for_a_program():
    """Triton's would read one card's memory from the other."""
    first, second = torch.ones(3, device="cuda:0"), torch.ones(3, device="cuda:1")
    assert plain_numbers(first, first) and not plain_numbers(first, second)


@pytest.mark.parametrize("family", ["cen", "mesh"])
def test_fits_are_the_processor_s_and_read_nothing(cards, family):
    own, there = (calls(make_detector(family).to(device), device, 1) for device in ("cpu", "cuda:0"))
    for name in ("fit", "params"):
        expected = own[name]()
        cards.reads.clear()
        found = there[name]()
        assert not +cards.reads, name
        assert_close(found, expected)


def test_arguments_may_be_on_another_card_or_the_host():
    detector, frames, boxes = make_detector("svr"), make_images(2).to(torch.uint8), make_boxes(2)
    expected = detector.fit(frames, boxes, preset=CONFIG)
    detector = make_detector("svr").to("cuda:1")
    known = {"regularisation": torch.full((2,), CONFIG.regularisation), "visible": torch.ones(2, 5, dtype=torch.bool)}
    for place in ("cpu", "cuda:0"):
        known = {name: values.to(place) for name, values in known.items()}
        found = detector.fit(frames.to(place), boxes.to(place), torch.tensor([0, 1]), preset=CONFIG, **known)
        assert_close(found, expected)
        assert found.landmarks.device == torch.device("cuda:1")
        again = detector.fit_from_landmarks(frames, found.landmarks.to(place), preset=CONFIG)
        assert again.landmarks.device == torch.device("cuda:1")


def test_faces_are_detected_with_one_read(cards):
    images = make_frames(4)
    expected = make_mtcnn().detect(images)
    detector = make_mtcnn().to("cuda:0")
    for given in (images.to("cuda:0"), images):
        detector.detect(given)
        cards.reads.clear()
        found = detector.detect(given)
        assert +cards.reads == {"tolist": 1}
        torch.testing.assert_close(found.boxes.numbers, expected.boxes)
        assert torch.equal(found.image_index.numbers, expected.image_index) and len(expected.boxes) > 10


@pytest.mark.parametrize("network", ["blazeface", None], ids=["BlazeFace", "MTCNN"])
def test_the_face_detectors_that_ship_run_on_a_card(cards, network):
    frames = read_image(ASTRONAUT)[None]
    expected = clnf_torch.load_face_detector(network).detect(frames)
    found = clnf_torch.load_face_detector(network, "cuda:0").detect(frames)
    assert +cards.reads == {"tolist": 1} and len(expected.boxes) == 1
    # BlazeFace's images are made smaller in whole levels by the processor, and not by a card: 0.14 px
    torch.testing.assert_close(found.boxes.numbers, expected.boxes, atol=0.2 if network else 1e-3, rtol=0)


def everything(device: str) -> dict[str, Any]:
    """What the default model finds in a photograph on a device: face, eyes, gaze, pose, and a repaired face."""
    detector, frames = clnf_torch.load(device=device), read_image(ASTRONAUT)[None].to(device)
    boxes = torch.tensor([[212.0, 92.0, 74.0, 88.0]], device=device)
    fit = detector.fit(frames, boxes)
    moved = fit.landmarks + constant(((6.0, 0.0),) * 5 + ((0.0, 0.0),) * 63, fit.landmarks)
    measures = clnf_torch.measure_faces(fit, detector, clnf_torch.Intrinsics.for_image(512, 512))
    return {
        "fit": fit.landmarks, "eyes": fit.parts["left_eye_28"].landmarks, "gaze": fit.gaze, "success": fit.success,
        "several": detector.fit(frames, boxes, multi_view=True).landmarks, "pose": measures.pose.rotation,
        "repaired": clnf_torch.repair_landmarks(moved, detector, frames, boxes=boxes).landmarks,
    }  # fmt: skip


def test_the_default_model_finds_on_a_card_what_it_finds_on_the_processor():
    own, there = everything("cpu"), everything("cuda:0")
    for name, found in there.items():
        assert found.is_cuda, name
        torch.testing.assert_close(
            found.numbers, own[name], atol=2e-3, rtol=0, msg=lambda text, name=name: f"{name}: {text}"
        )


class Same:
    """Finds the same faces in every frame, without looking, and says so on a device."""

    def __init__(self, device: str) -> None:
        self._device = device

    def detect(self, frames: torch.Tensor) -> FaceBoxes:
        count = len(frames)
        index = torch.arange(count).repeat_interleave(2)
        found = FaceBoxes(boxes=make_boxes(2).repeat(count, 1), score=torch.ones(2 * count), image_index=index)
        return map_tensors(lambda values: values.to(self._device), found)


def tracked(device: str, faces: str, config: VideoConfig) -> Any:
    """Results of a few frames of two videos, one of them damaged and one moved away."""
    tracker = VideoTracker(LandmarkDetector(make_model()).to(device), Same(faces), config)
    state, results = tracker.begin(2), []
    for number in range(4):
        frames = make_images(2).to(torch.uint8)[:, None].roll(25 if number == 3 else 0, -1)
        state, result = tracker.step(state, frames.to(device), torch.tensor([False, number == 2]))
        results.append(result)
    return results


@pytest.mark.parametrize("single", [False, True], ids=["many faces", "one face"])
def test_faces_are_tracked_as_on_the_processor(single):
    config = VideoConfig(single_face=single, detect_every=2, preset=replace(CONFIG, iterations=2))
    for faces in ("cuda:0", "cpu"):
        expected = tracked("cpu", "cpu", config)
        for found, own in zip(tracked("cuda:0", faces, config), expected, strict=True):
            assert_close(found.faces, own.faces)
            assert found.identity.tolist() == own.identity.tolist()
            assert found.video.tolist() == own.video.tolist()


def test_products_are_rounded_to_bfloat16_and_come_back():
    detector, frames, boxes = make_detector("heatmap"), make_images(1).to(torch.uint8), make_boxes(1)
    results = []
    for device in ("cpu", "cuda:0"):
        detector = make_detector("heatmap").to(device)
        detector.precision = "bf16"
        results.append(detector.fit(frames, boxes))
    assert results[1].landmarks.dtype == results[0].landmarks.dtype
    assert_close(results[1], results[0], within=0.5)


@pytest.fixture
def graphs():
    """Streams and graphs that do nothing."""
    with simulated_driver():
        yield


class Copies(SimulatedCards):
    """Notes what is copied from the host without waiting."""

    def __init__(self) -> None:
        super().__init__()
        self.unawaited: list[torch.Size] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func is torch.ops.aten.copy_.default and not args[1].is_cuda and any(args[2:]):
            self.unawaited.append(args[1].shape)
        return super().__torch_dispatch__(func, types, args, kwargs)


@pytest.mark.usefixtures("graphs")
def test_captured_fits_wait_for_the_copy_of_frames():
    """Frames in pinned memory may be overwritten when the call returns."""
    detector = make_detector("svr").to("cuda:0")
    fit = detector.captured(2, (72, 80), frames=2, channels=1, preset=replace(CONFIG, iterations=1), parts=False)
    frames = make_images(2).to(torch.uint8)[:, None]
    with Copies() as copies:
        fit.fit(frames, make_boxes(2))
    assert not copies.unawaited
    assert torch.equal(fit.frames.numbers, frames)


@pytest.mark.usefixtures("graphs")
def test_graphs_hold_what_they_read(monkeypatch):
    """Weights and modules that are replaced, whose memory and identity others would get."""
    detector = make_detector("svr").to("cuda:0")
    fit = detector.captured(2, (72, 80), frames=2, channels=1, preset=replace(CONFIG, iterations=1), parts=False)
    before = [*detector.parameters(), *detector.buffers(), detector.validator]
    fit.fit(None, make_boxes(2))
    (graph,) = fit._graphs.values()
    held = {id(value) for value in graph.held}
    assert len(before) > 10 and all(id(value) in held for value in before)
    detector.validator = None
    fit.fit(None, make_boxes(2))
    assert len(fit._graphs) == 2
