"""MTCNN, the face detector of bundles."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from clnf_torch.detection.box_tables import Capacity, FixedTables, Tables
from clnf_torch.detection.face_detector import FaceBoxes
from clnf_torch.detection.proposals import Proposals, face_probability, propose
from clnf_torch.detection.pyramid import SUPPORT, PaddedFrames, overlap_of_levels, pyramid_scales
from clnf_torch.geometry.boxes import LARGEST
from clnf_torch.geometry.frames import Frames, as_frames, warn_of_unit_range
from clnf_torch.geometry.precision import in_own_precision, refuse_short_numbers
from clnf_torch.geometry.records import join_rows
from clnf_torch.geometry.settings import check_settings
from clnf_torch.models.layers import Layer, build_network, layer_records, respond_to_all

# In bundles: the kind of detector, and its proposer, refiner and output
KIND, NETWORKS = "mtcnn", ("pnet", "rnet", "onet")
# Sides of what the second and the third network are shown, pixels
REFINE, OUTPUT = 24, 48
# Of two faces
MAX_IOU = 0.7
# Boxes shown to a network at once: what a core's cache holds, or a GPU keeps busy with
CPU_CROPS, CUDA_CROPS = 32, 16384
# Blocks of crops for the third network that are cut at once, which takes as long for a few as for one
CROPS_CUT = 2
# Devices whose numbers the host reads at no cost
READABLE = {"cpu"}
# Numbers of the frames that are searched together: two colour images of 1920 x 1080 and what the networks make of them
CPU_NUMBERS = 1 << 24
Factors = tuple[float, float, float, float]
"""From a box to another: how far right and down, in its widths and heights, and how much wider and higher."""
# OpenFace's, to the extent of 68 landmarks
TO_LANDMARKS: Factors = (-0.0075, 0.2459, 1.0323, 0.7751)


@dataclass(frozen=True, kw_only=True)
class MTCNNConfig:
    """Settings of the detector; the defaults are OpenFace's, which never changes them. A bundle may name others."""

    min_face: float = 60.0  # smallest face to be found, pixels
    thresholds: tuple[float, float, float] = (0.6, 0.7, 0.7)  # least probability after each network
    factor: float = 0.709  # from one size of faces to the next larger one

    def __post_init__(self) -> None:
        """Refuses settings without sense."""
        check_settings(self)
        if not self.min_face >= SUPPORT:
            raise ValueError(f"min_face is {self.min_face}; the networks see faces of at least {SUPPORT} pixels")
        if not 0 < self.factor < 1:
            raise ValueError(f"factor is {self.factor}; expected a ratio between 0 and 1, such as 0.709")


