"""What pen marks cost, as they are and erased: errors of AFW, and differences of both sides that marks make up."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.table import Table
from torch import Tensor

import clnf_torch
from benchmarks.material import SHARED, clnf_bundle, drawn_by_tool
from benchmarks.sides import ACROSS, BROW_HEIGHT, OPENING, places_of_left, places_of_right
from benchmarks.tables import table
from clnf_torch.geometry.landmarks68 import OUTER_EYE_CORNERS
from clnf_torch.media.images import read_image
from clnf_torch.training.augmentation.pen_marks import draw_pen_marks
from clnf_torch.training.data.annotations import read_annotations
from clnf_torch.training.data.boxes import perturb_boxes

SPLIT = "afw"
DIFFERENCES = {"corners of the mouth": ACROSS, "brows": BROW_HEIGHT, "lids": OPENING}


@dataclass(frozen=True, kw_only=True)
class Photograph:
    """A face, its annotation, and about where it is."""

    image: Tensor  # (3, H, W) RGB, uint8
    landmarks: Tensor  # (68, 2) px
    box: Tensor  # (4,)

    def drawn_on(self, draw: Callable[[Tensor, Tensor, int], Tensor], seed: int) -> "Photograph":
        """The same with marks."""
        return Photograph(image=draw(self.image, self.landmarks, seed), landmarks=self.landmarks, box=self.box)

    def erased(self, eraser: clnf_torch.PenMarkEraser) -> "Photograph":
        """The same without marks, as far as they are seen."""
        image = eraser.erase(self.image[None], self.box[None])[0].cpu()
        return Photograph(image=image, landmarks=self.landmarks, box=self.box)


def report(device: str, model: Path | None, every: int) -> Iterator[Table]:
    """A table of errors, and one of differences of both sides, in which marks are all that changes."""
    given = {"model": model} if model else {name: name for name in ("default", "small", "free")}
    detectors = {name: clnf_torch.load(each, device, numerics="exact") for name, each in given.items()}
    if model is None:
        detectors["OpenFace's CLNF"] = clnf_torch.load(clnf_bundle(), device)
    eraser, bare = clnf_torch.load_pen_mark_eraser(device=device), list(_photographs(every))
    with torch.inference_mode():
        drawn = {"by the package": _own_marks, "by tools/mark_faces.py": drawn_by_tool}
        sets = {"bare": bare}
        for name, draw in drawn.items():
            sets[f"drawn on {name}"] = [each.drawn_on(draw, seed) for seed, each in enumerate(bare)]
        sets |= {f"{name}, erased": [each.erased(eraser) for each in faces] for name, faces in sets.items()}
        truth = torch.stack([each.landmarks for each in bare])
        found = {
            name: {what: _fitted(detector, faces) for what, faces in sets.items()}
            for name, detector in detectors.items()
        }
    size = (truth[:, OUTER_EYE_CORNERS[0]] - truth[:, OUTER_EYE_CORNERS[1]]).norm(dim=1)
    errors = {
        name: {what: (fits - truth).norm(dim=-1).mean(1) / size for what, fits in of_sets.items()}
        for name, of_sets in found.items()
    }
    rows = [(what, *(_error(own[what], own["bare"]) for own in errors.values())) for what in sets]
    yield table(f"{len(bare)} faces of AFW: mean error / eye distance", ("photographs", *found), rows)
    changed = [
        (f"{what}: {part}", *(_change(own[what], own["bare"], place) for own in found.values()))
        for what in sets
        for part, place in DIFFERENCES.items()
        if what != "bare"
    ]
    yield table("Change of the difference of both sides, rms, mm", ("photographs", *found), changed)


def _photographs(every: int) -> Iterator[Photograph]:
    annotations = read_annotations(SHARED / "faces").of_split(SPLIT)
    landmarks = annotations.landmarks.float()
    boxes = perturb_boxes(landmarks, torch.Generator().manual_seed(0))
    for row in range(0, len(landmarks), every):
        yield Photograph(image=read_image(annotations.images[row]), landmarks=landmarks[row], box=boxes[row])


def _own_marks(image: Tensor, landmarks: Tensor, seed: int) -> Tensor:
    return draw_pen_marks(image[None], landmarks[None], torch.Generator().manual_seed(seed))[0]


def _fitted(detector: clnf_torch.LandmarkDetector, faces: list[Photograph]) -> Tensor:
    fits = [detector.fit(each.image[None], each.box[None], parts=False, validate=False) for each in faces]
    return torch.cat([each.landmarks.float().cpu() for each in fits])


def _error(errors: Tensor, bare: Tensor) -> str:
    return f"{errors.mean():.4f} ({100 * (errors.mean() / bare.mean() - 1):+.1f} %)"


def _change(landmarks: Tensor, bare: Tensor, place: int) -> str:
    before, after = ((places_of_left(each) - places_of_right(each))[:, place] for each in (bare, landmarks))
    return f"{(after - before).square().mean().sqrt():.2f}"
