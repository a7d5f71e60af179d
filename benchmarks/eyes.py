"""Eyes and gaze: on rendered faces, whose truth is known, and on photographs, beside OpenFace's CCNF eyes."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.table import Table
from torch import Tensor
from torch.nn.functional import interpolate

import clnf_torch
from benchmarks.material import SHARED, clnf_bundle
from benchmarks.tables import table
from clnf_torch.geometry.boxes import box_around
from clnf_torch.geometry.camera import Intrinsics
from clnf_torch.geometry.gray import to_gray
from clnf_torch.geometry.landmarks28 import CORNERS, IRIS, LIDS
from clnf_torch.measures.gaze import EYE_PARTS
from clnf_torch.media.images import read_image
from clnf_torch.pipeline import FitResult, LandmarkDetector, measure_faces
from clnf_torch.training.data.annotations import read_annotations
from clnf_torch.training.data.boxes import perturb_boxes
from clnf_torch.training.evaluation.annotated import stack_padded
from clnf_torch.training.eyes.parts import EYES, IN_EYE
from clnf_torch.training.free.photographed_eyes import template_eyes
from clnf_torch.training.free.templates import held_out, landmarks_of_templates, read_points
from clnf_torch.training.synthetic.face_shards import RenderedFaces, read_shards

# Pixels between the middles of both eyes
DISTANCES = (60, 30)
# Eyes count where so much of their lids and iris can be seen
LEAST_LIDS, LEAST_IRIS = 0.6, 0.4
PHOTOGRAPHS, BATCH = 500, 16
# Places in `IN_EYE` of the upper lid's landmarks, and of those below them
UPPER, LOWER = [1, 2], [5, 4]


@dataclass(frozen=True, kw_only=True)
class EyeErrors:
    """Of E eyes: distances as shares of the eye's width, and degrees."""

    iris: Tensor
    lids: Tensor
    gaze: Tensor


def report(device: str, model: Path | None, rendered: Path | None) -> Iterator[Table]:
    """The tables; rendered faces must be others than those the eyes were trained on."""
    detectors = {"model": clnf_torch.load(model, device), "OpenFace's CLNF": clnf_torch.load(clnf_bundle(), device)}
    if rendered is not None:
        columns = ("rendered faces", "px between eyes", "eyes", "iris", "lids", "gaze, mean", "median")
        yield table("Errors, shares of the eye's width, and degrees", columns, _rendered_rows(detectors, rendered))
    ours, theirs, truth = _photographed(detectors)
    away = _iris_distance(ours, theirs, truth)
    rows = [
        ("irises apart, mean", f"{away.mean():.3f}", ""),
        ("median", f"{away.median():.3f}", ""),
        ("rank correlation of the lids' opening with the annotation's", *(_opening(e, truth) for e in (ours, theirs))),
        ("lids, median error", *(f"{_lid_errors(eyes, truth).median():.3f}" for eyes in (ours, theirs))),
    ]
    yield table(f"{PHOTOGRAPHS} photographs of helen_train", ("shares of the eye's width", *detectors), rows)
    rows = [
        (name, *(f"{errors.mean():.3f} / {errors.median():.3f}" for errors in _hand_set(detector)))
        for name, detector in detectors.items()
    ]
    yield table("Templates held out, mean / median, shares of the eye's width", ("eyes", "iris", "lids"), rows)


def _rendered_rows(detectors: dict[str, LandmarkDetector], folder: Path) -> Iterator[tuple[str, ...]]:
    for name, detector in detectors.items():
        for distance in DISTANCES:
            found = [
                rendered_errors(detector, faces[rows], distance)
                for faces in read_shards(folder)
                for rows in torch.arange(len(faces)).split(BATCH)
            ]
            iris, lids, gaze = (torch.cat([getattr(one, field) for one in found]) for field in ("iris", "lids", "gaze"))
            shown = (f"{iris.mean():.3f}", f"{lids.mean():.3f}", f"{gaze.mean():.1f}", f"{gaze.median():.1f}")
            yield name, str(distance), str(len(gaze)), *shown


