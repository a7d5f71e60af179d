"""Fits of annotated faces: as they come, to calibrate models by; and right, nearly right and wrong, for a validator."""

from collections.abc import Callable
from dataclasses import dataclass
from math import pi

import torch
from torch import Tensor

from clnf_torch.geometry.boxes import box_around
from clnf_torch.geometry.records import Rows, join_rows
from clnf_torch.models.landmark_model import LandmarkModel
from clnf_torch.models.pdm import PDM, ShapeParams
from clnf_torch.pipeline import FitResult, LandmarkDetector
from clnf_torch.training.augmentation.random import Sampler
from clnf_torch.training.data.boxes import perturb_boxes
from clnf_torch.training.data.crops import FaceCrops
from clnf_torch.training.evaluation.metrics import FAILED, face_errors

# Faces that are fitted together
BATCH = 32


@torch.no_grad()
def fit_unseen(model: LandmarkModel, faces: FaceCrops, seed: int) -> tuple[FitResult, Tensor]:
    """Fits of faces from perturbed boxes, in the exact numerics; those that fail are left out.

    Args:
        model: The model.
        faces: Annotated faces that it was not trained on, on its device.
        seed: Of where the fits start.

    Returns:
        K fits, and the annotated landmarks of these faces, shape (K, N, 2).
    """
    detector = LandmarkDetector(model, "exact").eval()
    boxes = perturb_boxes(faces.landmarks, torch.Generator().manual_seed(seed))
    blocks = [
        detector.fit(some.gray[:, None], own, torch.arange(len(some), device=own.device), parts=False, validate=False)
        for some, own in ((faces[rows], boxes[rows]) for rows in torch.arange(len(boxes)).split(BATCH))
    ]
    found = join_rows(*blocks)
    good = found.success & found.landmarks.isfinite().flatten(1).all(1)
    return found[good], faces.landmarks[good].to(found.landmarks)


# Probability that a face ends anywhere, at any angle and of any size
LOST = 0.2


def perturb_shapes(pdm: PDM, params: ShapeParams, sampler: Sampler) -> Tensor:
    """Perturbed shapes: landmarks of faces after small, large or hopeless random changes of pose and shape.

    Args:
        pdm: The shape model.
        params: Of the faces, B rows.
        sampler: Gives the random numbers.

    Returns:
        Pixels, shape (B, N, 2).
    """
    count, modes = params.local.shape
    lost = sampler.bernoulli(LOST, count)

    def changed(deviation: float, *shape: int) -> Tensor:
        """Gaussian numbers with a log-uniform scale for each row."""
        return sampler.normal(deviation, count, *shape) * sampler.log_uniform(0.03, 1, count).view(
            -1, *[1] * len(shape)
        )

    turn = changed(0.4, 3)
    turn[:, 2] = torch.where(lost, sampler.uniform(-pi, pi, count), turn[:, 2])
    size = torch.where(lost, sampler.log_uniform(0.4, 2, count), changed(0.25).exp())
    # Millimetres
    shift = torch.where(lost[:, None], sampler.uniform(-120, 120, count, 2), changed(25, 2))
    local = pdm.clamp(params.local + changed(1.5, modes) * pdm.variances.sqrt())
    return pdm.landmarks(
        ShapeParams(
            params.scale * size,
            params.rotation + turn,
            params.translation + params.scale[:, None] * shift,
            local,
        )
    )


# At a time
FITS = 64


@dataclass(frozen=True)
class TrialFits(Rows):
    """Landmarks of K fits or perturbed shapes, with their errors."""

    face: Tensor  # (K,) int64: row of the face
    landmarks: Tensor  # (K, N, 2) pixels of its crop
    error: Tensor  # (K,) normalised mean error (NME), by the distance of the outer eye corners

    @classmethod
    def of(cls, faces: FaceCrops, face: Tensor, landmarks: Tensor) -> "TrialFits":
        """Landmarks (K, N, 2) for faces (K,), with their errors."""
        return cls(face, landmarks, face_errors(landmarks, faces.landmarks[face].to(landmarks)))


@dataclass(frozen=True)
class Start:
    """Images and boxes that fits of F faces start from."""

    images: Tensor  # (F, S, S) uint8
    boxes: Tensor  # (F, 4) x, y, width, height, pixels
    upside_down: bool = False  # the images are the crops after half a turn


def usual_boxes(faces: FaceCrops, generator: torch.Generator) -> Start:
    """Boxes as face detectors give them."""
    return Start(faces.gray, perturb_boxes(faces.landmarks, generator))


