"""How much of what one side of a face does alone is found: photographs of which one side is moved by a known amount."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.table import Table
from torch import Tensor

import clnf_torch
from benchmarks.material import SHARED, clnf_bundle
from benchmarks.tables import table
from clnf_torch.fitting.initialise import params_from_landmarks
from clnf_torch.geometry.landmarks68 import MIRROR, OUTER_EYE_CORNERS
from clnf_torch.media.images import read_image
from clnf_torch.models.landmark_model import LandmarkModel
from clnf_torch.training.augmentation.moved_landmarks import moved_faces
from clnf_torch.training.augmentation.one_sided import BROW, KNOT, LOWER_LID, UPPER_LID, SideMovement, side_shifts
from clnf_torch.training.data.annotations import read_annotations
from clnf_torch.training.data.crops import FaceCrops, cut_crops
from clnf_torch.training.data.trial_fits import fit_unseen

# Outer corners of the eyes are about so many millimetres apart
EYES_APART = 90.0
SPLIT, EVERY, SIDE, FARTHEST_YAW = "afw", 2, 336, 0.26  # faces turned by less than 15 degrees
CORNER = 48
ALONG, ACROSS, BROW_HEIGHT, OPENING = range(4)


@dataclass(frozen=True, kw_only=True)
class Case:
    """What the side on the left of the image does, and which of `places_of_left` tells it."""

    name: str
    told_by: int
    corner: tuple[float, float] = (0.0, 0.0)  # mm
    brow: float = 0.0  # mm
    opening: float = 1.0

    def movement(self, count: int) -> SideMovement:
        """Of so many faces."""
        none = torch.zeros(count)
        return SideMovement(
            corner=torch.tensor(self.corner).expand(count, 2) / EYES_APART,
            brow=none + self.brow / EYES_APART,
            brow_tilt=none,
            nostril=none,
            opening=none + self.opening,
        )


CASES = (
    Case(name="corner of the mouth 5 mm down", told_by=ACROSS, corner=(0.0, 5.0)),
    Case(name="5 mm up, and as far outwards", told_by=ACROSS, corner=(-5.0, -5.0)),
    Case(name="brow 6 mm up", told_by=BROW_HEIGHT, brow=-6.0),
    Case(name="brow 6 mm down", told_by=BROW_HEIGHT, brow=6.0),
    Case(name="eye open by 0.4 of before", told_by=OPENING, opening=0.4),
    Case(name="by 0.1", told_by=OPENING, opening=0.1),
)


def report(device: str, model: Path | None) -> Iterator[Table]:
    """A table of shares found; and how differences of both sides in photographs as they are go with the annotation."""
    given = {"model": model} if model else {name: name for name in ("default", "small", "free")}
    models = {name: clnf_torch.load(each, device).model for name, each in given.items()}
    models["OpenFace's CLNF"] = clnf_torch.load(clnf_bundle(), device).model
    faces = _faces(next(iter(models.values())))
    found = {name: [_share_found(each, faces, case) for case in CASES] for name, each in models.items()}
    rows = [(case.name, *(shares[number] for shares in found.values())) for number, case in enumerate(CASES)]
    title = f"{len(faces)} faces of AFW: share found of what one side did, told of the other one, and deviation in mm"
    yield table(title, ("the side on the left", *models), rows)
    names = ("corners of the mouth, up and down", "brows", "openings of the eyes")
    slopes = {name: _slopes(each, faces) for name, each in models.items()}
    rows = [(what, *(own[number] for own in slopes.values())) for number, what in enumerate(names)]
    yield table("Differences of both sides, annotated: slope and correlation", ("unmoved", *models), rows)


def _faces(model: LandmarkModel) -> FaceCrops:
    crops = cut_crops(read_annotations(SHARED / "faces").of_split(SPLIT), read_image, SIDE)
    yaw = params_from_landmarks(model.pdm, crops.landmarks).rotation[:, 1]
    return crops[(yaw.abs() < FARTHEST_YAW).nonzero()[::EVERY, 0]]


def places_of_left(landmarks: Tensor) -> Tensor:
    """Where corner (along, across), brow and lids (opening) of the side on the left are, mm, shape (B, 4)."""
    first, last = (landmarks[:, corner] for corner in OUTER_EYE_CORNERS)
    along = (last - first)[:, None]
    down = torch.stack((-along[..., 1], along[..., 0]), -1)
    away = (landmarks - (first + last)[:, None] / 2) * (EYES_APART / along.square().sum(-1, keepdim=True))
    x, y = (away * along).sum(-1), (away * down).sum(-1)
    opening = (y[:, LOWER_LID] - y[:, UPPER_LID]).mean(1)
    return torch.stack((x[:, CORNER], y[:, CORNER], y[:, BROW].mean(1), opening), 1)


def places_of_right(landmarks: Tensor) -> Tensor:
    """The same of the other side, as those of the mirrored face."""
    return places_of_left(landmarks[:, list(MIRROR)] * landmarks.new_tensor((-1, 1)))


def faces_after(faces: FaceCrops, case: Case) -> FaceCrops:
    """The faces, the side on the left moved."""
    still = Case(name="", told_by=0).movement(len(faces))
    shifts = side_shifts(faces.landmarks.float(), case.movement(len(faces)), still)
    return moved_faces(faces, faces.landmarks + shifts, KNOT)


def _share_found(model: LandmarkModel, faces: FaceCrops, case: Case) -> str:
    (before, same), (after, moved) = (fit_unseen(model, each, 0) for each in (faces, faces_after(faces, case)))
    if not len(faces) == len(same) == len(moved):
        return "a fit is lost"
    own, true, other = (
        (places(last.float()) - places(first.float()))[:, case.told_by]
        for places, first, last in (
            (places_of_left, before.landmarks, after.landmarks),
            (places_of_left, same, moved),
            (places_of_right, before.landmarks, after.landmarks),
        )
    )
    share = own.sum() / true.sum()
    return f"{share:.2f} ({other.sum() / true.sum():.2f}), {(own - share * true).std():.1f}"


def _slopes(model: LandmarkModel, faces: FaceCrops) -> list[str]:
    fits, truth = fit_unseen(model, faces, 0)
    found, known = (
        (places_of_left(landmarks.float()) - places_of_right(landmarks.float()))[:, 1:].T
        for landmarks in (fits.landmarks, truth)
    )
    pairs = [torch.stack((one, other)) for one, other in zip(known, found, strict=True)]
    slopes = [pair.cov()[0, 1] / pair.cov()[0, 0] for pair in pairs]
    return [f"{slope:.2f}, {pair.corrcoef()[0, 1]:.2f}" for slope, pair in zip(slopes, pairs, strict=True)]