def rendered_errors(detector: LandmarkDetector, faces: RenderedFaces, distance: float) -> EyeErrors:
    """Errors of a detector on rendered faces whose eyes are brought to so many pixels from each other.

    Fits start from perturbed boxes; the cameras are known, as they are where somebody calibrates his.
    """
    side = faces.images.shape[-1]
    middles = faces.eyes[:, :, LIDS].mean(2)
    sides = (distance / (middles[:, 0] - middles[:, 1]).norm(dim=-1) * side).round().long()
    ratio = sides / side
    frames = stack_padded([_resized(gray, int(own)) for gray, own in zip(to_gray(faces.images), sides, strict=True)])
    truth = (faces.eyes + 0.5) * ratio[:, None, None, None] - 0.5
    boxes = perturb_boxes((faces.contour + 0.5) * ratio[:, None, None] - 0.5, torch.Generator().manual_seed(0))
    fit = detector.fit(frames[:, None], boxes, torch.arange(len(boxes)))
    camera = faces.camera * ratio[:, None]
    eyes = _eyes_of(fit)
    looks = measure_faces(fit, detector, Intrinsics(camera[:, :1].expand(-1, 2), camera[:, 1:])).eyes
    assert looks is not None
    visible = faces.eyes_visible.float()
    good = (visible[:, :, LIDS].mean(-1) >= LEAST_LIDS) & (visible[:, :, :IRIS].mean(-1) >= LEAST_IRIS)
    good &= fit.success.cpu()[:, None]
    iris, lids = _shares(eyes, truth)
    angle = (looks.gaze.cpu().float() * faces.gaze).sum(-1).clamp(-1, 1).acos().rad2deg()
    return EyeErrors(iris=iris[good], lids=lids[good], gaze=angle[good])


def _resized(gray: Tensor, side: int) -> Tensor:
    small = interpolate(gray[None, None].float(), size=(side, side), mode="bilinear", antialias=True)[0, 0]
    return small.round().clamp(0, 255).to(torch.uint8)


def _eyes_of(fit: FitResult) -> Tensor:
    """Both eyes (B, 2, 28, 2)."""
    return torch.stack([fit.parts[name].landmarks for name in EYE_PARTS], 1).cpu().float()


def _photographed(detectors: dict[str, LandmarkDetector]) -> tuple[Tensor, Tensor, Tensor]:
    """Eyes (F, 2, 28, 2) of both detectors on photographs, and the annotated lids (F, 2, 6, 2)."""
    faces = read_annotations(SHARED / "faces").of_split("helen_train")[:PHOTOGRAPHS]
    found: dict[str, list[Tensor]] = {name: [] for name in detectors}
    for rows in torch.arange(len(faces)).split(BATCH):
        frames = stack_padded([to_gray(read_image(faces.images[row])[None])[0] for row in rows.tolist()])[:, None]
        boxes = box_around(faces.landmarks[rows])
        for name, detector in detectors.items():
            found[name].append(_eyes_of(detector.fit(frames, boxes, torch.arange(len(rows)))))
    ours, theirs = (torch.cat(eyes) for eyes in found.values())
    return ours, theirs, torch.stack([faces.landmarks[:, list(numbers)] for numbers in EYES.values()], 1)


def _hand_set(detector: LandmarkDetector) -> tuple[Tensor, Tensor]:
    """Errors of irises and lids (E,) on the photographs of the London Set that nothing was trained on."""
    files, points = read_points(SHARED / "free" / "london")
    rows = held_out(len(files)).nonzero()[:, 0].tolist()
    truth = template_eyes(points[rows])
    frames = stack_padded([to_gray(read_image(files[row])[None])[0] for row in rows])[:, None]
    boxes = box_around(landmarks_of_templates(points[rows]))
    iris, lids = _shares(_eyes_of(detector.fit(frames, boxes, torch.arange(len(rows)))), truth)
    return iris.flatten(), lids.flatten()


def _shares(eyes: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
    """Errors of the irises and of the lids (F, 2) of eyes (F, 2, 28, 2), shares of the eyes' widths."""
    width = (truth[:, :, CORNERS[0]] - truth[:, :, CORNERS[1]]).norm(dim=-1)
    iris = (_middles(eyes) - _middles(truth)).norm(dim=-1)
    lids = (eyes - truth)[:, :, LIDS].norm(dim=-1).mean(-1)
    return iris / width, lids / width


def _middles(eyes: Tensor) -> Tensor:
    """Of the irises (F, 2, 2)."""
    return eyes[:, :, :IRIS].mean(2)


def _iris_distance(ours: Tensor, theirs: Tensor, truth: Tensor) -> Tensor:
    """Between the irises of two models (F, 2), by the annotated widths of the eyes."""
    return (_middles(ours) - _middles(theirs)).norm(dim=-1) / _widths(truth)


def _widths(lids: Tensor) -> Tensor:
    return (lids[:, :, 0] - lids[:, :, 3]).norm(dim=-1)


def _lid_errors(eyes: Tensor, truth: Tensor) -> Tensor:
    """Mean distances of the six landmarks that the annotation has, too (F, 2)."""
    return (eyes[:, :, list(IN_EYE)] - truth).norm(dim=-1).mean(-1) / _widths(truth)


def _opening(eyes: Tensor, truth: Tensor) -> str:
    """How well the order of eyes by how far they are open is the annotation's."""
    # Wanted by this table alone
    from scipy.stats import spearmanr

    ratios = [
        (lids[:, :, UPPER] - lids[:, :, LOWER]).norm(dim=-1).mean(-1) / _widths(lids)
        for lids in (eyes[:, :, list(IN_EYE)], truth)
    ]
    return f"{spearmanr(*(ratio.flatten() for ratio in ratios)).statistic:.2f}"
