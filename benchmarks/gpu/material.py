"""What is fitted: models of every family, and images for them, of what the repository holds and of nothing else.

All that this benchmark takes from inside the package and from the tests is imported here and in `published_size`.
"""

import json
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.gpu.checkout import ROOT
from benchmarks.gpu.faces import PaintedFaces, paint_faces
from benchmarks.gpu.published_size import make_published_size
from clnf_torch import FitConfig, LandmarkDetector, LandmarkModel, build_model, load, load_bundle
from clnf_torch.converters import convert
from clnf_torch.detection.validator import DetectionValidator
from clnf_torch.geometry import landmarks68
from clnf_torch.models.landmark_model import Part
from tests import factories, validators
from tests.models.patch_experts import template_factories

FREE_MODEL = ROOT / "tests" / "golden" / "free_model"
MIRROR = torch.tensor(landmarks68.MIRROR)
SMALL = factories.CONFIG  # settings of fits of five landmarks
TEMPLATES = FitConfig(window_sizes=(template_factories.WINDOW,), iterations=3)  # of experts of one scale
MakeDetector = Callable[[torch.dtype, str], LandmarkDetector]


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A model, and faces for it."""

    name: str
    make: MakeDetector  # given a number type and the name of the numerics; on the CPU
    images: Tensor  # gray (F, 1, H, W) or RGB (F, 3, H, W), 0 to 255
    boxes: Tensor  # (B, 4) x, y, width, height, pixels
    image_index: Tensor  # (B,) int64
    preset: str | FitConfig = "default"

    def more(self, faces: int) -> "Subject":
        """The same model and images with so many faces, in boxes that differ by some hundredths."""
        rows = torch.arange(faces) % len(self.boxes)
        boxes = jittered(self.boxes[rows], first=len(self.boxes))
        return Subject(
            name=self.name,
            make=self.make,
            images=self.images,
            boxes=boxes,
            image_index=self.image_index[rows],
            preset=self.preset,
        )


class Material:
    """Models and images, each made when it is first asked for.

    Args:
        quick: Fewer faces, and a CE-CLM of a sixteenth of the published widths.
        folder: For the free model's bundle.
    """

    def __init__(self, quick: bool, folder: Path) -> None:
        self.quick, self._folder = quick, folder
        self._published: dict[torch.dtype, LandmarkModel] = {}  # on the CPU; copies go elsewhere

    @cached_property
    def faces(self) -> PaintedFaces:
        """Painted faces, from the default model's shapes."""
        pdm = load().model.pdm
        return paint_faces(pdm.mean, pdm.modes, pdm.variances, 3 if self.quick else 8)

    @cached_property
    def free_bundle(self) -> Path:
        """The free CEN model, converted."""
        path = self._folder / "free.pt"
        convert(FREE_MODEL, path)
        return path

    def default(self, dtype: torch.dtype = torch.float32, numerics: str = "exact") -> LandmarkDetector:
        """The model that comes along, with its validator."""
        return load(dtype=dtype, numerics=numerics)

    def published(self, dtype: torch.dtype = torch.float32, numerics: str = "openface") -> LandmarkDetector:
        """A CE-CLM of the published size, with the default model's shapes and validator."""
        if dtype not in self._published:
            pdm = load(dtype=dtype).model.pdm
            self._published[dtype] = make_published_size(pdm, MIRROR, dtype, shrink=16 if self.quick else 1)
        return LandmarkDetector(self._published[dtype], numerics, load(dtype=dtype).validator).eval()

    def subject(self, name: str, make: MakeDetector) -> Subject:
        """A model of 68 landmarks and the painted faces."""
        images, boxes = self.faces.images[:, None], self.faces.boxes
        return Subject(name=name, make=make, images=images, boxes=boxes, image_index=torch.arange(len(boxes)))

    @cached_property
    def subjects(self) -> tuple[Subject, ...]:
        """All families, the most important first."""
        return (
            self.subject("default model", self.default),
            self.subject(self.published_name, self.published),
            self._free(),
            *_small_subjects(),
        )

    @property
    def published_name(self) -> str:
        """What the large CE-CLM is called."""
        return "CE-CLM, 1/16 of the published widths" if self.quick else "CE-CLM of the published size"

    def _free(self) -> Subject:
        """The free CEN model and its image."""
        box = torch.tensor(json.loads((FREE_MODEL / "boxes.json").read_text())["image.png"], dtype=torch.float32)
        image = read_png(FREE_MODEL / "image.png")[None]

        def make(dtype: torch.dtype, numerics: str) -> LandmarkDetector:
            return LandmarkDetector(build_model(load_bundle(self.free_bundle), dtype), numerics).eval()

        index = torch.zeros(len(box), dtype=torch.int64)
        return Subject(name="free CEN model", make=make, images=image, boxes=box, image_index=index)


