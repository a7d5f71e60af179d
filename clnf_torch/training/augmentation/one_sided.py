"""Sides of a face that move each for itself, as palsy, surgery and wry smiles have them.

People in photographs raise both brows, close both eyes and draw up both corners of the mouth. Networks that saw no
others find half of what one side does alone. Here brow, lids, corner of the mouth and nostril of each side move by
amounts of their own; a thin-plate spline takes the image along.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from clnf_torch.geometry.landmarks68 import MIRROR, MOUTH, MOUTH_CORNERS, NUM_LANDMARKS, OUTER_EYE_CORNERS
from clnf_torch.training.augmentation.moved_landmarks import moved_faces
from clnf_torch.training.augmentation.random import Sampler
from clnf_torch.training.data.crops import FaceCrops

# Of the side on the left of the image: brow, nostril, and upper and lower lid; the others are their mirror images
BROW, NOSTRIL, UPPER_LID, LOWER_LID = (17, 18, 19, 20, 21), (31, 32), (37, 38), (41, 40)
# So far beyond the middle of the mouth, in halves of its width, a corner takes the lips along
REACH = 0.6
# Of the change of an eye's opening, what the upper lid does
UPPER_SHARE = 0.8
# No brow comes closer to its eye's upper lid; share of the distance of the outer eye corners
BROW_ABOVE_LID = 0.06
# Pixels between which a spline is interpolated
KNOT = 4


@dataclass(frozen=True, kw_only=True)
class SideMovement:
    """How one side of B faces moves; lengths are shares of the distance of the outer eye corners, down is positive."""

    corner: Tensor  # (B, 2) of the mouth: towards the other side, and down
    brow: Tensor  # (B,)
    brow_tilt: Tensor  # (B,) of the brow's inner end; its outer one moves the other way
    nostril: Tensor  # (B,)
    opening: Tensor  # (B,) of the eye, times what it was


@dataclass(frozen=True, kw_only=True)
class OneSided:
    """How far parts of a side move by chance: standard deviations of `SideMovement`."""

    part: float = 0.7  # probability that a part moves at all
    corner: tuple[float, float] = (0.04, 0.055)
    brow: float = 0.05
    brow_tilt: float = 0.015
    nostril: float = 0.01
    opening: float = 0.6  # of the logarithm
    openings: tuple[float, float] = (0.1, 1.7)  # the least and the most
    most: float = 2.5  # standard deviations

    def draw(self, count: int, sampler: Sampler) -> SideMovement:
        """Movements of so many faces' sides."""

        def moved(deviation: float) -> Tensor:
            drawn = sampler.normal(1, count).clamp(-self.most, self.most) * deviation
            return drawn * sampler.bernoulli(self.part, count)

        return SideMovement(
            corner=torch.stack([moved(deviation) for deviation in self.corner], 1),
            brow=moved(self.brow),
            brow_tilt=moved(self.brow_tilt),
            nostril=moved(self.nostril),
            opening=moved(self.opening).exp().clamp(*self.openings),
        )


def with_one_sided(faces: FaceCrops, sampler: Sampler, config: OneSided | None = None) -> FaceCrops:
    """The faces, both sides of each moved by chance, each for itself.

    Args:
        faces: F faces of 68 landmarks.
        sampler: Gives the random numbers.
        config: Settings.
    """
    shifts = one_sided_shifts(faces.landmarks, sampler, config)
    return moved_faces(faces, faces.landmarks + shifts, KNOT)


def one_sided_shifts(landmarks: Tensor, sampler: Sampler, config: OneSided | None = None) -> Tensor:
    """Movements by chance of both sides of faces, each for itself, pixels, as the landmarks (B, N, 2).

    Nothing moves where these are not the 68 of a face.
    """
    if landmarks.shape[1] != NUM_LANDMARKS:
        return torch.zeros_like(landmarks)
    config = config or OneSided()
    left, right = (config.draw(len(landmarks), sampler) for _ in range(2))
    return side_shifts(landmarks, left, right)


def side_shifts(landmarks: Tensor, left: SideMovement, right: SideMovement) -> Tensor:
    """By how much movements of both sides move the landmarks.

    Args:
        landmarks: Pixels, shape (B, 68, 2).
        left: Of the side on the left of the image.
        right: Of the other one.

    Returns:
        Pixels, shape (B, 68, 2); 0 for faces whose eye corners fall on each other.
    """
    first, last = (landmarks[:, corner] for corner in OUTER_EYE_CORNERS)
    along = last - first
    # Shares of the distance of the eye corners, along them and down, times these are pixels
    axes = torch.stack((along, torch.stack((-along[:, 1], along[:, 0]), -1)), 1)
    length = along.square().sum(-1)[:, None, None]
    places = (landmarks - landmarks.mean(1, keepdim=True)) @ axes.mT / length
    shifts = _of_left(places, left) + _mirrored(_of_left(_mirrored(places), right))
    return torch.where(length > 0, shifts @ axes, 0)


def _mirrored(places: Tensor) -> Tensor:
    """Places or movements (B, 68, 2) of the mirrored face."""
    return places[:, list(MIRROR)] * places.new_tensor((-1, 1))


def _of_left(places: Tensor, movement: SideMovement) -> Tensor:
    """Movements (B, 68, 2) of the side on the left, of landmarks at places (B, 68, 2)."""
    shifts = torch.zeros_like(places)
    corner, other = (places[:, None, landmark, 0] for landmark in MOUTH_CORNERS)
    from_middle = (corner + other - 2 * places[:, MOUTH, 0]) / (other - corner)  # 1 at the corner
    taken = ((from_middle + REACH) / (1 + REACH)).clamp(min=0).pow(1.5)
    shifts[:, MOUTH] = (taken[..., None] * movement.corner[:, None]).to(places)
    tilt = torch.linspace(-1, 1, len(BROW), dtype=places.dtype, device=places.device)
    lowest = places[:, UPPER_LID, 1].amin(1, keepdim=True) - BROW_ABOVE_LID - places[:, BROW, 1]
    brow = (movement.brow[:, None] + tilt * movement.brow_tilt[:, None]).to(places)
    shifts[:, BROW, 1] = torch.minimum(brow, lowest.clamp(min=0))
    shifts[:, NOSTRIL, 1] = movement.nostril[:, None].to(places)
    closing = (1 - movement.opening.to(places))[:, None, None] * (places[:, LOWER_LID] - places[:, UPPER_LID])
    shifts[:, UPPER_LID], shifts[:, LOWER_LID] = UPPER_SHARE * closing, (UPPER_SHARE - 1) * closing
    return shifts
