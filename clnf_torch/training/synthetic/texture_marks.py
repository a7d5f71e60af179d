"""Surgical pen markings drawn in the skin's texture, where they follow the surface and the light."""

import torch
from torch import Tensor

from clnf_torch.training.augmentation.random import Sampler
from clnf_torch.training.synthetic.skin_texture import MM, along, strokes

# sRGB of surgeons' pens: violet, blue, black, green, red
INKS = ((0.30, 0.10, 0.45), (0.12, 0.15, 0.45), (0.08, 0.08, 0.10), (0.08, 0.32, 0.25), (0.50, 0.10, 0.12))
# Curves that surgeons draw, as chains of landmarks: folds, lids, brows, jaw, midline, lips, cheeks
CURVES = (
    (31, 48), (35, 54), (31, 49, 48, 6), (35, 53, 54, 10), (36, 41, 40, 39), (42, 47, 46, 45), (36, 37, 38, 39),
# Along which surgeons draw, as chains of landmarks: folds, lids, brows, jaw, midline, lips, cheeks
    (8, 57, 51, 33), (48, 50, 51, 52, 54), (2, 41), (14, 46), (3, 31), (13, 35), (0, 36), (16, 45), (4, 48), (12, 54),
)  # fmt: skip
# Points of a drawn curve, and of rings
STEPS, RING = 60, 24


def draw_marks(colour: Tensor, points: Tensor, sampler: Sampler) -> Tensor:
    """Skin with lines, rings, crosses, dots and hatchings of a pen.

    Args:
        colour: Of the skin, sRGB 0 to 1, shape (SIDE, SIDE, 3).
        points: The 68 landmarks in the texture's pixels, shape (68, 2).
        sampler: Gives the random numbers.
    """
    radius = float(sampler.log_uniform(0.35, 1.1)) * MM
    pieces = [_curve(points, sampler) for _ in range(2 + int(sampler.integers(9)))]
    pieces += [_small(points, sampler) for _ in range(int(sampler.integers(9)))]
    start, end = torch.cat([piece[0] for piece in pieces]), torch.cat([piece[1] for piece in pieces])
    opacity = sampler.uniform(0.55, 0.95, 1) * sampler.uniform(0.8, 1, len(start))
    covered = strokes(start, end, torch.full((len(start),), radius) * sampler.uniform(0.8, 1.2, len(start)), opacity)
    ink = (torch.tensor(INKS[int(sampler.integers(len(INKS)))]) + sampler.normal(0.05, 3)).clamp(0, 1)
    # Skin shows through ink
    return torch.lerp(colour, ink * (0.7 + 0.3 * colour), covered[..., None])


def _curve(points: Tensor, sampler: Sampler) -> tuple[Tensor, Tensor]:
    """A curve by the face's landmarks, moved a little, full or dashed: starts and ends (K, 2) of its pieces."""
    chain = points[list(CURVES[int(sampler.integers(len(CURVES)))])]
    shift, wave = sampler.normal(4 * MM, 1, 2), sampler.normal(1.5 * MM, 2, 1)
    share = torch.linspace(float(sampler.uniform(-0.1, 0.2)), float(sampler.uniform(0.7, 1.1)), STEPS)
    path = along(chain + shift, share) + torch.sin(share * 6)[:, None] * wave.T
    dash = 1 + int(sampler.integers(5))
    kept = torch.arange(STEPS - 1) % (2 * dash) < dash if bool(sampler.bernoulli(0.4)) else torch.ones(STEPS - 1) > 0
    return path[:-1][kept], path[1:][kept]


def _small(points: Tensor, sampler: Sampler) -> tuple[Tensor, Tensor]:
    """A ring, a cross, an arrow's head, hatching or a dot somewhere on the face."""
    center = points[int(sampler.integers(68))] + sampler.normal(10 * MM, 2)
    size, kind = float(sampler.log_uniform(1.5, 9)) * MM, int(sampler.integers(5))
    if kind == 0:
        turn = torch.linspace(0, 6.3, RING)
        path = center + size * torch.stack((turn.cos(), turn.sin() * float(sampler.uniform(0.6, 1.4))), 1)
        return path[:-1], path[1:]
    if kind == 1:
        arms = torch.tensor([[1.0, 1], [1, -1]]) * size * 0.6
        return center - arms, center + arms
    if kind == 2:
        arms = torch.tensor([[-1.0, 0.7], [-1, -0.7]]) * size * 0.6
        return center.expand(2, 2), center + arms
    if kind == 3:
        rows = torch.arange(5.0)[:, None] * torch.tensor([0.4, 0.5]) * size
        return center + rows, center + rows + torch.tensor([0.8, -0.6]) * size
    return center[None], center[None] + 0.1
