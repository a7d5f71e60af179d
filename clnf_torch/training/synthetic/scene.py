"""Where the camera stands, how the head is held, what light falls on it and what is behind it, at random."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import interpolate, normalize

from clnf_torch.training.augmentation.random import Sampler
from clnf_torch.training.synthetic.head_model import rotation_about
from clnf_torch.training.synthetic.renderer import Lighting

# Radians: deviations of the head's rotation about its axes
YAW, PITCH, ROLL = math.radians(25), math.radians(12), math.radians(10)
# Profiles are seen, the back of the head is not
MOST_YAW, MOST_PITCH = math.radians(95), math.radians(45)
# The longer side of the 68 landmarks' extent of an average face, mm, by which the image's scale is set
FACE = 150.0
# The image shows so many times the face; the camera stands so far away, mm
MARGIN, DISTANCE = (1.5, 2.6), (350.0, 2500.0)


@dataclass(frozen=True, kw_only=True)
class View:
    """A pinhole camera and a head before it: points p of the head's axes lie at rotation @ p + translation."""

    rotation: Tensor  # (3, 3)
    translation: Tensor  # (3,) mm in the camera's axes: of the middle between the eyeballs' centres
    focal: float  # pixels
    center: Tensor  # (2,) principal point, pixels

    def to_camera(self, points: Tensor) -> Tensor:
        """Points (..., 3) in the camera's axes."""
        return points @ self.rotation.T + self.translation

    def to_image(self, points: Tensor) -> Tensor:
        """Where points (..., 3) of the head's axes are seen, pixels (..., 2)."""
        seen = self.to_camera(points)
        return seen[..., :2] / seen[..., 2:] * self.focal + self.center


def random_view(sampler: Sampler, side: int) -> View:
    """A view of a head in an image of a side in pixels; the face lies about its middle."""
    yaw, pitch, roll = sampler.normal(1, 3).tolist()
    yaw = max(-MOST_YAW, min(MOST_YAW, yaw * YAW))
    pitch = max(-MOST_PITCH, min(MOST_PITCH, pitch * PITCH))
    rotation = rotation_about(2, roll * ROLL) @ rotation_about(0, pitch) @ rotation_about(1, yaw)
    distance = float(sampler.log_uniform(*DISTANCE))
    focal = side / (FACE * float(sampler.uniform(*MARGIN))) * distance
    # The image is cut out of a larger one, so that its middle is not the camera's axis
    center = (side - 1) / 2 + sampler.normal(0.6 * side, 2)
    # The middle of the face lies below the eyes
    middle = rotation @ torch.tensor([0.0, 30.0, 10.0])
    place = (side - 1) / 2 + sampler.normal(0.04 * side, 2)
    translation = torch.cat(((place - center) / focal * distance, torch.tensor([distance]))) - middle
    return View(rotation=rotation, translation=translation, focal=focal, center=center)


def random_lighting(sampler: Sampler) -> Lighting:
    """A main lamp, two weaker ones and light from around, scaled to about the same exposure."""
    angle = sampler.uniform(-1, 1, 3) * torch.tensor([1.9, 2.6, 3.0])
    height = sampler.uniform(-0.35, 1.2, 3)
    directions = torch.stack((angle.sin() * height.cos(), -height.sin(), -angle.cos() * height.cos()), 1)
    strength = torch.cat((sampler.log_uniform(0.3, 2.5, 1), sampler.log_uniform(0.05, 0.8, 2)))
    warm = sampler.normal(0.05, 3, 1) * torch.tensor([1.0, 0.0, -1.0]) + 1
    harmonics = torch.zeros(9, 3)
    around = float(sampler.log_uniform(0.15, 0.9)) * (1 + sampler.normal(0.03, 3))
    harmonics[0] = around
    harmonics[1] = -around * sampler.uniform(0.0, 0.5, 1)
    harmonics[2:4] = around * sampler.normal(0.25, 2, 1)
    harmonics[4:] = around * sampler.normal(0.08, 5, 1)
    colours = strength[:, None] * warm
    seen = harmonics[0].mean() + (strength * (-directions[:, 2]).clamp_min(0)).sum()
    exposure = float(sampler.log_uniform(0.8, 2.2) / seen)
    return Lighting(directions=normalize(directions, dim=1), colours=colours * exposure, harmonics=harmonics * exposure)


def random_background(sampler: Sampler, side: int) -> Tensor:
    """An image (3, side, side), 0 to 1, of soft shapes and a few sharp ones."""
    image = torch.zeros(3, side, side)
    for cells, weight in ((2, 0.5), (5, 0.3), (17, 0.15)):
        coarse = sampler.uniform(0, 1, 1, 3, cells, cells)
        gray = coarse.mean(1, keepdim=True)
        image += weight * interpolate(torch.lerp(gray, coarse, 0.25), size=(side, side), mode="bilinear")[0]
    line = torch.arange(side) / side
    for _ in range(int(sampler.integers(8))):
        x, y, width, height, tilt = sampler.uniform(0, 1, 5).tolist()
        across = (line - x) * math.cos(tilt) + (line[:, None] - y) * math.sin(tilt)
        down = (line[:, None] - y) * math.cos(tilt) - (line - x) * math.sin(tilt)
        inside = (across.abs() < width / 3) & (down.abs() < height / 3)
        image = torch.where(inside, torch.lerp(image, _dull(sampler).expand_as(image), 0.8), image)
    return (image * float(sampler.log_uniform(0.4, 1.2))).clamp(0, 1)


def _dull(sampler: Sampler) -> Tensor:
    """A colour (3, 1, 1) without much saturation."""
    return (sampler.uniform(0, 1, 1, 1, 1) + sampler.normal(0.08, 3, 1, 1)).clamp(0, 1)
