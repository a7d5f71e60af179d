"""Landmark corruptions: the errors that networks make on marked faces, to test what detects and repairs them."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from clnf_torch.geometry.landmarks68 import EYES, JAW, LEFT_EYE, MOUTH, RIGHT_EYE
from clnf_torch.training.augmentation.random import Sampler

UPPER_TO_LOWER = (54, 59, 58, 57, 56, 55, 48, 53, 52, 51, 50, 49, 64, 67, 66, 65, 60, 63, 62, 61)
# Of a face that drifted to the mean, in sizes of it
MEAN_NOISE = 0.02


@dataclass(frozen=True)
class Faces:
    """The landmarks to corrupt, and what the corruptions need."""

    landmarks: Tensor  # (B, 68, 2)
    mean: Tensor  # (68, 2) a mean face, upright
    sampler: Sampler

    @property
    def middle(self) -> Tensor:
        """Mean of the landmarks, shape (B, 1, 2)."""
        return self.landmarks.mean(1, keepdim=True)

    @property
    def size(self) -> Tensor:
        """Root mean square distance from the middle, shape (B, 1, 1)."""
        return (self.landmarks - self.middle).square().sum(-1).mean(-1).sqrt()[:, None, None]

    def uniform(self, low: float, high: float) -> Tensor:
        """A number for each face, shape (B, 1, 1)."""
        return self.sampler.uniform(low, high, len(self.landmarks), 1, 1).to(self.landmarks)

    def noise(self, deviation: float) -> Tensor:
        """Gaussian displacements of every landmark, in sizes of its face, shape (B, 68, 2)."""
        return self.sampler.normal(deviation, *self.landmarks.shape).to(self.landmarks) * self.size

    def displacement(self, nearest: float, farthest: float) -> Tensor:
        """A displacement for each face in any direction, in sizes of it, shape (B, 1, 2)."""
        angle = self.uniform(0, 2 * torch.pi)
        return torch.cat((angle.cos(), angle.sin()), -1) * self.uniform(nearest, farthest) * self.size


def _eyes_swapped(faces: Faces) -> Tensor:
    """Each eye where the other one is."""
    return _with(faces, EYES, torch.cat((faces.landmarks[:, RIGHT_EYE], faces.landmarks[:, LEFT_EYE]), 1))


def _eyes_crossed(faces: Faces) -> Tensor:
    """Upper lids below the lower ones, by more than the eye was open."""
    eyes = faces.landmarks[:, EYES]
    exchanged = eyes[:, [0, 5, 4, 3, 2, 1, 6, 11, 10, 9, 8, 7]]
    return _with(faces, EYES, eyes + faces.uniform(1.3, 2) * (exchanged - eyes) + faces.noise(0.01)[:, EYES])


def _mouth_inverted(faces: Faces) -> Tensor:
    """The mouth turned by a half turn, and grown."""
    mouth = faces.landmarks[:, MOUTH]
    middle = mouth.mean(1, keepdim=True)
    turned = mouth[:, [index - 48 for index in UPPER_TO_LOWER]]
    return _with(faces, MOUTH, middle + faces.uniform(1.2, 2) * (turned - middle))


def _jaw_collapsed(faces: Faces) -> Tensor:
    """The jaw drawn in towards the mouth."""
    jaw, mouth = faces.landmarks[:, JAW], faces.landmarks[:, MOUTH].mean(1, keepdim=True)
    return _with(faces, JAW, torch.lerp(jaw, mouth, faces.uniform(0.45, 0.8)) + faces.noise(0.02)[:, JAW])


def _jaw_dragged(faces: Faces) -> Tensor:
    """One half of the jaw on a straight line, as a pen draws it across the cheek from the ear to below the mouth."""
    jaw = faces.landmarks[:, JAW]
    along = torch.linspace(0, 1, 9, dtype=jaw.dtype, device=jaw.device)[None, :, None]
    below = torch.lerp(faces.landmarks[:, [57]], jaw[:, [8]], faces.uniform(0, 0.3))
    inner = torch.lerp(jaw[:, [0]], faces.landmarks[:, [30]], faces.uniform(0.3, 0.6))
    line = inner + along * (below - inner)
    mirrored = faces.sampler.bernoulli(0.5, len(jaw), 1, 1)
    other_inner = torch.lerp(jaw[:, [16]], faces.landmarks[:, [30]], faces.uniform(0.3, 0.6))
    other_line = below + along * (other_inner - below)
    left = torch.cat((line, jaw[:, 9:]), 1)
    right = torch.cat((jaw[:, :8], other_line), 1)
    return _with(faces, JAW, torch.where(mirrored, right, left))


def _shifted(faces: Faces) -> Tensor:
    """The whole face beside itself."""
    return faces.landmarks + faces.displacement(0.35, 0.8)


def _scaled(faces: Faces) -> Tensor:
    """The whole face too small or too large."""
    grown = torch.where(faces.uniform(0, 1) < 0.5, faces.uniform(0.5, 0.75), faces.uniform(1.35, 1.7))
    return faces.middle + grown * (faces.landmarks - faces.middle) + faces.displacement(0, 0.1)


def _rotated(faces: Faces) -> Tensor:
    """The whole face turned in the plane of the image, either way."""
    return faces.middle + _turned(faces.landmarks - faces.middle, _either_way(faces, 0.35, 1.0))


def _drawn_to_a_pen_mark(faces: Faces) -> Tensor:
    """A third of the points, neighbours of each other, jumped onto a short line."""
    rows, count = faces.landmarks.shape[:2]
    seed = faces.sampler.integers(count, rows)[:, None, None].expand(-1, 1, 2)
    away = torch.linalg.vector_norm(faces.landmarks - faces.landmarks.gather(1, seed), dim=-1)
    nearest = away.argsort(1).argsort(1) < count // 3
    place, along = faces.middle + faces.displacement(0.3, 1.0), faces.displacement(0.1, 0.3)
    spread = faces.sampler.uniform(-1, 1, rows, count, 1).to(faces.landmarks)
    return torch.where(nearest[..., None], place + spread * along, faces.landmarks)


def _drifted_to_the_mean(faces: Faces) -> Tensor:
    """An upright mean face, somewhere near, in about the right size: what networks give that see nothing."""
    mean = faces.mean.to(faces.landmarks) - faces.mean.to(faces.landmarks).mean(0)
    size = mean.square().sum(-1).mean().sqrt()
    upright = mean / size * faces.size * faces.uniform(0.75, 1.3)
    turned = _turned(upright, _either_way(faces, 0.15, 0.4))
    return faces.middle + turned + faces.displacement(0.2, 0.5) + faces.noise(MEAN_NOISE)


def _noisy(faces: Faces) -> Tensor:
    """Every landmark somewhere around its place."""
    return faces.landmarks + faces.noise(1) * faces.uniform(0.15, 0.35)


def _outside(faces: Faces) -> Tensor:
    """A third of the points far off the face, in one direction."""
    far = faces.sampler.bernoulli(1 / 3, *faces.landmarks.shape[:2], 1)
    return torch.where(far, faces.landmarks + faces.displacement(3, 8), faces.landmarks)


CORRUPTIONS: dict[str, Callable[[Faces], Tensor]] = {
    "eyes swapped": _eyes_swapped,
    "eyes crossed": _eyes_crossed,
    "mouth inverted": _mouth_inverted,
    "jaw collapsed": _jaw_collapsed,
    "jaw dragged": _jaw_dragged,
    "shifted": _shifted,
    "scaled": _scaled,
    "rotated": _rotated,
    "drawn to a pen mark": _drawn_to_a_pen_mark,
    "drifted to the mean": _drifted_to_the_mean,
    "noisy": _noisy,
    "outside": _outside,
}


def corrupt_landmarks(landmarks: Tensor, kind: Tensor, mean: Tensor, generator: torch.Generator) -> Tensor:
    """Landmarks with the corruption of each face's kind.

    Args:
        landmarks: Pixels, shape (B, 68, 2).
        kind: Which of `CORRUPTIONS` each face gets, by its place there, int64, shape (B,); -1 leaves a face as it is.
        mean: A mean face seen from the front, in any unit, shape (68, 2), as ``pdm.mean[:, :2]``.
        generator: Of the random numbers.

    Returns:
        Shape (B, 68, 2).
    """
    faces = Faces(landmarks, mean, Sampler(generator, landmarks.device))
    corrupted = landmarks
    for number, corruption in enumerate(CORRUPTIONS.values()):
        corrupted = torch.where((kind == number)[:, None, None], corruption(faces), corrupted)
    return corrupted


def _with(faces: Faces, points: slice, values: Tensor) -> Tensor:
    """The landmarks with other ones in some places."""
    corrupted = faces.landmarks.clone()
    corrupted[:, points] = values
    return corrupted


def _either_way(faces: Faces, least: float, most: float) -> Tensor:
    """An angle for each face, clockwise or not, radians, shape (B, 1, 1)."""
    return faces.uniform(least, most) * torch.where(faces.uniform(0, 1) < 0.5, -1.0, 1.0)


def _turned(points: Tensor, angle: Tensor) -> Tensor:
    """Points (B, N, 2) turned around the origin by angles (B, 1, 1)."""
    x, y = points.split(1, -1)
    return torch.cat((angle.cos() * x - angle.sin() * y, angle.sin() * x + angle.cos() * y), -1)
