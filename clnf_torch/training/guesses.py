"""Landmarks that lie right, nearly, and not at all: fits that began everywhere."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from clnf_torch.geometry.boxes import extent_boxes
from clnf_torch.models.landmark_model import LandmarkModel
from clnf_torch.pipeline import LandmarkDetector
from clnf_torch.training.boxes import perturb_boxes
from clnf_torch.training.crops import FaceCrops
from clnf_torch.training.dice import Dice
from clnf_torch.training.scores import FAILED, face_errors

FITS = 64  # at a time


@dataclass(frozen=True)
class Guesses:
    """Landmarks that somebody believes in."""

    face: Tensor  # (K,) int64: row of the face that they are meant for
    landmarks: Tensor  # (K, N, 2) pixels of its crop
    error: Tensor  # (K,) mean distance from where they belong, in distances of the outer eye corners

    def __len__(self) -> int:
        """Number of guesses K."""
        return len(self.face)

    def __getitem__(self, rows: Tensor) -> "Guesses":
        """The guesses of these rows."""
        return Guesses(self.face[rows], self.landmarks[rows], self.error[rows])

    @classmethod
    def of(cls, faces: FaceCrops, face: Tensor, landmarks: Tensor) -> "Guesses":
        """Landmarks (K, N, 2) for faces (K,), with their errors."""
        return cls(face, landmarks, face_errors(landmarks, faces.landmarks[face].to(landmarks)))

    @classmethod
    def concatenate(cls, parts: list["Guesses"]) -> "Guesses":
        """The rows of several records, one after the other."""
        face, landmarks, error = zip(*((part.face, part.landmarks, part.error) for part in parts), strict=True)
        return cls(torch.cat(face), torch.cat(landmarks), torch.cat(error))


@dataclass(frozen=True)
class Start:
    """What fits of F faces begin with."""

    pictures: Tensor  # (F, S, S) uint8
    boxes: Tensor  # (F, 4) x, y, width, height, pixels
    upside_down: bool = False  # the pictures are the crops after half a turn


def usual_boxes(faces: FaceCrops, generator: torch.Generator) -> Start:
    """Boxes near where face detectors see the faces."""
    return Start(faces.grey, perturb_boxes(faces.landmarks, generator))


def displaced_boxes(faces: FaceCrops, generator: torch.Generator) -> Start:
    """Boxes that are too large, too small, or half beside the faces."""
    return Start(faces.grey, perturb_boxes(faces.landmarks, generator, size=0.3, center=0.25))


def boxes_anywhere(faces: FaceCrops, generator: torch.Generator) -> Start:
    """Boxes of any size, anywhere: mostly around what is no face."""
    dice, count = Dice(generator, faces.landmarks.device), len(faces)
    size = extent_boxes(faces.landmarks)[:, 2:] * dice.ratio(0.3, 1.5, count, 1)
    middle = dice.uniform(0, 1, count, 2) * faces.landmarks.new_tensor(faces.grey.shape[:0:-1])
    return Start(faces.grey, torch.cat((middle - size / 2, size), 1))


def half_faces(faces: FaceCrops, generator: torch.Generator) -> Start:
    """Usual boxes in crops that show half of the faces, more or less."""
    return usual_boxes(halve(faces, generator), generator)


def upside_down(faces: FaceCrops, generator: torch.Generator) -> Start:
    """Usual boxes in crops after half a turn."""
    return Start(faces.grey.flip(-2, -1), perturb_boxes(_turned(faces, faces.landmarks), generator), upside_down=True)


STARTS = {
    "usual": usual_boxes,
    "displaced": displaced_boxes,
    "anywhere": boxes_anywhere,
    "upside down": upside_down,
}


def halve(faces: FaceCrops, generator: torch.Generator) -> FaceCrops:
    """The faces, each black to the left or to the right of some line through it."""
    dice, count = Dice(generator, faces.landmarks.device), len(faces)
    box = extent_boxes(faces.landmarks)
    line = box[:, 0] + dice.uniform(0.25, 0.75, count) * box[:, 2]
    column = torch.arange(faces.grey.shape[-1], device=faces.grey.device)
    black = (column < line[:, None]) == dice.chance(0.5, count, 1)
    return FaceCrops(grey=faces.grey.masked_fill(black[:, None], 0), landmarks=faces.landmarks)


def with_half_faces(faces: FaceCrops, seed: int) -> FaceCrops:
    """The faces, and every second of them once more as a half face."""
    halves = halve(faces[::2], torch.Generator().manual_seed(seed))
    return FaceCrops(
        grey=torch.cat((faces.grey, halves.grey)), landmarks=torch.cat((faces.landmarks, halves.landmarks))
    )


def find_from(
    detector: LandmarkDetector,
    faces: FaceCrops,
    begin: Callable[[FaceCrops, torch.Generator], Start],
    generator: torch.Generator,
) -> tuple[Tensor, Tensor]:
    """What a detector makes of faces.

    Args:
        detector: The detector.
        faces: F annotated faces.
        begin: Gives pictures and boxes; one of `STARTS`.
        generator: Decides about them.

    Returns:
        Landmarks in pixels of the crops, NaN where the fit failed, shape (F, N, 2), and certainties, shape (F,).
    """
    landmarks, certainty = [], []
    with torch.inference_mode():
        for rows in torch.arange(len(faces), device=faces.grey.device).split(FITS):
            start = begin(faces[rows], generator)
            found = detector.fit(start.pictures, start.boxes)
            shape = found.landmarks.float()
            landmarks.append(_turned(faces, shape) if start.upside_down else shape)
            certainty.append(found.certainty)
    return torch.cat(landmarks), torch.cat(certainty)


def fits_from_everywhere(
    model: LandmarkModel, faces: FaceCrops, seed: int, report: Callable[[int, float], None] = lambda *_: None
) -> Guesses:
    """What fits of a model make of faces from every kind of start, without those that failed of themselves.

    Args:
        model: The model.
        faces: Annotated faces.
        seed: Decides about the starts.
        report: Told after each kind its number, and the share of its fits that lie wrong.
    """
    detector, generator = LandmarkDetector(model, "exact"), torch.Generator().manual_seed(seed)
    parts = []
    for number, begin in enumerate(STARTS.values()):
        landmarks, _ = find_from(detector, faces, begin, generator)
        sound = landmarks.isfinite().flatten(1).all(-1).nonzero().squeeze(-1)
        parts.append(Guesses.of(faces, sound, landmarks[sound]))
        report(number + 1, float((parts[-1].error > FAILED).float().mean()))
    return Guesses.concatenate(parts)


def _turned(faces: FaceCrops, landmarks: Tensor) -> Tensor:
    """Landmarks (F, N, 2) where they lie after the crops have been turned by half a turn; twice it does nothing."""
    return landmarks.new_tensor(faces.grey.shape[:0:-1]) - 1 - landmarks
