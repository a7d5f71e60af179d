"""Landmarks that lie right, nearly, and not at all: fits that began everywhere."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import pi

import torch
from torch import Tensor, nn

from clnf_torch.detection.validator import ViewValidator
from clnf_torch.fitting.images import ImageBatch
from clnf_torch.geometry.boxes import box_around
from clnf_torch.geometry.warp import WarpTable
from clnf_torch.models.landmark_model import LandmarkModel
from clnf_torch.models.numerics import EXACT
from clnf_torch.models.pdm import PDM, ShapeParams
from clnf_torch.pipeline import LandmarkDetector
from clnf_torch.training.augmentation.random import Sampler
from clnf_torch.training.data.boxes import perturb_boxes
from clnf_torch.training.data.crops import FaceCrops, image_pyramid
from clnf_torch.training.metrics import FAILED, face_errors

# Of a pixel; one that is always the same says nothing
LEAST_DEVIATION = 1e-3


def trainable_view(table: dict[str, Tensor], side: int, network: nn.Module) -> ViewValidator:
    """The runtime's validator of a view around a network that can be trained, with mean 0 and deviation 1.

    Args:
        table: From `make_warp_table`.
        side: Height and width of the images that the network looks at, pixels.
        network: Maps images (B, 1, side, side) to scores (B, C).
    """
    places = table["pixels"]
    column_row = torch.stack((places % side, places // side), -1)
    warp = WarpTable(
        triangles=table["triangles"],
        alpha=table["alpha"].float(),
        beta=table["beta"].float(),
        pixels=(column_row + table["origin"]).float(),
        triangle=table["triangle"],
    )
    return ViewValidator(warp, places, (side, side), torch.zeros(len(places)), torch.ones(len(places)), network)


def set_statistics(view: ViewValidator, images: ImageBatch, shapes: Sequence[Tensor]) -> None:
    """Gives a view the mean and deviation of every pixel between landmarks (B, N, 2), of each of some shapes."""
    pixels = view.normalise(torch.cat([warped_pixels(view, images, landmarks) for landmarks in shapes]))
    view.mean, view.deviation = pixels.mean(0), pixels.std(0).clamp(min=LEAST_DEVIATION)


def warped_pixels(view: ViewValidator, images: ImageBatch, landmarks: Tensor) -> Tensor:
    """What the runtime sees between landmarks (B, N, 2) in the images of B faces; shape (B, P)."""
    return view.warp(images, landmarks, landmarks.new_zeros(len(landmarks), 2), EXACT)


def pyramid_batches(gray: Tensor, levels: int) -> list[ImageBatch]:
    """Images (F, S, S), uint8, in so many sharpnesses, one face in each."""
    face = torch.arange(len(gray), device=gray.device)
    return [ImageBatch(size, face) for size in image_pyramid(gray, levels)]


# Share of the faces that end anywhere, at any angle and of any size
LOST = 0.2


def perturb_shapes(pdm: PDM, params: ShapeParams, sampler: Sampler) -> Tensor:
    """Landmarks of faces whose pose and shape have been changed a little, much, or beyond all measure.

    Args:
        pdm: The shape model.
        params: Of the faces, B rows.
        sampler: Decides.

    Returns:
        Pixels, shape (B, N, 2).
    """
    count, modes = params.local.shape
    lost = sampler.bernoulli(LOST, count)

    def changed(deviation: float, *shape: int) -> Tensor:
        """Gaussian numbers, some rows much smaller than others."""
        return sampler.normal(deviation, count, *shape) * sampler.log_uniform(0.03, 1, count).view(
            -1, *[1] * len(shape)
        )

    turn = changed(0.4, 3)
    turn[:, 2] = torch.where(lost, sampler.uniform(-pi, pi, count), turn[:, 2])
    size = torch.where(lost, sampler.log_uniform(0.4, 2, count), changed(0.25).exp())
    # Millimetres
    shift = torch.where(lost[:, None], sampler.uniform(-120, 120, count, 2), changed(25, 2))
    bent = pdm.clamp(params.local + changed(1.5, modes) * pdm.variances.sqrt())
    return pdm.landmarks(
        ShapeParams(
            params.scale * size,
            params.rotation + turn,
            params.translation + params.scale[:, None] * shift,
            bent,
        )
    )


# At a time
FITS = 64


@dataclass(frozen=True)
class TrialFits:
    """Landmarks that somebody believes in."""

    face: Tensor  # (K,) int64: row of the face that they are meant for
    landmarks: Tensor  # (K, N, 2) pixels of its crop
    error: Tensor  # (K,) mean distance from where they belong, in distances of the outer eye corners

    def __len__(self) -> int:
        """Number of guesses K."""
        return len(self.face)

    def __getitem__(self, rows: Tensor) -> "TrialFits":
        """The guesses of these rows."""
        return TrialFits(self.face[rows], self.landmarks[rows], self.error[rows])

    @classmethod
    def of(cls, faces: FaceCrops, face: Tensor, landmarks: Tensor) -> "TrialFits":
        """Landmarks (K, N, 2) for faces (K,), with their errors."""
        return cls(face, landmarks, face_errors(landmarks, faces.landmarks[face].to(landmarks)))

    @classmethod
    def concatenate(cls, parts: list["TrialFits"]) -> "TrialFits":
        """The rows of several records, one after the other."""
        face, landmarks, error = zip(*((part.face, part.landmarks, part.error) for part in parts), strict=True)
        return cls(torch.cat(face), torch.cat(landmarks), torch.cat(error))


@dataclass(frozen=True)
class Start:
    """What fits of F faces begin with."""

    images: Tensor  # (F, S, S) uint8
    boxes: Tensor  # (F, 4) x, y, width, height, pixels
    upside_down: bool = False  # the images are the crops after half a turn


def usual_boxes(faces: FaceCrops, generator: torch.Generator) -> Start:
    """Boxes near where face detectors see the faces."""
    return Start(faces.gray, perturb_boxes(faces.landmarks, generator))


def displaced_boxes(faces: FaceCrops, generator: torch.Generator) -> Start:
    """Boxes that are too large, too small, or half beside the faces."""
    return Start(faces.gray, perturb_boxes(faces.landmarks, generator, size=0.3, center=0.25))


def boxes_anywhere(faces: FaceCrops, generator: torch.Generator) -> Start:
    """Boxes of any size, anywhere: mostly around what is no face."""
    sampler, count = Sampler(generator, faces.landmarks.device), len(faces)
    size = box_around(faces.landmarks)[:, 2:] * sampler.log_uniform(0.3, 1.5, count, 1)
    middle = sampler.uniform(0, 1, count, 2) * faces.landmarks.new_tensor(faces.gray.shape[:0:-1])
    return Start(faces.gray, torch.cat((middle - size / 2, size), 1))


def half_faces(faces: FaceCrops, generator: torch.Generator) -> Start:
    """Usual boxes in crops that show half of the faces, more or less."""
    return usual_boxes(halve(faces, generator), generator)


def upside_down(faces: FaceCrops, generator: torch.Generator) -> Start:
    """Usual boxes in crops after half a turn."""
    return Start(faces.gray.flip(-2, -1), perturb_boxes(_turned(faces, faces.landmarks), generator), upside_down=True)


STARTS = {
    "usual": usual_boxes,
    "displaced": displaced_boxes,
    "anywhere": boxes_anywhere,
    "upside down": upside_down,
}


def halve(faces: FaceCrops, generator: torch.Generator) -> FaceCrops:
    """The faces, each black to the left or to the right of some line through it."""
    sampler, count = Sampler(generator, faces.landmarks.device), len(faces)
    box = box_around(faces.landmarks)
    line = box[:, 0] + sampler.uniform(0.25, 0.75, count) * box[:, 2]
    column = torch.arange(faces.gray.shape[-1], device=faces.gray.device)
    black = (column < line[:, None]) == sampler.bernoulli(0.5, count, 1)
    return FaceCrops(gray=faces.gray.masked_fill(black[:, None], 0), landmarks=faces.landmarks)


def with_half_faces(faces: FaceCrops, seed: int) -> FaceCrops:
    """The faces, and every second of them once more as a half face."""
    halves = halve(faces[::2], torch.Generator().manual_seed(seed))
    return FaceCrops(
        gray=torch.cat((faces.gray, halves.gray)), landmarks=torch.cat((faces.landmarks, halves.landmarks))
    )


def fit_from(
    detector: LandmarkDetector,
    faces: FaceCrops,
    begin: Callable[[FaceCrops, torch.Generator], Start],
    generator: torch.Generator,
) -> tuple[Tensor, Tensor]:
    """What a detector makes of faces.

    Args:
        detector: The detector.
        faces: F annotated faces.
        begin: Gives images and boxes; one of `STARTS`.
        generator: Decides about them.

    Returns:
        Landmarks in pixels of the crops, NaN where the fit failed, shape (F, N, 2), and confidences, shape (F,).
    """
    landmarks, confidence = [], []
    with torch.inference_mode():
        for rows in torch.arange(len(faces), device=faces.gray.device).split(FITS):
            start = begin(faces[rows], generator)
            found = detector.fit(start.images, start.boxes)
            shape = found.landmarks.float()
            landmarks.append(_turned(faces, shape) if start.upside_down else shape)
            confidence.append(found.confidence)
    return torch.cat(landmarks), torch.cat(confidence)


def run_trial_fits(
    model: LandmarkModel, faces: FaceCrops, seed: int, report: Callable[[int, float], None] = lambda *_: None
) -> TrialFits:
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
        landmarks, _ = fit_from(detector, faces, begin, generator)
        valid = landmarks.isfinite().flatten(1).all(-1).nonzero().squeeze(-1)
        parts.append(TrialFits.of(faces, valid, landmarks[valid]))
        report(number + 1, float((parts[-1].error > FAILED).float().mean()))
    return TrialFits.concatenate(parts)


def _turned(faces: FaceCrops, landmarks: Tensor) -> Tensor:
    """Landmarks (F, N, 2) where they lie after the crops have been turned by half a turn; twice it does nothing."""
    return landmarks.new_tensor(faces.gray.shape[:0:-1]) - 1 - landmarks