def displaced_boxes(faces: FaceCrops, generator: torch.Generator) -> Start:
    """Boxes that are too large, too small, or far off the faces."""
    return Start(faces.gray, perturb_boxes(faces.landmarks, generator, size=0.3, center=0.25))


def boxes_anywhere(faces: FaceCrops, generator: torch.Generator) -> Start:
    """Boxes of random size at random positions: mostly without a face."""
    sampler, count = Sampler(generator, faces.landmarks.device), len(faces)
    size = box_around(faces.landmarks)[:, 2:] * sampler.log_uniform(0.3, 1.5, count, 1)
    middle = sampler.uniform(0, 1, count, 2) * faces.landmarks.new_tensor(faces.gray.shape[:0:-1])
    return Start(faces.gray, torch.cat((middle - size / 2, size), 1))


def half_occluded_faces(faces: FaceCrops, generator: torch.Generator) -> Start:
    """Usual boxes in crops with about half of every face occluded."""
    return usual_boxes(occlude_half(faces, generator), generator)


def upside_down(faces: FaceCrops, generator: torch.Generator) -> Start:
    """Usual boxes in crops after half a turn."""
    return Start(faces.gray.flip(-2, -1), perturb_boxes(_turned(faces, faces.landmarks), generator), upside_down=True)


STARTS = {
    "usual": usual_boxes,
    "displaced": displaced_boxes,
    "anywhere": boxes_anywhere,
    "upside down": upside_down,
}


def occlude_half(faces: FaceCrops, generator: torch.Generator) -> FaceCrops:
    """The faces with an occlusion: black to the left or to the right of a random line through each."""
    sampler, count = Sampler(generator, faces.landmarks.device), len(faces)
    box = box_around(faces.landmarks)
    line = box[:, 0] + sampler.uniform(0.25, 0.75, count) * box[:, 2]
    column = torch.arange(faces.gray.shape[-1], device=faces.gray.device)
    black = (column < line[:, None]) == sampler.bernoulli(0.5, count, 1)
    return FaceCrops(gray=faces.gray.masked_fill(black[:, None], 0), landmarks=faces.landmarks)


def with_half_occluded_faces(faces: FaceCrops, seed: int) -> FaceCrops:
    """The faces, and every second of them once more with half of it occluded."""
    halves = occlude_half(faces[::2], torch.Generator().manual_seed(seed))
    return FaceCrops(
        gray=torch.cat((faces.gray, halves.gray)), landmarks=torch.cat((faces.landmarks, halves.landmarks))
    )


def fit_from(
    detector: LandmarkDetector,
    faces: FaceCrops,
    begin: Callable[[FaceCrops, torch.Generator], Start],
    generator: torch.Generator,
) -> tuple[Tensor, Tensor]:
    """Fits of a detector from one kind of start.

    Args:
        detector: The detector.
        faces: F annotated faces.
        begin: Gives images and boxes; one of `STARTS`.
        generator: Of the random numbers.

    Returns:
        Landmarks in pixels of the crops, NaN where the fit failed, shape (F, N, 2), and confidences, shape (F,).
    """
    landmarks, confidence = [], []
    with torch.inference_mode():
        for rows in torch.arange(len(faces), device=faces.gray.device).split(FITS):
            start = begin(faces[rows], generator)
            found = detector.fit(start.images[:, None], start.boxes)
            shape = found.landmarks.float()
            landmarks.append(_turned(faces, shape) if start.upside_down else shape)
            confidence.append(found.confidence)
    return torch.cat(landmarks), torch.cat(confidence)


def run_trial_fits(
    model: LandmarkModel, faces: FaceCrops, seed: int, report: Callable[[int, float], None] = lambda *_: None
) -> TrialFits:
    """Trial fits of faces from every kind of start, without those that the fit itself gave up.

    Args:
        model: The model.
        faces: Annotated faces.
        seed: Of the random numbers.
        report: Told after each kind its number, and the failure rate of its fits.
    """
    detector, generator = LandmarkDetector(model, "exact"), torch.Generator().manual_seed(seed)
    parts = []
    for number, begin in enumerate(STARTS.values()):
        landmarks, _ = fit_from(detector, faces, begin, generator)
        valid = landmarks.isfinite().flatten(1).all(-1).nonzero().squeeze(-1)
        parts.append(TrialFits.of(faces, valid, landmarks[valid]))
        report(number + 1, float((parts[-1].error > FAILED).float().mean()))
    return join_rows(*parts)


def _turned(faces: FaceCrops, landmarks: Tensor) -> Tensor:
    """Landmarks (F, N, 2) where they lie after the crops have been turned by half a turn; twice it does nothing."""
    return landmarks.new_tensor(faces.gray.shape[:0:-1]) - 1 - landmarks
