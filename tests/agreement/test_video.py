"""Twelve frames of a video, the ninth of them blank, against OpenFace's tracker: its state after every frame."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import NamedTuple

import cv2
import pytest
import torch
from torch import Tensor

import clnf_torch
from clnf_torch import FitConfig
from clnf_torch.converters import convert
from clnf_torch.detection import FaceBoxes, FaceDetector, load_face_detector
from clnf_torch.tracking import TrackState, VideoConfig, VideoResult, VideoTracker
from tests.agreement.golden import Golden
from tests.agreement.measure import Agreement
from tests.agreement.photographs import distances

FRAMES, BLANK = 12, 8
MAIN = {"cen_derived": "main_ceclm_general.txt", "ccnf_general": "main_clnf_general.txt"}


class Watched:
    """A face detector that counts the frames that it is shown."""

    def __init__(self, detector: FaceDetector) -> None:
        self.detector, self.shown = detector, 0

    def detect(self, frames: Tensor) -> FaceBoxes:
        self.shown += len(frames)
        return self.detector.detect(frames)


class Run(NamedTuple):
    """Our tracker beside OpenFace's, frame by frame."""

    golden: Golden
    tracker: VideoTracker
    states: list[TrackState]
    results: list[VideoResult]
    searched: list[bool]

    @property
    def chaotic(self) -> bool:
        """With the stand-in experts, whose iterations are decided by a hair."""
        return "inner/landmarks" not in self.golden.below("frame0")

    def theirs(self, key: str) -> list[int]:
        """A whole number of every frame."""
        return [int(self.golden.below(f"frame{i}").number(key)) for i in range(FRAMES)]


@pytest.fixture(scope="module")
def video(shared: Path) -> Tensor:
    """RGB frames, uint8, shape (12, 3, H, W)."""
    files = [shared / "images" / "video" / f"f{i:02}.png" for i in range(FRAMES)]
    return torch.stack([torch.from_numpy(cv2.imread(str(file))[..., ::-1].copy()).permute(2, 0, 1) for file in files])


def config_of(golden: Golden) -> VideoConfig:
    """The settings that OpenFace ran with."""
    params = golden.below("params")
    assert params.number("validate") == params.number("refine_hierarchical") == params.number("refine_parameters") == 1
    fit = FitConfig(
        window_sizes=tuple(int(window) for window in params.numbers("window_sizes_init")),
        iterations=int(params.number("n_iter")),
        sigma=params.number("sigma"),
        regularisation=params.number("reg_factor"),
        weight_factor=params.number("weight_factor"),
    )
    return VideoConfig(
        preset=fit,
        tracking_windows=tuple(int(window) for window in params.numbers("window_sizes_small")),
        single_face=True,
        redetect_every=int(params.number("reinit_video_every")),
        template=bool(params.number("use_face_template")),
    )


