"""`clnf_torch.pipeline.captured`: padded fits of a fixed shape agree with plain ones."""

from __future__ import annotations

import pytest
import torch

import clnf_torch
from clnf_torch.geometry.constants import holding
from clnf_torch.pipeline import captured
from tests.factories import CONFIG, make_boxes, make_images, make_rules
from tests.pipeline.test_unread import FAMILIES, make_detector
from tests.transfers import count_transfers

INDEX = torch.tensor([1, 0, 1, 1, 0])


def make_frames() -> torch.Tensor:
    return make_images(2).to(torch.uint8)[:, None]


def fit_of(detector, **settings):
    preset = "default" if detector.model.family.name in ("heatmap", "mesh") else CONFIG
    return detector.captured(8, (72, 80), frames=2, channels=1, preset=preset, **settings), preset


def assert_same(found, expected):
    """Tiles of views round their products in another order."""
    torch.testing.assert_close(found.landmarks, expected.landmarks, rtol=0, atol=1e-6, equal_nan=True)
    assert found.success.tolist() == expected.success.tolist()
    assert found.view.tolist() == expected.view.tolist()


@pytest.mark.parametrize("family", FAMILIES)
def test_rows_are_those_of_a_plain_fit(family):
    detector = make_detector(family)
    fit, preset = fit_of(detector)
    for faces in (5, 1, 0):
        boxes, index = make_boxes(5)[:faces], INDEX[:faces]
        expected = detector.fit(make_frames(), boxes, index, preset=preset)
        assert_same(fit.fit(make_frames(), boxes, index), expected)
    assert list(expected.parts) == list(fit.fit(make_frames(), boxes, index).parts)


def test_hypotheses_with_early_termination_are_padded():
    detector = make_detector("cen", make_rules(cutoff=-0.3))
    fit, preset = fit_of(detector, multi_view=True)
    expected = detector.fit(make_frames(), make_boxes(5), INDEX, preset=preset, multi_view=True)
    found = fit.fit(make_frames(), make_boxes(5), INDEX)
    assert_same(found, expected)
    assert found.hypothesis.tolist() == expected.hypothesis.tolist()


def test_frames_may_be_written_in_place():
    detector = make_detector("svr")
    fit, preset = fit_of(detector)
    fit.frames.copy_(make_frames().flip(0))
    expected = detector.fit(make_frames().flip(0), make_boxes(5), INDEX, preset=preset)
    assert_same(fit.fit(None, make_boxes(5), INDEX), expected)
    assert_same(fit.fit(fit.frames, make_boxes(5), INDEX), expected)


def test_frames_of_earlier_calls_are_none_of_this_one():
    detector = make_detector("svr")
    detector.validator = None
    fit, preset = fit_of(detector)
    assert fit.fit(make_frames(), make_boxes(5), INDEX).success[[0, 2]].all()
    only, boxes, index = make_frames()[:1], make_boxes(5), torch.tensor([1, 0, -1, 0, 0])
    found = fit.fit(only, boxes, index)
    assert not found.success[[0, 2]].any() and found.success.any()
    assert_same(found, detector.fit(only, boxes, index, preset=preset))


def test_inference_mode_may_come_and_go():
    detector = make_detector("svr")
    with torch.inference_mode():
        fit, _ = fit_of(detector)
        first = fit.fit(make_frames(), make_boxes(5), INDEX)
    second = fit.fit(make_frames(), make_boxes(5), INDEX)
    assert not first.landmarks.is_inference() and torch.equal(first.landmarks, second.landmarks)


def test_results_are_not_overwritten_by_the_next_call():
    fit, _ = fit_of(make_detector("svr"))
    first = fit.fit(make_frames(), make_boxes(5), INDEX)
    kept = first.landmarks.clone()
    fit.fit(make_frames(), make_boxes(5) + 3, INDEX)
    assert torch.equal(first.landmarks, kept)


