"""BlazeFace, MediaPipe's face detector: one network over the whole frame, for a hundredth of a second on one core."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from clnf_torch.detection.blazeface_networks import NETWORKS, FullRange, ShortRange, anchor_centres
from clnf_torch.detection.face_detector import FaceBoxes
from clnf_torch.detection.letterbox import Letterbox, letterboxed
from clnf_torch.geometry.boxes import box_iou
from clnf_torch.geometry.frames import Frames, as_frames, warn_of_unit_range
from clnf_torch.geometry.precision import in_own_precision, refuse_short_numbers
from clnf_torch.geometry.records import Rows
from clnf_torch.geometry.settings import check_settings
from clnf_torch.geometry.suppression import without_rivals
from clnf_torch.models.batch_invariant import in_fast_order, ordered_for_device
from clnf_torch.models.schema import SchemaError

# In bundles: the kind of detector; and the name under which one is installed
KIND = "blazeface"
# From keypoints, in widths and heights of the box around its centre, and 1, to left, top, right and bottom
FEATURES = 13
# Of a face: its box's centre and size, and six keypoints
POINTS = 8
# Frames shown to the network at once. On the CPU one, no slower than several, and rounded alone as among others
CPU_FRAMES, CUDA_FRAMES = 1, 256
# Candidates of a frame that are compared, and passes of non-maximum suppression; doubled where they do not suffice
CANDIDATES, PASSES = 64, 6
# Pairs of candidates that are compared at once, about 120 bytes each: 1,024 frames of `CANDIDATES`
PAIRS = 1 << 22


@dataclass(frozen=True, kw_only=True)
class BlazeFaceConfig:
    """Settings of the detector; the defaults are those of MediaPipe's full range."""

    network: str = "full_range"  # or "short_range", for a face close to the camera
    threshold: float = 0.6  # least probability of a face
    max_iou: float = 0.3  # boxes that overlap by more are one face; their mean is taken

    def __post_init__(self) -> None:
        """Refuses settings without sense."""
        check_settings(self)
        if self.network not in NETWORKS:
            raise ValueError(f"network is {self.network!r:.60}; expected {' or '.join(map(repr, NETWORKS))}")
        if not (0 < self.threshold < 1 and 0 < self.max_iou < 1):
            raise ValueError(f"threshold is {self.threshold}, max_iou {self.max_iou}; expected numbers between 0 and 1")


@dataclass(frozen=True)
class Keypoints(Rows):
    """Faces as BlazeFace describes them.

    Attributes:
        points: Centre of a box; its width and height; eyes (the image's left one first), tip of the nose, middle of the
            mouth, ears; x and y in pixels, shape (K, 8, 2).
        score: Probability of a face, shape (K,).
        image_index: Which of the frames each is in, int64, shape (K,).
    """

    points: Tensor
    score: Tensor
    image_index: Tensor

    def in_frame(self, box: Letterbox) -> "Keypoints":
        """Those in the network's square as they lie in the frame."""
        low, size = box.to_frame(self.points[:, :1] - self.points[:, 1:2] / 2), self.points[:, 1:2]
        high = box.to_frame(self.points[:, :1] + size / 2)
        points = torch.cat(((low + high) / 2, high - low, box.to_frame(self.points[:, 2:])), 1)
        return replace(self, points=points)


