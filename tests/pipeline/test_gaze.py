"""The gaze that a model's network sees: in the results of fits and tracks, in tables, drawings, and smoothed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

import clnf_torch
from clnf_torch.drawing import DrawnFaces
from clnf_torch.geometry.camera import Intrinsics
from clnf_torch.measures.gaze import eye_middles, gaze_angles, in_camera_space
from clnf_torch.pipeline import measure_faces
from clnf_torch.tracking.smoothing import SmoothedFaces, smooth_faces, smoothed_size

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module", params=["default", "free"])
def detector(request) -> clnf_torch.LandmarkDetector:
    return clnf_torch.load(request.param)


@pytest.fixture(scope="module")
def photo() -> torch.Tensor:
    cv2 = pytest.importorskip("cv2")
    image = cv2.cvtColor(cv2.imread(str(ROOT / "docs" / "images" / "astronaut.jpg")), cv2.COLOR_BGR2RGB)
    return torch.from_numpy(image).permute(2, 0, 1)[None]


@pytest.fixture(scope="module")
def box(photo) -> torch.Tensor:
    return clnf_torch.load_face_detector().detect(photo).boxes[:1]


def fit(detector, frames, boxes, **settings):
    with torch.inference_mode():
        return detector.fit(frames, boxes, **settings)


def test_an_astronaut_looks_into_the_camera(detector, photo, box):
    found = fit(detector, photo, box).gaze
    assert found.shape == (1, 2, 3)
    torch.testing.assert_close(found.norm(dim=-1), torch.ones(1, 2))
    assert bool((found[..., 2] < -0.95).all())  # within 18 degrees


def test_it_turns_with_the_image(detector, photo, box):
    """Fits start upright: the image is turned by what they still find, about 17 degrees."""
    height, width = photo.shape[-2:]
    turn = torch.tensor([[0.956, -0.292], [0.292, 0.956]])
    grid = torch.nn.functional.affine_grid(
        torch.cat((turn.T, torch.zeros(2, 1)), 1)[None], (1, 3, height, width), align_corners=False
    )
    turned = torch.nn.functional.grid_sample(photo.float(), grid, align_corners=False)
    middle = torch.tensor([(width - 1) / 2, (height - 1) / 2])
    corner = (box[:, :2] + box[:, 2:] / 2 - middle) @ turn.T + middle - box[:, 2:] / 2
    one = fit(detector, photo, box).gaze
    other = fit(detector, turned, torch.cat((corner, box[:, 2:]), 1)).gaze
    expected = torch.cat((one[..., :2] @ turn.T, one[..., 2:]), -1)
    assert (other * expected).sum(-1).min() > 0.995  # 6 degrees


def test_tables_hold_it_in_camera_space(detector, photo, box):
    found = fit(detector, photo, box)
    camera = Intrinsics(torch.tensor([[500.0, 500.0]]), torch.tensor([[200.0, 100.0]]))
    measures = measure_faces(found, detector, camera)
    expected = in_camera_space(found.gaze, eye_middles(measures.points))
    torch.testing.assert_close(measures.eyes.gaze, expected)
    torch.testing.assert_close(measures.eyes.gaze_angle, gaze_angles(expected))


def test_without_parts_there_is_none(detector, photo, box):
    assert fit(detector, photo, box, parts=False).gaze is None


def test_a_row_that_cannot_be_fitted_has_none(detector, photo, box):
    boxes = torch.cat((box, torch.full_like(box, torch.nan)))
    found = fit(detector, photo, boxes, image_index=torch.tensor([0, 0]))
    assert found.gaze[1].isnan().all()
    assert torch.equal(found.gaze[:1], fit(detector, photo, box).gaze)


def test_it_is_drawn(detector, photo, box):
    found = fit(detector, photo, box)
    arrows = DrawnFaces.of(found).gaze
    along = (arrows[:, :, 1] - arrows[:, :, 0]) / (36 * found.params.scale[:, None, None])
    torch.testing.assert_close(along.float(), found.gaze[..., :2], atol=1e-5, rtol=0)


def test_tracks_have_it_too(photo):
    tracker = clnf_torch.VideoTracker(clnf_torch.load(), clnf_torch.load_face_detector())
    state = tracker.begin(1)
    with torch.inference_mode():
        state, blank = tracker.step(state, torch.zeros_like(photo))
        state, result = tracker.step(state, photo)
    assert result.faces.gaze.shape == (len(result.faces), 2, 3)
    assert result.faces.gaze[result.success].isfinite().all()
    assert blank.faces.gaze.shape == (len(blank.faces), 2, 3)


def test_it_is_smoothed_and_stays_a_direction(photo, box):
    detector = clnf_torch.load()
    found, moved = (fit(detector, photo, each) for each in (box, box + torch.tensor([3.0, 2.0, 0.0, 0.0])))
    tilted = moved.gaze + torch.tensor([0.05, 0.0, 0.0])
    moved = replace(moved, gaze=tilted / tilted.norm(dim=-1, keepdim=True))
    none = SmoothedFaces.none(1, smoothed_size(detector.model), found.landmarks)
    state, first = smooth_faces(none, found, found.success)
    _, second = smooth_faces(state, moved, moved.success)
    assert torch.equal(first.gaze, found.gaze)
    torch.testing.assert_close(second.gaze.norm(dim=-1), torch.ones(1, 2))
    step = (second.gaze - found.gaze).norm(dim=-1)
    assert bool((step < 0.7 * (moved.gaze - found.gaze).norm(dim=-1)).all()) and bool((step > 0).all())


def test_it_is_differentiable(photo, box):
    detector = clnf_torch.load()
    frames = photo.float().requires_grad_()
    detector.fit(frames, box).gaze[..., 0].sum().backward()
    assert frames.grad.isfinite().all() and frames.grad.abs().sum() > 0
