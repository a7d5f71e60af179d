"""The calls that are timed and profiled, each made ready on a device: fits, face detection, tracking."""

from collections.abc import Callable
from copy import copy
from functools import cached_property

import torch
from torch import Tensor

from benchmarks.gpu.correctness import moved
from benchmarks.gpu.faces import SIDE
from benchmarks.gpu.material import Material, jittered
from clnf_torch import LandmarkDetector, VideoTracker, load_face_detector
from clnf_torch.detection.mtcnn import MTCNN
from clnf_torch.fitting import compiled as searching
from clnf_torch.models import compiled as responding

Call = Callable[[], object]
HEIGHTS = {"720p": (720, 1280), "1080p": (1080, 1920)}
QUICK_HEIGHTS = {"720p": (240, 426), "1080p": (300, 532)}  # as small as two painted faces allow


class Calls:
    """Models and images on a device, and calls with so many faces, images or videos.

    Args:
        material: Where they come from.
        device: Where they go.
    """

    def __init__(self, material: Material, device: torch.device) -> None:
        self.material, self.device = material, device
        self._sizes = QUICK_HEIGHTS if material.quick else HEIGHTS

    @cached_property
    def default(self) -> LandmarkDetector:
        """The default model."""
        return moved(self.material.default(), self.device)

    @cached_property
    def published(self) -> LandmarkDetector:
        """The CE-CLM of the published size."""
        return moved(self.material.published(), self.device)

    @cached_property
    def face_detector(self) -> MTCNN:
        """The default face detector."""
        return load_face_detector(device=self.device)

    @cached_property
    def images(self) -> Tensor:
        """The painted faces, gray, on the device, shape (F, S, S)."""
        return self.material.faces.images[:, None].to(self.device)

    def faces(self, count: int) -> tuple[Tensor, Tensor]:
        """Boxes (B, 4) of so many faces, and the painted image of each (B,), on the device."""
        rows = torch.arange(count) % len(self.images)
        return jittered(self.material.faces.boxes[rows]).to(self.device), rows.to(self.device)

    def main_fit(self, detector: LandmarkDetector, count: int) -> Call:
        """Fits from boxes, without parts and validation."""
        boxes, index = self.faces(count)
        return _inferring(lambda: detector.fit(self.images, boxes, index, parts=False, validate=False))

    def captured_fit(self, detector: LandmarkDetector, count: int) -> Call:
        """As `main_fit`, behind a CUDA graph that is captured beforehand."""
        return self._captured(detector, count, parts=False, validate=False)

    def captured_detection(self, detector: LandmarkDetector, count: int) -> Call:
        """As `detection`, behind a CUDA graph that is captured beforehand."""
        return self._captured(detector, count)

    def _captured(self, detector: LandmarkDetector, count: int, **settings: bool) -> Call:
        """Fits behind a CUDA graph."""
        boxes, index = self.faces(count)
        frames, channels, *size = self.images.shape
        known = {"frames": frames, "channels": channels, "dtype": self.images.dtype}
        fit = detector.captured(count, (size[0], size[1]), **known, **settings)
        fit.frames.copy_(self.images)
        fit.fit(None, boxes, index)
        return lambda: fit.fit(None, boxes, index)

    def detection(self, detector: LandmarkDetector, count: int) -> Call:
        """Fits from boxes, with parts where there are any, and validation."""
        boxes, index = self.faces(count)
        return _inferring(lambda: detector.fit(self.images, boxes, index))

    def tracked_frame(self, detector: LandmarkDetector, count: int) -> Call:
        """Fits from where the faces were, with parts where there are any, and validation."""
        boxes, index = self.faces(count)
        with torch.inference_mode():
            params = detector.fit(self.images, boxes, index, validate=False).params
        return _inferring(lambda: detector.fit_from_params(self.images, params, index))

    def find_faces(self, size: str, count: int) -> Call:
        """Face detection in so many images of two faces each."""
        images = self.scenes(size, count)
        return _inferring(lambda: self.face_detector.detect(images))

    def images_to_landmarks(self, size: str, count: int) -> Call:
        """Face detection and fits, with parts where there are any, and validation."""
        images = self.scenes(size, count)

        def run() -> object:
            found = self.face_detector.detect(images)
            return self.default.fit(images, found.boxes, found.image_index)

        return _inferring(run)

    def tracker_step(self, size: str, count: int) -> Call:
        """The next step of a tracker of so many videos of two faces each; faces are looked for in every tenth."""
        images = self.scenes(size, count)
        tracker = VideoTracker(self.default, self.face_detector)
        state, _ = tracker.step(tracker.begin(count), images)

        def run() -> None:
            nonlocal state
            state, _ = tracker.step(state, images)

        return run

    def scenes(self, size: str, count: int) -> Tensor:
        """RGB images of that size with two painted faces each, uint8, on the device, shape (F, 3, H, W)."""
        height, width = self._sizes[size]
        scenes = torch.full((min(count, 4), height, width), 90, dtype=torch.uint8)
        painted, top = self.material.faces.images, (height - SIDE) // 2
        for number, scene in enumerate(scenes):
            for place in range(2):
                left = (1 + 2 * place) * width // 4 - SIDE // 2
                scene[top : top + SIDE, left : left + SIDE] = painted[(2 * number + place) % len(painted)]
        some = scenes.to(self.device)[:, None].expand(-1, 3, -1, -1)
        return some[torch.arange(count, device=self.device) % len(some)]


def rounding(detector: LandmarkDetector, precision: str) -> LandmarkDetector:
    """The same detector, with its weights, whose experts' products have another precision."""
    other = copy(detector)
    other.precision = precision
    return other


def in_torch(run: Call) -> Call:
    """A call whose searches and experts are torch's many operations, not compiled kernels."""

    def running() -> object:
        searches, experts = searching.kernels, responding.card_kernels
        searching.kernels, responding.card_kernels = (lambda device: None), (lambda device: None)
        try:
            return run()
        finally:
            searching.kernels, responding.card_kernels = searches, experts

    return running


def _inferring(run: Call) -> Call:
    """A call in inference mode."""

    def inferring() -> object:
        with torch.inference_mode():
            return run()

    return inferring