class BlazeFace(nn.Module):
    """Finds faces in all frames of a batch at once, on the device that the detector is on.

    Args:
        network: Maps images to logits and regressions of its anchors.
        to_landmarks: From the keypoints (x and y of six, in widths and heights of the box from its centre, and 1) to
            left, top, right and bottom of 68 landmarks, likewise, shape (4, 13).
        config: Settings; `network` is the name of the first argument.

    Source:
        V. Bazarevsky, Y. Kartynnik, A. Vakunov, K. Raveendran, M. Grundmann, *BlazeFace: Sub-millisecond Neural Face
        Detection on Mobile GPUs*, 2019; the full range: MediaPipe's model card.
    """

    anchors: Tensor
    to_landmarks: Tensor

    def __init__(
        self, network: ShortRange | FullRange, to_landmarks: Tensor, config: BlazeFaceConfig | None = None
    ) -> None:
        super().__init__()
        self.network, self.config = network, config or BlazeFaceConfig()
        self.register_buffer("to_landmarks", to_landmarks)
        self.register_buffer("anchors", anchor_centres(network.anchors).to(to_landmarks))
        self._candidates, self._passes = CANDIDATES, PASSES

    def to_record(self) -> dict[str, Any]:
        """The detector as a bundle holds it: the network that it uses, and its settings."""
        weights = {name: value.detach().cpu().contiguous() for name, value in self.network.state_dict().items()}
        network = {"weights": weights, "to_landmarks": self.to_landmarks.cpu()}
        return {"kind": KIND, "networks": {self.config.network: network}, "config": asdict(self.config)}

    @classmethod
    def from_record(
        cls, record: Mapping[str, Any], dtype: torch.dtype = torch.float32, config: BlazeFaceConfig | None = None
    ) -> "BlazeFace":
        """The detector in a bundle's ``face_detector``.

        Args:
            record: ``kind``, ``networks`` and perhaps ``config``; ``converters/README.md`` describes them.
            dtype: Number type of the arithmetic.
            config: Settings; None: those that the record names.

        Raises:
            SchemaError: A field is missing, or the weights are not the network's.
        """
        config = config or BlazeFaceConfig(**record.get("config", {}))
        found = record["networks"].get(config.network)
        if found is None:
            raise SchemaError(f"face_detector.networks: holds no {config.network}, but {', '.join(record['networks'])}")
        with torch.device("meta"):
            network = NETWORKS[config.network]()
        weights = {name: value.to(dtype) for name, value in found["weights"].items()}
        expected = {name: value.shape for name, value in network.state_dict().items()}
        wrong = sorted(set(expected) ^ set(weights)) or sorted(n for n in expected if weights[n].shape != expected[n])
        if wrong:
            raise SchemaError(
                f"face_detector.networks.{config.network}.weights: {wrong[0]} is not the network's; use a newer version"
            )
        fast = {name: in_fast_order(value) if value.ndim == 4 else value for name, value in weights.items()}
        network.load_state_dict(fast, assign=True)
        return cls(network, found["to_landmarks"].to(dtype), config).eval().requires_grad_(False)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "BlazeFace":
        """What `to`, `half` and their like do to all tensors; see `refuse_short_numbers`."""
        refuse_short_numbers(fn, self.to_landmarks)
        with ordered_for_device(self.network):
            super()._apply(fn, recurse)
        return self

    @in_own_precision
    @torch.no_grad()
    def detect(self, frames: Frames) -> FaceBoxes:
        """Faces in frames, their boxes those of 68 landmarks.

        Args:
            frames: Gray (F, H, W) or RGB (F, 3, H, W) images, uint8 or floating point in 0 to 255. A frame with numbers
                that are not finite has no faces.

        Returns:
            The faces, by frame, the surest first.

        Raises:
            ValueError: The frames have another shape or number type.
        """
        found = self.keypoints(frames)
        corners = landmark_corners(found.points, self.to_landmarks)
        boxes = torch.cat((corners[:, 0], corners[:, 1] - corners[:, 0]), -1)
        return FaceBoxes(boxes=boxes, score=found.score, image_index=found.image_index)

    @in_own_precision
    @torch.no_grad()
    def keypoints(self, frames: Frames) -> Keypoints:
        """Faces in frames as BlazeFace describes them; arguments and errors as of `detect`."""
        frames = as_frames(frames)
        warn_of_unit_range(self, frames)
        frames = frames.to(self.anchors.device)
        if not frames.numel():
            none = self.anchors.new_zeros(0)
            return Keypoints(none.view(0, POINTS, 2), none, none.long())
        box = Letterbox.of(frames.shape[2], frames.shape[3], self.network.side)
        images = letterboxed(frames, box, self.network.side, self.anchors.dtype)
        logits, regressions = self.answers(images, finite=not frames.is_floating_point())
        while True:
            found, kept, needed = self.candidates(logits, regressions)
            # All that the host waits for; where there was too little room, the candidates are compared again
            most, unsettled, faces = needed.tolist()
            if most <= self._candidates and not unsettled:
                # Those that are kept come first, in their order
                return found[(~kept).long().argsort(stable=True)[:faces]].in_frame(box)
            self._candidates = max(self._candidates, 2 * most)
            self._passes *= 2 if unsettled else 1

    def answers(self, images: Tensor, finite: bool = False) -> tuple[Tensor, Tensor]:
        """Logits (F, A) and regressions (F, A, 16) of frames from `letterboxed`; of those not finite, of no face.

        Args:
            images: The frames.
            finite: Whether it is known that all are finite.
        """
        at_once = CPU_FRAMES if images.device.type == "cpu" else CUDA_FRAMES
        answers = [self.network(some) for some in images.split(at_once)]
        logits, regressions = (torch.cat(parts) for parts in zip(*answers, strict=True))
        if finite:
            return logits, regressions
        valid = images.isfinite().flatten(1).all(1)
        return torch.where(valid[:, None], logits, -torch.inf), torch.where(valid[:, None, None], regressions, 0.0)

    def candidates(self, logits: Tensor, regressions: Tensor) -> tuple[Keypoints, Tensor, Tensor]:
        """The surest anchors of each frame, after weighted non-maximum suppression.

        Args:
            logits: Of A anchors, shape (F, A).
            regressions: From their centres, in the network's pixels, shape (F, A, 16).

        Returns:
            As many of each frame, by frame from the best to the worst, in pixels of the network's square; which are
            faces, bool; and whole numbers, int64, shape (3,): the most above the threshold in a frame, how many the
            last pass changed, and how many are faces.
        """
        score = logits.sigmoid()
        best, index = score.topk(min(self._candidates, score.shape[1]), dim=1)
        points = regressions.gather(1, index[..., None].expand(-1, -1, regressions.shape[2])).unflatten(2, (-1, 2))
        centre = self.network.side * self.anchors[index][:, :, None]
        # Sizes are not counted from anywhere
        start = torch.cat((centre, torch.zeros_like(centre), centre.expand(-1, -1, POINTS - 2, -1)), 2)
        valid = best > self.config.threshold
        kept, points, unsettled = merged(points + start, best * valid, valid, self.config.max_iou, self._passes)
        needed = torch.stack(((score > self.config.threshold).sum(1).amax(), unsettled, kept.sum()))
        frame = torch.arange(len(score), device=score.device).repeat_interleave(best.shape[1], output_size=best.numel())
        return Keypoints(points.flatten(0, 1), best.flatten(), frame), kept.flatten(), needed