class MTCNN(nn.Module):
    """Finds faces in all frames of a batch at once, on the device that the detector is on.

    Convolutions of float32 are not rounded to TF32 on CUDA, whatever torch's switches say: scores and regressions would
    agree with OpenFace's to about 1e-3 alone.

    Args:
        proposer: Slides over the pyramid; see `propose`.
        refiner: Maps (K, 3, 24, 24) to (K, 6): two logits and four numbers of bounding-box regression.
        output: Maps (K, 3, 48, 48) to at least as many; the rest, five landmarks, is not used.
        config: Settings.
        to_landmarks: From the networks' boxes to the extent of 68 landmarks.

    Source:
        OpenFace ``FaceDetectorMTCNN::DetectFaces``.
    """

    def __init__(
        self,
        proposer: nn.Module,
        refiner: nn.Module,
        output: nn.Module,
        config: MTCNNConfig | None = None,
        to_landmarks: Factors = TO_LANDMARKS,
    ) -> None:
        super().__init__()
        self.proposer, self.refiner, self.output = proposer, refiner, output
        self.config, self.to_landmarks = config or MTCNNConfig(), to_landmarks
        self._capacity = Capacity()

    @staticmethod
    def record(networks: Mapping[str, Sequence[Layer]], **settings: Any) -> dict[str, Any]:
        """The fields of a detector in a bundle; ``converters/README.md`` describes them.

        Args:
            networks: The layers of each of `NETWORKS`; see `layer_records`.
            **settings: ``config``, ``to_landmarks`` and ``licence``, where they are not OpenFace's.
        """
        return {"kind": KIND, **{name: {"layers": list(networks[name])} for name in NETWORKS}, **settings}

    def to_record(self) -> dict[str, Any]:
        """The detector as a bundle holds it, with its settings."""
        networks = {name: layer_records(network) for name, network in zip(NETWORKS, self.children(), strict=True)}
        return self.record(networks, config=asdict(self.config), to_landmarks=list(self.to_landmarks))

    @classmethod
    def from_record(
        cls, record: Mapping[str, Any], dtype: torch.dtype = torch.float32, config: MTCNNConfig | None = None
    ) -> "MTCNN":
        """The detector in a record of `record`.

        Args:
            record: A bundle's ``face_detector``.
            dtype: Number type of the arithmetic.
            config: Settings; None: those that the record names, and OpenFace's for the others.

        Raises:
            KeyError: A field is missing.
            TypeError: It names a setting that is not known.
            ValueError: The detector or one of its layers is of another kind.
        """
        if record["kind"] != KIND:
            found = f"the face detector is {record['kind']!r}, this program knows {KIND!r}"
            raise ValueError(f"{found}; use a newer version")
        proposer, refiner, output = (build_network(record[name]["layers"], dtype) for name in NETWORKS)
        right, down, wider, higher = map(float, record.get("to_landmarks", TO_LANDMARKS))
        config = config or MTCNNConfig(**record.get("config", {}))
        return cls(proposer, refiner, output, config, (right, down, wider, higher)).eval()

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "MTCNN":
        """What `to`, `half` and their like do to all tensors; see `refuse_short_numbers`."""
        refuse_short_numbers(fn, next(self.parameters()))
        return super()._apply(fn, recurse)

    @in_own_precision
    @torch.no_grad()
    def detect(self, frames: Frames) -> FaceBoxes:
        """Faces in frames, their boxes corrected to the extent of 68 landmarks.

        Args:
            frames: Gray (F, H, W) or RGB (F, 3, H, W) images, uint8 or floating point in 0 to 255, as for
                `LandmarkDetector.fit`. A frame with numbers that are not finite has no faces.

        Returns:
            The faces, by frame, the surest first.

        Raises:
            ValueError: The frames have another shape or number type.
        """
        frames = as_frames(frames)
        warn_of_unit_range(self, frames)
        at_once = CPU_NUMBERS // max(1, frames[:1].numel()) if frames.device.type == "cpu" else len(frames)
        if len(frames) <= at_once:
            return self._detect_together(frames)
        found = [self._detect_together(block) for block in frames.split(max(1, at_once))]
        first = range(0, len(frames), max(1, at_once))
        return join_rows(*(replace(f, image_index=f.image_index + n) for f, n in zip(found, first, strict=True)))

    def _detect_together(self, frames: Tensor) -> FaceBoxes:
        """As `detect`, frames (F, C, H, W) all at once."""
        weight = next(self.parameters())
        images = PaddedFrames.of(frames.to(weight.device))
        scales = pyramid_scales(images.height, images.width, self.config.min_face, self.config.factor)
        if not scales or not frames.shape[0]:
            return _no_faces(weight)
        if weight.device.type in READABLE:
            return self._as_boxes(self._cascade(images, scales, Tables()))
        while True:
            tables = FixedTables(self._capacity, len(frames))
            found = self._cascade(images, scales, tables)
            rows, _ = tables.compact(found.holds(), "faces")
            # All that the host waits for; what did not fit into the tables is looked for again
            needed = tables.needed().tolist()
            before, self._capacity = self._capacity, tables.grown(needed)
            if self._capacity == before:
                return self._as_boxes(found[rows[: needed[-1]]])

    def _cascade(self, images: PaddedFrames, scales: list[float], tables: Tables) -> Proposals:
        """Faces in the images, in boxes of MTCNN's own kind."""
        weight = next(self.parameters())
        proposed = propose(self.proposer, images, scales, self.config.thresholds[0], weight.dtype, tables)
        return self.stages(proposed, images, tables)[-1]

    def _as_boxes(self, found: Proposals) -> FaceBoxes:
        """Faces with boxes as large as 68 landmarks."""
        return FaceBoxes(boxes=_moved(found.boxes, self.to_landmarks), score=found.score, image_index=found.image_index)

    def stages(
        self, proposed: Proposals, images: PaddedFrames, tables: Tables | None = None
    ) -> tuple[Proposals, Proposals, Proposals]:
        """From proposals to faces.

        Args:
            proposed: From `propose`.
            images: The frames.
            tables: For the candidates, as for `propose`.

        Returns:
            What the second network is shown, what the third is shown, and the faces: boxes of MTCNN's own kind, from
            forehead to chin, by frame, the surest first.
        """
        _, second, third = self.config.thresholds
        tables = tables or Tables()
        if overlap_of_levels(self.config.min_face, self.config.factor) <= MAX_IOU:
            # Nothing is suppressed
            refine = proposed.best_first()
        else:
            refine = proposed.after_nms(MAX_IOU, tables=tables)
        refine = refine.regressed().squared()
        output = _classify(self.refiner, REFINE, images, refine, second, tables)
        output = output.after_nms(MAX_IOU, tables=tables).regressed().squared()
        faces = _classify(self.output, OUTPUT, images, output, third, tables).regressed(grown=1)
        return refine, output, faces.after_nms(MAX_IOU, of_smaller=True, tables=tables)