@pytest.fixture(scope="module")
def bundle(openface_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Whole models by name, with parts, validator and face detector, converted here and now."""
    folder = tmp_path_factory.mktemp("whole_models")

    @cache
    def path(model: str) -> Path:
        convert(openface_models / MAIN[model], folder / f"{model}.pt")
        return folder / f"{model}.pt"

    return path


@pytest.fixture(scope="module", params=[f"video_{model}_{start}" for model in MAIN for start in ("bbox", "mtcnn")])
def run(request, golden: Callable, bundle: Callable, video: Tensor) -> Run:
    """The video, from OpenFace's box or from nothing."""
    values, model = golden(request.param), request.param.removeprefix("video_").rsplit("_", 1)[0]
    faces = Watched(load_face_detector(bundle(model)))
    tracker = VideoTracker(clnf_torch.load(bundle(model)), faces, config_of(values))
    state, states, results, searched = tracker.begin(), [], [], []
    if "in_bbox" in values:
        state = tracker.place(state, values["in_bbox"])
    for frame in video:
        before = faces.shown
        state, result = tracker.step(state, frame[None])
        states.append(state)
        results.append(result)
        searched.append(faces.shown > before)
    return Run(values, tracker, states, results, searched)


def test_states_of_the_machine(run: Run):
    """What the frame function returned, what the model remembers, and the counter of failures."""
    assert [int(result.success.item()) for result in run.results] == run.theirs("success")
    assert [int(state.tracks.success.item()) for state in run.states] == run.theirs("detection_success")
    assert [int(state.tracks.initialised.item()) for state in run.states] == run.theirs("tracking_initialised")
    assert [state.tracks.missed_frames.item() for state in run.states] == run.theirs("failures_in_a_row")


def test_the_face_is_searched_in_the_same_frames(run: Run):
    """OpenFace searches where it has no face yet, and where its counter of failures is even."""
    first = [i == 0 and "in_bbox" not in run.golden for i in range(FRAMES)]
    failed = [failures >= 0 and failures % 2 == 0 for failures in run.theirs("failures_in_a_row")]
    assert run.searched == [a or b for a, b in zip(first, failed, strict=True)]
    assert [result.detected.item() for result in run.results] == first  # the blank frame has no face


def test_each_frame_from_openfaces_state(run: Run, video: Tensor, agree: Agreement):
    """One step from what OpenFace knew before: no difference is handed on."""
    for i in range(1, FRAMES):
        if i == BLANK:
            continue
        _, result = run.tracker.step(openfaces_state(run, i - 1), video[i : i + 1])
        apart = distances(result.faces.landmarks, run.golden.below(f"frame{i}").points("landmarks"))
        agree.holds("video, one frame: mean distance, px", apart.mean().item(), within=0.03, note=f"frame {i}")
        agree.holds("video, one frame: largest distance, px", apart.max().item(), within=0.2, note=f"frame {i}")


def openfaces_state(run: Run, i: int) -> TrackState:
    """What OpenFace knew after a frame, as our state."""
    golden, state = run.golden.below(f"frame{i}"), run.states[i]
    tracks = replace(
        state.tracks,
        params=golden.params("params_global", "params_local"),
        landmarks=golden.points("landmarks"),
        success=golden["detection_success"].bool(),
        initialised=golden["tracking_initialised"].bool(),
        missed_frames=golden["failures_in_a_row"].long(),
    )
    return replace(state, tracks=tracks)


def test_landmarks(run: Run, agree: Agreement):
    """Frame after frame from our own state.

    A fit hands on more than it was given wherever its iterations are decided by a hair: with the stand-in experts a
    start that is 0.01 px off moves single landmarks of frames 9 and 11 by 0.3 to 0.4 px, and frame 9 starts from where
    both trackers followed noise on the blank one. So after it the stand-ins are 0.6 to 1.2 px away at the worst
    landmark, depending on number type and threads (0.01 px from OpenFace's own state, see the test above). Before it
    they were up to 0.73 px away, at the worst landmark of frame 6, in seven orders of summation (torch forms and
    compiled loops, patches normalised in float32 and in float64). With CCNF no landmark is more than 0.6 px away.
    """
    for i in set(range(FRAMES)) - {BLANK}:
        apart = distances(run.results[i].faces.landmarks, run.golden.below(f"frame{i}").points("landmarks"))
        if run.chaotic:
            where, mean, largest = ("after blank", 0.5, 2.0) if i > BLANK else ("handed on, stand-ins", 0.15, 1.0)
        else:
            where, mean, largest = "handed on", 0.15, 0.6
        agree.holds(f"video, {where}: mean distance, px", apart.mean().item(), within=mean, note=f"frame {i}")
        agree.holds(f"video, {where}: largest distance, px", apart.max().item(), within=largest, note=f"frame {i}")


def test_confidences(run: Run, agree: Agreement):
    """They take the values of the validator's bins only: the same bin.

    With the stand-ins one frame may fall into the bin beside it: in four of those seven orders of summation one did,
    frame 10 or 11, whose landmarks no two orders have alike.
    """
    theirs = torch.stack([run.golden.below(f"frame{i}")["detection_certainty"].flatten()[0] for i in range(FRAMES)])
    apart = (torch.stack([result.faces.confidence[0] for result in run.results]) - theirs).abs()
    agree.holds(
        "video: confidences in another bin, frames", (apart > 1e-4).sum().item(), within=1 if run.chaotic else 0
    )
    agree.holds("video: confidence, largest difference", apart.max().item(), within=0.0501 if run.chaotic else 1e-4)


def test_views(run: Run):
    """Of the tracked frames. OpenFace: after a search over rotations it reports the view of the last one tried."""
    tracked = [i for i in range(FRAMES) if i != BLANK and not run.results[i].detected.item()]
    ours, theirs = [result.faces.view.item() for result in run.results], run.theirs("view_used")
    assert [ours[i] for i in tracked] == [theirs[i] for i in tracked]


@pytest.mark.parametrize("part", ["left_eye_28", "right_eye_28"])
def test_eyes(run: Run, part: str, agree: Agreement):
    for i in range(FRAMES):
        theirs = run.golden.below(f"frame{i}/{part}").points("landmarks")
        apart = distances(run.results[i].faces.parts[part].landmarks, theirs)
        if i != BLANK:
            agree.holds("video: eyes, largest distance, px", apart.max().item(), within=1.0, note=f"frame {i}")