def merged(points: Tensor, weight: Tensor, valid: Tensor, max_iou: float, passes: int) -> tuple[Tensor, Tensor, Tensor]:
    """Weighted non-maximum suppression: those that overlap the best one are averaged with it.

    Args:
        points: Centre, width and height, and keypoints, by frame from the best to the worst, shape (F, K, P, 2).
        weight: Of each in a mean, shape (F, K).
        valid: Rows that hold a box, bool, shape (F, K).
        max_iou: The `box_iou` that two kept boxes may have.
        passes: As for `without_rivals`.

    Returns:
        Which are kept, bool, shape (F, K); their means, shape (F, K, P, 2); and how many the last pass changed.

    Source:
        MediaPipe ``NonMaxSuppressionCalculator`` with ``algorithm: WEIGHTED``.
    """
    # Frames do not see each other, and memory does not grow with their number
    together = max(1, PAIRS // max(1, weight.shape[1] ** 2))
    blocks = zip(points.split(together), weight.split(together), valid.split(together), strict=True)
    found = [_merged_together(*block, max_iou, passes) for block in blocks]
    kept, means, unsettled = (list(parts) for parts in zip(*found, strict=True))
    return torch.cat(kept), torch.cat(means), torch.stack(unsettled).sum()


def _merged_together(
    points: Tensor, weight: Tensor, valid: Tensor, max_iou: float, passes: int
) -> tuple[Tensor, Tensor, Tensor]:
    """As `merged`, all frames at once."""
    frames, count = weight.shape
    boxes = torch.cat((points[:, :, 0] - points[:, :, 1] / 2, points[:, :, 1]), -1)
    close = (box_iou(boxes[:, :, None], boxes[:, None]) > max_iou) & valid[:, None] & valid[:, :, None]
    rank = torch.arange(count, device=weight.device)
    better = close & (rank < rank[:, None])
    rows = torch.arange(frames * count, device=weight.device).view(frames, 1, count)
    rivals = torch.where(better, rows, frames * count).flatten(0, 1)
    kept, unsettled = without_rivals(rivals, passes)
    kept = kept.view(frames, count) & valid
    # Each goes to the best of the kept ones that it overlaps, itself if it is kept
    group = close & kept[:, None]
    group = group & (group.cumsum(2) == 1)
    share = torch.where(group, weight[:, :, None], 0.0).mT
    total = share.sum(2, keepdim=True)
    share = share / torch.where(total > 0, total, 1.0)
    # Not a matrix product, which rounds a frame's numbers by how many others there are
    means = (share[..., None] * points.flatten(2)[:, None]).sum(2).view_as(points)
    return kept, means, unsettled


def landmark_corners(points: Tensor, to_landmarks: Tensor) -> Tensor:
    """Left and top, right and bottom of 68 landmarks (R, 2, 2) of faces (R, 8, 2); see `BlazeFace` and `Keypoints`."""
    centre, size = points[:, :1], points[:, 1:2]
    sides = (keypoint_features(points)[:, None] * to_landmarks).sum(2)
    return centre + size * sides.unflatten(1, (2, 2))


def keypoint_features(points: Tensor) -> Tensor:
    """What `landmark_corners` multiplies, (R, 13): keypoints from their box's centre, in its sizes, and 1."""
    size = torch.where(points[:, 1:2] > 0, points[:, 1:2], 1.0)
    return pad(((points[:, 2:] - points[:, :1]) / size).flatten(1), (0, 1), value=1.0)
