"""`clnf_torch.detection.mtcnn`: against a cascade of loops, batches against single frames, frames that show nothing."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from clnf_torch.detection import mtcnn as mtcnn_module
from clnf_torch.detection.mtcnn import MTCNN, MTCNNConfig
from tests.factories import seeded
from tests.mtcnns import CONFIG, detect_slowly, make_mtcnn, make_mtcnn_record


def make_frames(count: int = 1, height: int = 64, width: int = 75) -> Tensor:
    """Coloured blotches, whole numbers 0 to 255, float64, shape (F, 3, H, W)."""
    coarse = torch.rand(count, 3, 9, 9, generator=seeded(8), dtype=torch.float64)
    blotches = torch.nn.functional.interpolate(coarse, (height, width), mode="bicubic")
    return (255 * blotches).round().clamp(0, 255)


@pytest.mark.parametrize("seed", [7, 14])
def test_a_cascade_of_loops(seed):
    mtcnn, frames = make_mtcnn(seed=seed), make_frames(2)
    found = mtcnn.detect(frames)
    for k, image in enumerate(frames):
        expected = detect_slowly(mtcnn, image)
        mine = found.image_index == k
        assert expected
        boxes, scores = zip(*expected, strict=True)
        torch.testing.assert_close(found.boxes[mine], torch.tensor(boxes, dtype=torch.float64), rtol=0, atol=1e-3)
        torch.testing.assert_close(found.score[mine], torch.tensor(scores, dtype=torch.float64), rtol=0, atol=1e-5)


@pytest.mark.parametrize("at_once", [1, 7])
def test_blocks_of_crops_change_nothing(monkeypatch, at_once):
    mtcnn, frames = make_mtcnn(), make_frames(2)
    expected = mtcnn.detect(frames)
    monkeypatch.setattr(mtcnn_module, "CPU_CROPS", at_once)
    found = mtcnn.detect(frames)
    torch.testing.assert_close(found.boxes, expected.boxes)
    torch.testing.assert_close(found.score, expected.score)


def test_frames_do_not_see_each_other():
    mtcnn, frames = make_mtcnn(), make_frames(5)
    together = mtcnn.detect(frames)
    order = together.image_index.tolist()
    assert order == sorted(order) and len(set(order)) == 5
    for k in range(5):
        alone, mine = mtcnn.detect(frames[k : k + 1]), together.image_index == k
        torch.testing.assert_close(together.boxes[mine], alone.boxes)
        torch.testing.assert_close(together.score[mine], alone.score)
        assert alone.score.tolist() == sorted(alone.score.tolist(), reverse=True)


def test_a_frame_of_nonsense_has_no_faces_and_spares_the_others():
    mtcnn, frames = make_mtcnn(), make_frames(4)
    expected = mtcnn.detect(frames)
    frames[1, 0, 5, 5] = torch.nan
    frames[2] = torch.inf
    found = mtcnn.detect(frames)
    for k in (0, 3):
        torch.testing.assert_close(found.boxes[found.image_index == k], expected.boxes[expected.image_index == k])
    assert set(found.image_index.tolist()) == {0, 3}


@pytest.mark.parametrize("number_type", [torch.uint8, torch.float16, torch.float32])
def test_number_types_of_frames(number_type):
    mtcnn, frames = make_mtcnn(), make_frames()
    torch.testing.assert_close(mtcnn.detect(frames.to(number_type)).boxes, mtcnn.detect(frames).boxes)


def test_gray_frames_are_three_equal_channels():
    mtcnn, frames = make_mtcnn(), make_frames(2)
    gray = frames[:, 0]
    expected = mtcnn.detect(gray[:, None].expand(-1, 3, -1, -1))
    assert len(expected.boxes) > 3
    torch.testing.assert_close(mtcnn.detect(gray).boxes, expected.boxes)


@pytest.mark.parametrize("shape", [(0, 3, 64, 75), (2, 3, 20, 200), (1, 3, 1, 1), (1, 3, 0, 9), (3, 1, 23, 23)])
def test_frames_too_small_for_a_face(shape):
    faces = make_mtcnn().detect(torch.zeros(shape, dtype=torch.uint8))
    assert faces.boxes.shape == (0, 4) and faces.score.shape == (0,) and faces.image_index.shape == (0,)


def test_nothing_survives_each_stage():
    for thresholds in ((1.1, 0.4, 0.4), (0.5, 1.1, 0.4), (0.5, 0.4, 1.1)):
        mtcnn = MTCNN.from_record(make_mtcnn_record(), config=MTCNNConfig(min_face=24, thresholds=thresholds))
        assert mtcnn.detect(make_frames()).boxes.shape == (0, 4)


@pytest.mark.parametrize("regression", [1e3, -1e3, 1e30, float("nan")])
def test_boxes_far_outside_are_dropped(regression):
    """A network that sends its boxes away: OpenFace would fail."""
    record = make_mtcnn_record()
    record["pnet"]["layers"][-1]["bias"][2:4] = regression
    faces = MTCNN.from_record(record, torch.float64, CONFIG).detect(make_frames())
    assert faces.boxes.isfinite().all()


def test_boxes_carry_no_gradient_and_no_restriction(dtype, device):
    mtcnn = make_mtcnn(dtype).to(device)
    faces = mtcnn.detect(make_frames().to(device).requires_grad_())
    assert faces.boxes.dtype == dtype and faces.boxes.device.type == device.type
    assert not faces.boxes.requires_grad and not faces.boxes.is_inference()


@pytest.mark.parametrize(
    ("frames", "complaint"),
    [
        (torch.zeros(1, 4, 80, 80), "expected gray"),
        (torch.zeros(80, 80), "expected gray"),
        (torch.zeros(1, 3, 80, 80, dtype=torch.int64), "give uint8"),
    ],
)
def test_other_frames_are_refused(frames, complaint):
    with pytest.raises(ValueError, match=complaint):
        make_mtcnn().detect(frames)


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"min_face": 11}, "at least 12 pixels"),
        ({"min_face": float("nan")}, "a finite number"),
        ({"factor": 1.0}, "between 0 and 1"),
        ({"factor": 0.0}, "between 0 and 1"),
    ],
)
def test_settings_without_sense_are_refused(settings, complaint):
    with pytest.raises(ValueError, match=complaint):
        MTCNNConfig(**settings)


def test_another_detector_is_refused():
    with pytest.raises(ValueError, match="'haar'"):
        MTCNN.from_record({"kind": "haar"})


@pytest.mark.cuda
def test_cuda_agrees_with_the_cpu():
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device on this machine")
    mtcnn, frames = make_mtcnn(), make_frames(3)
    expected: MTCNN = mtcnn.detect(frames)
    found = mtcnn.to("cuda").detect(frames)
    torch.testing.assert_close(found.boxes.cpu(), expected.boxes)
    assert found.image_index.cpu().tolist() == expected.image_index.tolist()