def test_faces_are_filled_up_to_the_next_size(monkeypatch):
    monkeypatch.setattr(captured, "BUCKETS", (2, 4, 16))
    detector = make_detector("svr")
    sizes = []
    monkeypatch.setattr(detector, "fit", lambda frames, boxes, index, **_: sizes.append(len(boxes)) or boxes)
    fit, _ = fit_of(detector)
    for faces in (0, 1, 2, 3, 5, 8):
        fit.fit(None, torch.ones(faces, 4), torch.zeros(faces, dtype=torch.int64))
    assert sizes == [2, 2, 2, 4, 8, 8]


def test_nothing_is_transferred_but_what_is_given():
    detector = make_detector("cen").to("meta")
    fit, _ = fit_of(detector)
    boxes, index = make_boxes(5).to("meta"), INDEX.to("meta")
    counted = count_transfers(lambda: fit.fit(None, boxes, index))
    assert not counted.to_host and not counted.to_device


def test_nothing_is_transferred_with_the_default_model():
    """Nothing may be in a capture: neither of its eyes, nor of its gaze network, nor of its validator."""
    detector = clnf_torch.load().to("meta")
    fit = detector.captured(8, (72, 80))
    boxes, index = make_boxes(5).float().to("meta"), torch.zeros(5, dtype=torch.int64, device="meta")
    counted = count_transfers(lambda: fit.fit(None, boxes, index))
    assert not counted.to_host and not counted.to_device


def test_what_a_capture_reads_is_held():
    detector = make_detector("ccnf")
    with holding() as held:
        fit_of(detector)[0].fit(make_frames(), make_boxes(5), INDEX)
    known = {id(tensor) for tensor in held}
    sigmas = [kept.values for experts in detector.model.experts for kept in experts._sigmas.values()]
    assert sigmas and all(id(sigma) in known for sigma in sigmas)
    assert known > {id(sigma) for sigma in sigmas}


def test_what_does_not_fit_is_refused():
    fit, _ = fit_of(make_detector("svr"))
    with pytest.raises(ValueError, match="9 boxes, but max_faces is 8; give at most so many, or ask for more"):
        fit.fit(None, torch.ones(9, 4), torch.zeros(9, dtype=torch.int64))
    with pytest.raises(ValueError, match=r"frames have shape \(3, 1, 72, 80\) .* at most 2 of shape \(1, 72, 80\)"):
        fit.fit(torch.zeros(3, 1, 72, 80, dtype=torch.uint8), torch.ones(1, 4))
    with pytest.raises(ValueError, match=r"are torch.float32; .* that are torch.uint8: .* dtype to captured"):
        fit.fit(make_frames().float() / 255, make_boxes(5), INDEX)
    with pytest.raises(ValueError, match=r"frames are torch.int32; give uint8"):
        make_detector("svr").captured(8, (72, 80), dtype=torch.int32)
    with pytest.raises(ValueError, match=r"max_faces 0, .*expected at least one face"):
        make_detector("svr").captured(0, (72, 80))


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine")
@pytest.mark.parametrize("family", FAMILIES)
def test_replays_agree_with_plain_fits_on_cuda(family):
    detector = make_detector(family).to("cuda")
    fit, preset = fit_of(detector)
    for faces in (5, 3, 5):
        boxes, index = make_boxes(5)[:faces], INDEX[:faces]
        expected = detector.fit(make_frames(), boxes, index, preset=preset)
        assert_same(fit.fit(make_frames(), boxes, index), expected)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine")
def test_the_default_model_is_captured_with_eyes_and_gaze():
    detector = clnf_torch.load(device="cuda")
    fit = detector.captured(8, (72, 80), frames=2, channels=1)
    boxes = make_boxes(5).float()
    found, expected = fit.fit(make_frames(), boxes, INDEX), detector.fit(make_frames(), boxes, INDEX)
    torch.testing.assert_close(found.landmarks, expected.landmarks, rtol=0, atol=1e-2, equal_nan=True)
    torch.testing.assert_close(found.gaze, expected.gaze, rtol=0, atol=1e-3, equal_nan=True)
