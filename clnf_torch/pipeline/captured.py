"""Fits of always the same shape behind CUDA graphs: a whole fit is launched by one call of the host."""

from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from clnf_torch.geometry.constants import holding
from clnf_torch.geometry.frames import Frames, as_frames, check_frame_type
from clnf_torch.geometry.host import unread
from clnf_torch.geometry.records import map_tensors
from clnf_torch.pipeline.inputs import check_points, image_index_of_each
from clnf_torch.pipeline.result import FitResult

if TYPE_CHECKING:
    from clnf_torch.pipeline.detector import LandmarkDetector

# Numbers of faces that graphs are captured for; a call takes the least that is enough
BUCKETS = (16, 64, 256, 1024)
# Fits before a capture, so that libraries have chosen their algorithms and kernels are compiled
WARM_UPS = 3


class _Graph(NamedTuple):
    """A captured fit of so many faces, with the tensors that it reads and writes."""

    boxes: Tensor
    image_index: Tensor
    result: FitResult
    graph: Any
    held: list[Any]  # what it was captured of: the detector's modules and tensors, and what is kept for later calls


class CapturedFit:
    """`LandmarkDetector.fit` for frames of one size and a bounded number of faces; see `LandmarkDetector.captured`.

    Faces are filled up to the next of 16, 64, 256, 1024 and `max_faces` with rows without a box. On CUDA the fit of
    each such number is captured once, when it is first needed, and replayed from then on. On the CPU the same padded
    fit runs without capture. Weights that change in place are seen; those that are replaced by others are not. With
    other numerics, another precision, refinement or validator of the detector the fit is captured anew.

    Attributes:
        frames: The frames that fits read, shape (F, C, H, W): write into them, like into a ring, to fit without a copy.
    """

    def __init__(
        self,
        detector: "LandmarkDetector",
        max_faces: int,
        frame_size: tuple[int, int],
        frames: int = 1,
        channels: int = 3,
        dtype: torch.dtype = torch.uint8,
        **settings: Any,
    ) -> None:
        if max_faces < 1 or frames < 1 or channels not in (1, 3) or min(frame_size) < 1:
            raise ValueError(
                f"max_faces {max_faces}, frames {frames}, channels {channels}, frame_size {frame_size}: expected at "
                "least one face and frame, 1 or 3 channels, and a height and width of at least 1"
            )
        check_frame_type(dtype)
        if getattr(getattr(settings.get("preset"), "regularisation", None), "ndim", 0):
            raise ValueError(
                "preset has a regularisation per face; a captured fit has any number of faces: give one number"
            )
        self._detector, self._settings = detector, settings
        self._sizes = (*(size for size in BUCKETS if size < max_faces), max_faces)
        self._graphs: dict[Any, _Graph] = {}
        self._pool: Any = None
        device = detector.model.pdm.mean.device
        # To be written in and out of inference mode
        with torch.inference_mode(False):
            self.frames = torch.zeros(frames, channels, *frame_size, dtype=dtype, device=device)

    @torch.inference_mode(False)
    @torch.no_grad()
    def fit(self, frames: Frames | None, boxes: Any, image_index: Any = None) -> FitResult:
        """Landmarks of the faces in boxes; see `LandmarkDetector.fit`.

        Args:
            frames: At most as many as there is room for, of the size, channels and number type that were said; None,
                or `CapturedFit.frames` itself: what has been written there.
            boxes: Shape (B, 4), at most `max_faces` of them.
            image_index: As for `LandmarkDetector.fit`.

        Returns:
            One row per box, in memory of its own.

        Raises:
            ValueError: There are more faces or frames than there is room for, or they are of another shape or type.
        """
        given = self._take(frames)
        boxes = check_points("boxes", boxes, (4,), like=self._detector.model.pdm.mean)
        if len(boxes) > self._sizes[-1]:
            raise ValueError(
                f"{len(boxes)} boxes, but max_faces is {self._sizes[-1]}; give at most so many, or ask for more"
            )
        index = image_index_of_each(self.frames[:given, 0], image_index, len(boxes)).to(boxes.device)
        # Frames of earlier calls are none of this one's
        index = torch.where((index >= 0) & (index < given), index, -1)
        size = next(size for size in self._sizes if size >= len(boxes))
        if self.frames.device.type == "cuda":
            result = self._replay(size, boxes, index)
        else:
            rows = torch.arange(len(boxes), device=boxes.device)
            own_boxes, own_index = self._padded(size)
            result = self._fit(own_boxes.index_copy(0, rows, boxes), own_index.index_copy(0, rows, index.to(own_index)))
        return map_tensors(lambda values: values[: len(boxes)].clone(), result)

    def _take(self, frames: Frames | None) -> int:
        """Writes given frames into the own ones; how many there are."""
        if frames is None or frames is self.frames:
            return len(self.frames)
        frames = as_frames(frames)
        own = self.frames
        # A copy would cut floating point numbers, those from 0 to 1 down to black, without a word
        if len(frames) > len(own) or frames.shape[1:] != own.shape[1:] or frames.dtype != own.dtype:
            raise ValueError(
                f"frames have shape {tuple(frames.shape)} and are {frames.dtype}; this fit was captured for at most "
                f"{len(own)} of shape {tuple(own.shape[1:])} that are {own.dtype}: give such, or other frame_size, "
                "frames, channels or dtype to captured"
            )
        # Frames in pinned memory may be overwritten as soon as the call returns, so that it waits for their copy
        self.frames[: len(frames)].copy_(frames)
        return len(frames)

    def _padded(self, size: int) -> tuple[Tensor, Tensor]:
        """Boxes and frames of so many faces that are none."""
        like = self._detector.model.pdm.mean
        return like.new_full((size, 4), torch.nan), torch.zeros(size, dtype=torch.int64, device=like.device)

    def _fit(self, boxes: Tensor, image_index: Tensor) -> FitResult:
        """The fit itself, which neither reads nor sends anything."""
        with unread():
            return self._detector.fit(self.frames, boxes, image_index, **self._settings)

    def _replay(self, size: int, boxes: Tensor, image_index: Tensor) -> FitResult:
        """The result of a captured fit, in the memory that it always writes to."""
        detector = self._detector
        key = size, detector.numerics, id(detector.model.refinement), id(detector.validator)
        if key not in self._graphs:
            self._graphs[key] = self._capture(size)
        own = self._graphs[key]
        own.boxes.fill_(torch.nan)[: len(boxes)].copy_(boxes)
        own.image_index.zero_()[: len(boxes)].copy_(image_index)
        with torch.cuda.device(own.boxes.device):
            own.graph.replay()
        return own.result

    def _capture(self, size: int) -> _Graph:
        """Captures the fit of so many faces. All graphs share the memory of their intermediate results."""
        boxes, image_index = self._padded(size)
        # A stream of torch's own choice would be one of the current device
        with torch.cuda.device(boxes.device), holding() as held:
            stream = torch.cuda.Stream()
            stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(stream):
                for _ in range(WARM_UPS):
                    self._fit(boxes, image_index)
            torch.cuda.current_stream().wait_stream(stream)
            graph = torch.cuda.CUDAGraph()
            # Other threads may pin memory meanwhile, as those do that decode
            with torch.cuda.graph(graph, pool=self._pool, stream=stream, capture_error_mode="thread_local"):
                result = self._fit(boxes, image_index)
        self._pool = graph.pool()
        return _Graph(boxes, image_index, result, graph, [*held, *_read_by(self._detector)])


def _read_by(detector: "LandmarkDetector") -> list[Any]:
    """What a graph reads of a detector, which may be given other parts and weights later.

    A graph reads the memory that it was captured with. Modules are told by identity, which another one would get.
    """
    modules = [detector.model.refinement, detector.validator]
    return [*modules, *detector.parameters(), *detector.buffers()]
