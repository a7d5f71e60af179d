"""A world of mottled rectangles: its images, a detector that sees each as a face, one that fits and follows them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from clnf_torch import FitConfig, FitResult, LandmarkDetector, ShapeParams
from clnf_torch.detection.face_detector import FaceBoxes
from clnf_torch.fitting.initialise import params_from_box
from clnf_torch.fitting.mean_shift import UNSEEN
from clnf_torch.tracking import VideoConfig
from tests.factories import make_model

HEIGHT, WIDTH = 120, 200
FACE = (40.0, 40.0)  # width and height of a face whose landmarks fill the rectangle
FIRST = FitConfig(window_sizes=(11, 9))
SINGLE = VideoConfig(preset=FIRST, tracking_windows=(0, 9), single_face=True)
MANY = VideoConfig(preset=FIRST, tracking_windows=(0, 9), detect_every=5, confirm_after=1, delete_after=20)


def mottled(level: int) -> Tensor:
    """A face of a gray level, a multiple of 10, whose pixels differ by up to 9; each level in its own way."""
    rough = torch.rand(1, 1, 8, 8, generator=torch.Generator().manual_seed(level))
    fine = torch.nn.functional.interpolate(rough, (41, 41), mode="bilinear")[0, 0]
    return (level + 10 * (fine - fine.min()) / (fine.max() - fine.min())).clamp_max(level + 9).to(torch.uint8)


def frame(*faces: tuple[float, float, int]) -> Tensor:
    """An image with a rectangle around each centre x, y of its own gray level; the first one is in front."""
    gray = torch.zeros(HEIGHT, WIDTH, dtype=torch.uint8)
    for x, y, level in reversed(faces):
        left, top = round(x - FACE[0] / 2), round(y - FACE[1] / 2)
        place = gray[max(top, 0) : max(top + 41, 0), max(left, 0) : max(left + 41, 0)]
        place.copy_(mottled(level)[max(-top, 0) :, max(-left, 0) :][: place.shape[0], : place.shape[1]])
    return gray


def room(number: int, *faces: tuple[float, float, int]) -> Tensor:
    """As `frame`, in a room of its own: patches that are too small to be faces lie about."""
    gray, rng = frame(*faces), torch.Generator().manual_seed(number)
    for level in range(130, 250, 10):
        x, y = (int(torch.randint(size - 14, (), generator=rng)) for size in (WIDTH, HEIGHT))
        place = gray[y : y + 14, x : x + 14]
        place[place == 0] = level
    return gray


def tens(gray: Tensor) -> Tensor:
    """The level of the face that each pixel belongs to."""
    return gray - gray % 10


def boxes_of(gray: Tensor) -> list[tuple[int, list[float]]]:
    """Gray level and box of every face of an image."""
    found, gray = [], tens(gray)
    for level in gray.unique().tolist():
        rows, columns = (gray == level).nonzero(as_tuple=True)
        if level and len(rows) > 200:
            left, top = columns.min().item(), rows.min().item()
            found.append((level, [left, top, columns.max().item() - left, rows.max().item() - top]))
    return found


@dataclass
class Rectangles:
    """Finds all faces, and counts the frames that it was shown."""

    shown: int = 0

    def detect(self, frames: Tensor) -> FaceBoxes:
        self.shown += len(frames)
        found = [(n, box) for n, gray in enumerate(frames[:, 0]) for _, box in boxes_of(gray)]
        boxes = torch.tensor([box for _, box in found], dtype=torch.float32).view(-1, 4)
        number = torch.tensor([n for n, _ in found], dtype=torch.int64)
        return FaceBoxes(boxes=boxes, score=torch.full((len(found),), 0.9), image_index=number)


@dataclass
class Call:
    """One call of the landmark detector."""

    kind: str
    windows: tuple[int, ...]
    image_index: list[int]


class Fitter(LandmarkDetector):
    """Fits the rectangle that covers most of where it looks; those of the `doubted` gray levels are not believed."""

    def __init__(self, doubted: frozenset[int] = frozenset(), least: int = 200) -> None:
        super().__init__(make_model())
        self.doubted, self.least = doubted, least  # pixels of a face that must be seen
        self.calls: list[Call] = []

    def fit(self, frames, boxes, image_index=None, *, preset="default", multi_view=None, **_) -> FitResult:
        assert multi_view
        self.calls.append(Call("fit", preset.window_sizes, image_index.tolist()))
        boxes = boxes.double()
        params = params_from_box(self.model.pdm, boxes, torch.zeros(len(boxes), 3, dtype=torch.float64))
        return self._look(frames, params, boxes, image_index, margin=0.0)

    def fit_with_own_success(self, frames, boxes, image_index=None, **settings) -> tuple[FitResult, Tensor]:
        result = self.fit(frames, boxes, image_index, **settings)
        return result, result.success

    def fit_from_params(self, frames, params, image_index=None, *, preset="tracking", **_) -> FitResult:
        self.calls.append(Call("fit_from_params", preset.window_sizes, image_index.tolist()))
        landmarks = self.model.pdm.landmarks(params)
        corner = landmarks.amin(1)
        boxes = torch.cat((corner, landmarks.amax(1) - corner), -1)
        margin = 10.0 if preset.window_sizes[0] else 5.0
        return self._look(frames, params, boxes, image_index, margin)

    def _look(self, frames, params: ShapeParams, boxes, image_index, margin: float) -> FitResult:
        """The rectangle that shows most of itself in each box."""
        hits, found = [], []
        for n, box in zip(image_index.tolist(), boxes.tolist(), strict=True):
            best = self._best(frames[n, 0], box, margin) if n >= 0 else None
            hits.append(best is not None and best[0] not in self.doubted)
            found.append(best[1] if best else [torch.nan] * 4)
        upright = torch.zeros(len(found), 3, dtype=torch.float64)
        there = params_from_box(self.model.pdm, torch.tensor(found, dtype=torch.float64).view(-1, 4), upright)
        unreadable = torch.tensor([n < 0 for n in image_index.tolist()], dtype=torch.bool)
        params = there.where(there.finite(), params.where(~unreadable, params.filled(torch.nan)))
        rows, success = len(found), torch.tensor(hits, dtype=torch.bool)
        return FitResult(
            landmarks=self.model.pdm.landmarks(params),
            params=params,
            likelihood=success.double(),
            landmark_likelihoods=torch.full((rows, 5), UNSEEN, dtype=torch.float64),
            view=torch.zeros(rows, dtype=torch.int64),
            visible=torch.ones(rows, 5, dtype=torch.bool),
            hypothesis=torch.zeros(rows, dtype=torch.int64),
            confidence=0.1 + 0.8 * success.double(),
            success=success,
            parts={},
        )

    def _best(self, gray: Tensor, box: list[float], margin: float) -> tuple[int, list[float]] | None:
        x, y, width, height = box
        rows = slice(max(round(y - margin), 0), max(round(y + height + margin), 0))
        columns = slice(max(round(x - margin), 0), max(round(x + width + margin), 0))
        counts = tens(gray)[rows, columns].flatten().long().bincount(minlength=256)
        counts[0] = 0
        level = int(counts.argmax())
        return next((each for each in boxes_of(gray) if each[0] == level), None) if counts[level] > self.least else None