def jittered(boxes: Tensor, first: int = 0, seed: int = 0) -> Tensor:
    """Boxes (B, 4) moved and resized by some hundredths; the `first` ones stay as they are."""
    noise = 0.02 * torch.randn(boxes.shape, generator=torch.Generator().manual_seed(seed))
    noise[:first] = 0
    return boxes * (1 + noise).to(boxes)


def read_png(path: Path) -> Tensor:
    """An RGB image of 8 bits a channel without interlacing, uint8, shape (3, H, W); needs no image library."""
    data, at, body = path.read_bytes(), 8, b""
    while at < len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        chunk = data[at + 8 : at + 8 + length]
        if kind == b"IHDR":
            width, height, depth, color, _, _, interlaced = struct.unpack(">IIBBBBB", chunk)
            if (depth, color, interlaced) != (8, 2, 0):
                raise ValueError(f"{path}: expected a plain PNG of 8-bit RGB, found depth {depth}, color type {color}")
        body += chunk if kind == b"IDAT" else b""
        at += 12 + length
    raw, stride = zlib.decompress(body), 3 * width
    above, rows = bytearray(stride), []
    for row in range(height):
        start = row * (stride + 1)
        above = _unfiltered(raw[start], bytearray(raw[start + 1 : start + 1 + stride]), above)
        rows.append(torch.frombuffer(bytearray(above), dtype=torch.uint8))
    return torch.stack(rows).view(height, width, 3).permute(2, 0, 1).contiguous()


def _unfiltered(kind: int, line: bytearray, above: bytearray) -> bytearray:
    """A line of a PNG with its filter undone; the PNG specification, section 9."""
    for k in range(len(line)):
        left, upper_left = (line[k - 3], above[k - 3]) if k >= 3 else (0, 0)
        up = above[k]
        nearest = min((left, up, upper_left), key=lambda value: abs(left + up - upper_left - value))
        line[k] = (line[k] + (0, left, up, (left + up) // 2, nearest)[kind]) & 255
    return line


def _small_subjects() -> tuple[Subject, ...]:
    """Models of five landmarks: CCNF, SVR, CEN with parts, with early termination, and with validators by view."""
    images, boxes = factories.make_images(2)[:, None].float(), factories.make_boxes(6).float()
    index = torch.arange(len(boxes)) % len(images)
    wanted: tuple[tuple[str, MakeDetector, FitConfig], ...] = (
        ("CCNF", lambda dtype, numerics: _of_templates("ccnf", dtype, numerics), TEMPLATES),
        ("SVR", lambda dtype, numerics: _of_templates("svr", dtype, numerics), TEMPLATES),
        ("CEN with parts", _with_parts, SMALL),
        ("CEN, early termination", _ending_early, SMALL),
        ("CEN, validated by view", _validated, SMALL),
    )
    return tuple(
        Subject(name=name, make=make, images=images, boxes=boxes, image_index=index, preset=preset)
        for name, make, preset in wanted
    )


def _of_templates(family: str, dtype: torch.dtype, numerics: str) -> LandmarkDetector:
    """CCNF or SVR experts."""
    make = {"ccnf": template_factories.make_ccnf, "svr": template_factories.make_svr}[family]
    return LandmarkDetector(LandmarkModel(factories.make_pdm(dtype), [make(dtype=dtype)]), numerics)


def _with_parts(dtype: torch.dtype, numerics: str) -> LandmarkDetector:
    """A model with two finer ones of four of its landmarks."""
    parts = [
        Part(name, factories.make_model(dtype, seed=seed), torch.arange(4), torch.tensor([1, 0, 2, 4]))
        for name, seed in (("left_eye_28", 40), ("mouth", 60))
    ]
    whole = factories.make_model(dtype)
    return LandmarkDetector(LandmarkModel(whole.pdm, list(whole.experts), parts=parts), numerics)


def _ending_early(dtype: torch.dtype, numerics: str) -> LandmarkDetector:
    """A model that lets good hypotheses end the search."""
    return LandmarkDetector(factories.make_model(dtype, rules=factories.make_rules(dtype, cutoff=-0.3)), numerics)


def _validated(dtype: torch.dtype, numerics: str) -> LandmarkDetector:
    """A model with a validator of two views."""
    validator = DetectionValidator.from_record(validators.make_validator_record(), dtype).eval()
    return LandmarkDetector(factories.make_model(dtype), numerics, validator)
