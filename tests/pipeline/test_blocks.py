"""`clnf_torch.pipeline.blocks`: faces in many frames, in blocks, are what they are together."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest
import torch

import clnf_torch.fitting.fitter
import clnf_torch.pipeline.blocks
from clnf_torch.fitting.fitter import LandmarkFitter
from clnf_torch.media.video_frames import ahead
from clnf_torch.pipeline import LandmarkDetector
from clnf_torch.pipeline.blocks import blocks_of_faces
from tests.factories import CONFIG, N, make_boxes, make_images, make_model
from tests.pipeline.test_detector import assert_same

INDEX = torch.tensor([4, 0, 2, 4, 1, 3, 0, 9, -1])


@pytest.fixture
def small_blocks(monkeypatch):
    """Blocks of two frames, and of three faces."""
    pixels = 2 * make_images(1)[0].numel()
    monkeypatch.setattr(clnf_torch.pipeline.blocks, "CPU_PIXELS", pixels)
    monkeypatch.setattr(clnf_torch.fitting.fitter, "FEW_ROWS", 3)


def everything(detector: LandmarkDetector) -> list:
    """What each way of fitting finds, nine faces in five frames, two of them in frames that do not exist."""
    frames, boxes = make_images(5), make_boxes(9)
    weight = torch.linspace(0.5, 1.5, 9 * N).view(9, N)
    prior = torch.linspace(1.0, 30.0, 9)
    fit = detector.fit(frames, boxes, INDEX, preset=CONFIG, regularisation=prior, landmark_weight=weight)
    views = detector.fit(frames, boxes.tolist(), INDEX.tolist(), preset=replace(CONFIG, multi_view=True))
    own, success = detector.fit_with_own_success(frames, boxes, INDEX, preset=CONFIG)
    landmarks = detector.fit_from_landmarks(frames, fit.landmarks, INDEX, preset=CONFIG)
    params = detector.fit_from_params(frames, fit.params, INDEX, preset=CONFIG)
    return [fit, views, own, landmarks, params, success]


@pytest.mark.parametrize("numerics", ["openface", "exact"])
def test_blocks_change_nothing(numerics, request):
    detector = LandmarkDetector(make_model(dtype=torch.float32), numerics)
    together = everything(detector)
    request.getfixturevalue("small_blocks")
    assert len(blocks_of_faces(make_images(5)[:, None], INDEX, 9)) > 1
    in_blocks = everything(detector)
    # The model of five landmarks is too small for products that round alike in any batch
    for found, expected in zip(in_blocks[:-1], together[:-1], strict=True):
        assert_same(found, expected, atol=1e-5, rtol=1e-5)
    assert torch.equal(in_blocks[-1], together[-1])
    assert in_blocks[0].success[:7].all() and not in_blocks[0].success[7:].any()


@pytest.mark.parametrize("convert", [torch.Tensor.tolist, torch.Tensor.numpy, lambda given: [*given]])
def test_blocks_split_lists_and_arrays_as_tensors(convert, small_blocks):
    detector, frames, boxes = LandmarkDetector(make_model(dtype=torch.float32)), make_images(5), make_boxes(9)
    visible = torch.ones(9, N, dtype=torch.bool)
    visible[:, 0] = False
    given = {
        "regularisation": torch.linspace(1.0, 30.0, 9),
        "landmark_weight": torch.linspace(0.5, 1.5, 9 * N).view(9, N),
        "visible": visible,
    }
    expected = detector.fit(frames, boxes, INDEX, preset=CONFIG, **given)
    others = {name: convert(value) for name, value in given.items()}
    assert_same(detector.fit(frames, boxes, INDEX, preset=CONFIG, **others), expected)
    start = expected.landmarks
    again = detector.fit_from_landmarks(frames, start, INDEX, preset=CONFIG, **others)
    assert_same(again, detector.fit_from_landmarks(frames, start, INDEX, preset=CONFIG, **given))


@pytest.mark.parametrize("multi_view", [False, True])
def test_settings_with_a_prior_per_face_are_that_prior_given_apart(multi_view, small_blocks, monkeypatch):
    fit_together, rows = LandmarkFitter._fit_together, []
    monkeypatch.setattr(
        LandmarkFitter, "_fit_together", lambda self, *args: rows.append(len(args[1])) or fit_together(self, *args)
    )
    detector, prior = LandmarkDetector(make_model(dtype=torch.float32)), torch.linspace(1.0, 30.0, 9)
    config, given = replace(CONFIG, multi_view=multi_view), (make_images(5), make_boxes(9), INDEX)
    expected = detector.fit(*given, preset=config, regularisation=prior)
    assert_same(detector.fit(*given, preset=replace(config, regularisation=prior)), expected)
    assert max(rows) == 3


def test_blocks_hold_few_frames_and_every_face_once(small_blocks):
    frames = make_images(5)[:, None]
    blocks = blocks_of_faces(frames, INDEX, 9)
    assert torch.cat(blocks).sort().values.tolist() == list(range(9))
    assert all(len(INDEX[rows].unique()) <= 2 for rows in blocks)
    assert blocks_of_faces(frames[:2], torch.tensor([0, 1]), 2) == []


def test_gradients_flow_through_blocks(small_blocks):
    detector, boxes = LandmarkDetector(make_model(), "exact"), make_boxes(5).requires_grad_()
    detector.fit(make_images(5)[:, None], boxes, preset=CONFIG).landmarks.sum().backward()
    assert boxes.grad.isfinite().all() and (boxes.grad != 0).any(-1).all()


@pytest.mark.parametrize(("faces", "expected"), [(1, 1), (3, 1), (4, 2)])
def test_few_faces_use_one_thread(faces, expected, monkeypatch):
    detector, seen = LandmarkDetector(make_model()), []
    monkeypatch.setattr(threading, "enumerate", lambda: [threading.current_thread()])
    monkeypatch.setattr(detector, "_fit_boxes", lambda *_: seen.append(torch.get_num_threads()) or (None,))
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        detector.fit(make_images(), make_boxes(faces), torch.zeros(faces, dtype=torch.int64), preset=CONFIG)
        assert seen == [expected] and torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_a_thread_beside_a_fit_keeps_torchs_number_of_threads(monkeypatch):
    detector, others, fitting, seen = LandmarkDetector(make_model()), [], threading.Event(), []
    monkeypatch.setattr(threading, "enumerate", lambda: [threading.current_thread(), *others])

    def first_use():
        fitting.wait(10)
        seen.append(torch.get_num_threads())

    def fit(*_):
        fitting.set()
        others[0].join(10)
        return (None,)

    monkeypatch.setattr(detector, "_fit_boxes", fit)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        others.append(threading.Thread(target=first_use, daemon=True))
        others[0].start()
        detector.fit(make_images(), make_boxes(1), torch.zeros(1, dtype=torch.int64), preset=CONFIG)
        assert seen == [2]
    finally:
        torch.set_num_threads(before)


def test_frames_are_read_in_a_thread_that_knows_torchs_number_of_threads():
    """Though the number changes before the thread computes."""

    def frames():
        yield 0
        changed.wait(10)
        yield torch.get_num_threads()

    before, changed = torch.get_num_threads(), threading.Event()
    try:
        torch.set_num_threads(2)
        reading = ahead(frames())
        next(reading)
        torch.set_num_threads(1)
        changed.set()
        assert list(reading) == [2]
    finally:
        torch.set_num_threads(before)