def _moved(boxes: Tensor, factors: Factors) -> Tensor:
    """Boxes (K, 4) moved and resized, each by its own width and height."""
    x, y, width, height = boxes.unbind(-1)
    right, down, wider, higher = factors
    return torch.stack((x + right * width, y + down * height, wider * width, higher * height), dim=-1)


def _classify(
    network: nn.Module, side: int, images: PaddedFrames, found: Proposals, threshold: float, tables: Tables
) -> Proposals:
    """The proposals that a network classifies as faces, with its scores and bounding-box regression."""
    patches = _crop_boxes(found.boxes)
    inside = _inside(patches, images)
    rows, valid = tables.trim(inside if found.valid is None else inside & found.valid)
    found, patches = replace(found[rows], valid=valid), patches[rows]
    answers = [found.boxes.new_zeros(0, 6)]
    at_once = CPU_CROPS if patches.device.type == "cpu" else CUDA_CROPS
    cut = at_once * CROPS_CUT * (OUTPUT // side) ** 2
    for k in range(0, len(patches), cut):
        rows = slice(k, k + cut)
        crops = images.patches(found.image_index[rows], patches[rows], (side, side), found.boxes.dtype)
        answers += [answer[:, :6] for answer in respond_to_all(network, crops.split(at_once))]
    answer = torch.cat(answers)
    found = replace(found, score=face_probability(answer), regression=answer[:, 2:])
    return found.compacted(found.score >= threshold, "faces", tables)


def _crop_boxes(boxes: Tensor) -> Tensor:
    """The rectangles that are cropped for the networks around square boxes (K, 4), int64.

    OpenFace: counts pixels from 1, so that a patch begins a pixel before its box and is a pixel larger.
    """
    whole = boxes.nan_to_num(0.0).clamp(-LARGEST, LARGEST).long()
    return torch.cat((whole[:, :2] - 1, whole[:, 2:] + 1), dim=-1)


def _inside(patches: Tensor, images: PaddedFrames) -> Tensor:
    """Patches (K,) that show anything of their frame; OpenFace fails over the others."""
    x, y, width, height = patches.unbind(-1)
    across = (x + width).clamp_max(images.width) > x.clamp_min(0)
    down = (y + height).clamp_max(images.height) > y.clamp_min(0)
    return across & down


def _no_faces(like: Tensor) -> FaceBoxes:
    """Nothing found."""
    image_index = torch.zeros(0, dtype=torch.int64, device=like.device)
    return FaceBoxes(boxes=like.new_zeros(0, 4), score=like.new_zeros(0), image_index=image_index)
