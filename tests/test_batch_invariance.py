"""The default model's numbers are the same to the last bit alone, in any batch, in any order, again and on two threads.

Every entry point is asked about faces and frames in random batches, among them a frame of NaN, an infinite box, a box
far outside and an image of one gray level, and compared with what it says of each of them alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

import clnf_torch
from clnf_torch import ShapeParams, VideoConfig, VideoTracker
from clnf_torch.fitting.images import ImageBatch

# The astronaut's face in the image of the documentation: x, y, width, height
BOX = (172.0, 62.0, 110.0, 120.0)
FEW = settings(
    max_examples=2, deadline=None, derandomize=True, database=None, suppress_health_check=[HealthCheck.too_slow]
)
# Rows of `Scene.boxes`, with repetition and in any order
ROWS = st.lists(st.integers(0, 7), min_size=2, max_size=5)
# Frames of `Scene.frames`
FRAMES = st.lists(st.integers(0, 3), min_size=2, max_size=5)


class Scene:
    """Frames, the last two of them poisoned, and boxes in them, the last four of them poisoned."""

    def __init__(self) -> None:
        cv2 = pytest.importorskip("cv2")
        path = Path(__file__).resolve().parent.parent / "docs" / "images" / "astronaut.jpg"
        rgb = torch.from_numpy(cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)).permute(2, 0, 1).float()
        face = rgb[:, 20:260, 110:350]
        flipped = face.flip(-1) * 0.7 + 20
        self.frames = torch.stack((face, flipped, torch.full_like(face, torch.nan), torch.full_like(face, 128.0)))
        box = torch.tensor(BOX) - torch.tensor((110.0, 20.0, 0.0, 0.0))
        boxes = box + torch.randn(8, 4, generator=torch.Generator().manual_seed(0)) * 5
        self.image_index = torch.tensor([0, 1, 0, 1, 2, 0, 1, 3])
        boxes[1::2, 0] = 240 - boxes[1::2, 0] - boxes[1::2, 2]
        boxes[5, 2], boxes[6, 0] = torch.inf, 1e7
        self.boxes = boxes
        self.detector, self.face_detector = clnf_torch.load(), clnf_torch.load_face_detector()
        self.alone: dict[str, dict[int, Any]] = {}
        self.threaded: set[str] = set()
        with torch.inference_mode():
            self.fitted = self.detector.fit(self.frames, boxes, self.image_index)


@pytest.fixture(scope="module")
def scene() -> Scene:
    return Scene()


def leaves(record: Any) -> list[Tensor]:
    """The tensors of a record, in order."""
    if isinstance(record, Tensor):
        return [record]
    if isinstance(record, dict):
        return leaves(list(record.values()))
    if isinstance(record, (list, tuple)):
        return [leaf for value in record for leaf in leaves(value)]
    if is_dataclass(record):
        return [leaf for field in fields(record) for leaf in leaves(getattr(record, field.name))]
    return []


def check_same(found: Any, expected: Any) -> None:
    """All tensors of two records are equal to the last bit; a NaN equals a NaN."""
    assert leaves(expected)
    for one, other in zip(leaves(found), leaves(expected), strict=True):
        assert torch.equal(one.isnan(), other.isnan()) and torch.equal(one.nan_to_num(), other.nan_to_num())


class Columns(list[Tensor]):
    """Tensors with a row per face, of which rows are taken together."""

    def __getitem__(self, rows: Tensor) -> Columns:
        return Columns(column[rows] for column in self)


@torch.inference_mode()
def check_rows(scene: Scene, name: str, call: Callable[[Tensor], Any], rows: Sequence[int]) -> None:
    """A call about rows says what it says of each alone; in the first example on two threads too."""
    alone = scene.alone.setdefault(name, {})
    for row in sorted(set(rows) - set(alone)):
        alone[row] = call(torch.tensor([row]))
    together = call(torch.tensor(rows))
    for place, row in enumerate(rows):
        check_same(together[torch.tensor([place])], alone[row])
    if name not in scene.threaded:
        scene.threaded.add(name)
        check_same(on_other_threads(lambda: call(torch.tensor(rows))), together)


def on_other_threads(call: Callable[[], Any]) -> Any:
    """What a call says on two threads, or on one where there are more."""
    before = torch.get_num_threads()
    torch.set_num_threads(2 if before == 1 else 1)
    try:
        return call()
    finally:
        torch.set_num_threads(before)


@FEW
@given(rows=ROWS)
def test_fit(scene: Scene, rows: list[int]) -> None:
    check_rows(
        scene, "fit", lambda some: scene.detector.fit(scene.frames, scene.boxes[some], scene.image_index[some]), rows
    )


def test_the_poisoned_rows_are_poisoned(scene: Scene) -> None:
    assert scene.fitted.success.tolist() == [True] * 4 + [False] * 4


@FEW
@given(rows=ROWS)
def test_refit(scene: Scene, rows: list[int]) -> None:
    start = scene.fitted.landmarks + 2
    start[7, 5:] = torch.nan
    check_rows(
        scene,
        "refit",
        lambda some: scene.detector.fit_from_landmarks(scene.frames, start[some], scene.image_index[some]),
        rows,
    )


@FEW
@given(rows=ROWS)
def test_track(scene: Scene, rows: list[int]) -> None:
    params = scene.fitted.params
    moved = ShapeParams(params.scale, params.rotation, params.translation + 3, params.local)
    check_rows(
        scene,
        "track",
        lambda some: scene.detector.fit_from_params(scene.frames, moved[some], scene.image_index[some]),
        rows,
    )


@FEW
@given(rows=ROWS)
def test_validate(scene: Scene, rows: list[int]) -> None:
    landmarks = torch.where(scene.boxes.isfinite().all(-1)[:, None, None], scene.fitted.landmarks[:1], torch.nan)
    landmarks, rotation = landmarks.roll(3, 0), scene.fitted.params.rotation[:1].expand(8, -1)
    detector = scene.detector

    def validate(some: Tensor) -> Columns:
        images = ImageBatch(scene.frames.mean(1), scene.image_index[some])
        return Columns([detector.validator(images, rotation[some], landmarks[some], detector.numerics)])

    check_rows(scene, "validate", validate, rows)


@FEW
@given(rows=ROWS)
def test_repair(scene: Scene, rows: list[int]) -> None:
    given_landmarks = scene.fitted.landmarks.clone()
    given_landmarks[::3, 40:60] += 25

    def repair(some: Tensor) -> Columns:
        index = scene.image_index[some]
        landmarks = given_landmarks[some]
        return Columns(
            leaves(clnf_torch.repair_landmarks(landmarks, scene.detector, scene.frames, index, multi_view=False))
        )

    check_rows(scene, "repair", repair, rows)


@FEW
@given(frames=FRAMES)
def test_detect(scene: Scene, frames: list[int]) -> None:
    together = scene.face_detector.detect(scene.frames[frames])
    assert len(together.boxes) == sum(frame < 2 for frame in frames)
    for place, frame in enumerate(frames):
        alone = scene.face_detector.detect(scene.frames[frame : frame + 1])
        here = together.image_index == place
        check_same((alone.boxes, alone.score), (together.boxes[here], together.score[here]))


@FEW
@given(videos=st.lists(st.lists(st.integers(0, 3), min_size=2, max_size=2), min_size=2, max_size=2))
def test_track_videos(scene: Scene, videos: list[list[int]]) -> None:
    """Side by side, and each by itself."""
    tracker = VideoTracker(scene.detector, scene.face_detector, VideoConfig(confirm_after=1, multi_view=False))
    state, together = tracker.begin(len(videos)), []
    for moment in range(2):
        state, result = tracker.step(state, scene.frames[[video[moment] for video in videos]])
        together.append(result)
    for number, video in enumerate(videos):
        state = tracker.begin(1)
        for moment, frame in enumerate(video):
            state, alone = tracker.step(state, scene.frames[frame : frame + 1])
            here = together[moment].video == number
            check_same(alone.faces, together[moment].faces[here])
