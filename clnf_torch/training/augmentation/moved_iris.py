"""Irises moved sideways in photographs of eyes: what lies between the lids is stretched along the eye.

People in portraits look into the camera, and networks that saw no other photographs would look for irises in the
middle of the eye.
"""

import torch
from torch import Tensor

from clnf_torch.geometry.landmarks28 import CORNERS, IRIS, LIDS
from clnf_torch.geometry.sampling import cells_at, pad_with_black, read_bilinear
from clnf_torch.training.augmentation.random import Sampler
from clnf_torch.training.data.crops import FaceCrops

# Landmarks of both lids between the corners
UPPER, LOWER = tuple(range(9, 14)), tuple(range(15, 20))
# Lids as the product of x (1 - x) and a polynomial of so many coefficients
COEFFICIENTS = 3
# Nearest that the edge of an iris comes to a corner, as a share of the eye's width
LEAST = 0.05


class _Frame:
    """Where E eyes are: coordinates along from corner to corner, 0 to 1, and across, downwards, in the same unit.

    Args:
        landmarks: Pixels, shape (E, 28, 2).
    """

    def __init__(self, landmarks: Tensor) -> None:
        first, last = (landmarks[:, corner] for corner in CORNERS)
        along = last - first
        self._axes = torch.stack((along, torch.stack((-along[:, 1], along[:, 0]), -1)), -1)  # (E, 2, 2) columns
        self._first, self._squared = first[:, None], along.square().sum(-1)[:, None, None]
        self.pixel = 1 / torch.linalg.vector_norm(along, dim=-1, keepdim=True)  # (E, 1)
        points = self.place(landmarks)
        self._upper, self._lower = (_bow(points[:, lid]) for lid in (UPPER, LOWER))

    def place(self, points: Tensor) -> Tensor:
        """Pixels (E, K, 2) in the eye's coordinates."""
        return (points - self._first) @ self._axes / self._squared

    def pixels(self, points: Tensor) -> Tensor:
        """The way back."""
        return points @ self._axes.mT + self._first

    def opening(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """How far down from the upper lid points lie, 1 at the lower one, and the lids' distance there, (E, K) each."""
        upper, lower = self._lids(points[..., 0])
        between = lower - upper
        return (points[..., 1] - upper) / between.clamp_min(1e-3), between

    def moved_to(self, points: Tensor, along: Tensor) -> Tensor:
        """Points (E, K, 2) elsewhere along the eye (E, K), as far between the lids as they were."""
        share, _ = self.opening(points)
        upper, lower = self._lids(along)
        return torch.stack((along, upper + share * (lower - upper)), -1)

    def _lids(self, along: Tensor) -> tuple[Tensor, Tensor]:
        """Heights (E, K) of the upper and of the lower lid."""
        powers = _powers(along)
        upper, lower = ((powers @ lid)[..., 0] for lid in (self._upper, self._lower))
        return upper, lower


def move_irises(eyes: FaceCrops, sampler: Sampler) -> FaceCrops:
    """The eyes looking elsewhere along them, by chance.

    Args:
        eyes: E crops (E, S, S) with landmarks (E, 28, 2).
        sampler: Gives the random numbers.

    Returns:
        As many eyes, lids where they were.
    """
    landmarks, side = eyes.landmarks, eyes.gray.shape[-1]
    frame = _Frame(landmarks)
    points = frame.place(landmarks)
    middle = points[:, :IRIS, 0].mean(1)
    away = points[:, :IRIS] - points[:, :IRIS].mean(1, keepdim=True)
    radius = torch.linalg.vector_norm(away, dim=-1).mean(1).clamp(max=0.4)
    place = radius + LEAST + (1 - 2 * (radius + LEAST)) * sampler.uniform(0, 1, len(middle))
    before, after = (_knots(at, radius) for at in (middle, place))
    axis = torch.arange(side, dtype=landmarks.dtype, device=landmarks.device)
    pixels = torch.cartesian_prod(axis, axis).flip(-1).expand(len(landmarks), -1, -1)
    seen = frame.place(pixels)
    source = frame.moved_to(seen, _stretched(seen[..., 0], after, before))
    share, between = frame.opening(seen)
    # Nothing but the eyeball moves, a pixel at the lids' edges in part
    edge = (torch.minimum(share, 1 - share) * between / frame.pixel).clamp(0, 1)
    edge = edge * ((seen[..., 0] > 0) & (seen[..., 0] < 1))
    moved = torch.lerp(pixels, frame.pixels(source), edge[..., None]).clamp(0, side - 1)
    rows = torch.arange(len(landmarks), device=landmarks.device)
    positions = cells_at(moved.view(-1, side, side, 2))
    gray = read_bilinear(pad_with_black(eyes.gray), rows, positions, torch.float32)
    ball = torch.cat((points[:, : LIDS.start], points[:, LIDS.stop :]), 1)
    ball = frame.pixels(frame.moved_to(ball, _stretched(ball[..., 0], before, after)))
    found = torch.cat((ball[:, : LIDS.start], landmarks[:, LIDS], ball[:, LIDS.start :]), 1)
    return FaceCrops(gray=gray.round().clamp(0, 255).to(torch.uint8), landmarks=found)


def _powers(along: Tensor) -> Tensor:
    """Powers of x times x (1 - x), (..., COEFFICIENTS); 0 beyond the corners."""
    along = along.clamp(0, 1)
    return (along * (1 - along))[..., None] * along[..., None] ** torch.arange(COEFFICIENTS, device=along.device)


def _bow(lid: Tensor) -> Tensor:
    """Coefficients (E, COEFFICIENTS, 1) of lids through points (E, 5, 2)."""
    powers = _powers(lid[..., 0])
    normal = powers.mT @ powers + 1e-6 * torch.eye(COEFFICIENTS, dtype=lid.dtype, device=lid.device)
    return torch.linalg.solve(normal, powers.mT @ lid[..., 1:])


def _knots(middle: Tensor, radius: Tensor) -> Tensor:
    """Places (E, 4) along the eye: corner, edges of the iris, corner."""
    zero, one = torch.zeros_like(middle), torch.ones_like(middle)
    return torch.stack((zero, (middle - radius).clamp(0.01, 0.98), (middle + radius).clamp(0.02, 0.99), one), -1)


def _stretched(along: Tensor, before: Tensor, after: Tensor) -> Tensor:
    """Places (E, K) along the eye where knots (E, 4) came to lie elsewhere, linear between them."""
    number = torch.searchsorted(before.contiguous(), along.contiguous()).clamp(1, 3)
    x0, x1 = (before.gather(1, number - step) for step in (1, 0))
    y0, y1 = (after.gather(1, number - step) for step in (1, 0))
    return y0 + (along - x0) / (x1 - x0).clamp_min(1e-3) * (y1 - y0)
