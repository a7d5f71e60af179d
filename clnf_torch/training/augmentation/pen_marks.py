"""Augmentation by surgical pen marks of our own design, batched and on the images' device.

Patch experts that follow the texture of skin respond to pen lines; experts that were trained with them do so less.
"""

import torch
from torch import Tensor

from clnf_torch.geometry.gray import BLUE, GREEN, RED
from clnf_torch.training.augmentation.pen_strokes import Faces, Strokes, long_strokes, places, short_strokes
from clnf_torch.training.augmentation.random import Sampler
from clnf_torch.training.augmentation.rasterize import LineSegments, rasterize

# On each face; most strokes are drawn with the first
PENS = 2
INKS = (
    (70, 40, 130), (95, 30, 120), (30, 40, 120), (20, 60, 160), (25, 25, 30), (45, 50, 70),
    (20, 90, 60), (10, 110, 110), (150, 30, 40), (110, 60, 30), (225, 225, 215),
)  # RGB: violets, blues, blacks, greens, red, brown, white  # fmt: skip


def draw_pen_marks(images: Tensor, landmarks: Tensor, generator: torch.Generator, probability: float = 1.0) -> Tensor:
    """Images of faces with lines, rings, crosses, arrows, hatchings and dots drawn on them.

    Every face gets its own drawing: how much is drawn, where, how thick relative to the face, with which ink, in full
    lines, dashes or dots.

    Args:
        images: Gray (B, H, W) or RGB (B, 3, H, W), one face each, uint8 or floating point in 0 to 255.
        landmarks: Of the faces, pixels (x, y), shape (B, 68, 2). Faces with a NaN stay as they are.
        generator: Of the random numbers; on any device.
        probability: Of pen marks on an image; the others stay as they are.

    Returns:
        New images, of the same shape and number type.
    """
    rows, (height, width) = images.shape[0], images.shape[-2:]
    sampler = Sampler(generator, images.device)
    busy = sampler.uniform(0.3, 1, rows) * sampler.bernoulli(probability, rows)
    faces = Faces.of(landmarks.to(images.device, torch.float32), busy)
    coverage = rasterize(_segments(faces, sampler), rows * PENS, height, width).view(rows, PENS, height, width)
    colour = _colours(sampler, rows)
    # How much the skin shows through even where all is covered
    glaze = sampler.uniform(0, 0.5, rows, PENS)
    painted = images.to(torch.float32)
    painted = painted if images.ndim == 4 else painted[:, None]
    if images.ndim == 3:
        colour = (colour @ colour.new_tensor([RED, GREEN, BLUE]) / (RED + GREEN + BLUE))[..., None]
    for pen in range(PENS):
        tint, through = colour[:, pen, :, None, None], glaze[:, pen, None, None, None]
        wanted = painted * (through * tint / 255) + (1 - through) * tint
        painted = torch.lerp(painted, wanted, coverage[:, pen, None])
    painted = painted.view(images.shape)
    return painted.to(images.dtype) if images.is_floating_point() else painted.round().to(images.dtype)


def _segments(faces: Faces, sampler: Sampler) -> LineSegments:
    """All that is drawn, cut into short straight lines; the sheet of each is PENS * face + pen."""
    rows = len(faces.landmarks)
    thickness = sampler.log_uniform(0.025, 0.1, rows, 1) * faces.size[:, :, 0, 0]
    return _joined(
        [
            _segments_of(faces, long_strokes(faces, sampler), thickness, sampler, broken=0.45),
            _segments_of(faces, short_strokes(faces, sampler), thickness, sampler, broken=0),
            _segments_of(faces, _dots(faces, sampler, 10), 2.5 * thickness, sampler, broken=0),
        ]
    )


def _dots(faces: Faces, sampler: Sampler, count: int) -> Strokes:
    """Strokes without length."""
    rows = len(faces.landmarks)
    return Strokes(
        points=places(faces, sampler, count).expand(-1, -1, 2, -1),
        drawn=sampler.bernoulli(0.3 * faces.busy, rows, count),
    )


def _segments_of(faces: Faces, strokes: Strokes, thickness: Tensor, sampler: Sampler, broken: float) -> LineSegments:
    """The segments of strokes, of a thickness (B, 1) that varies; `broken` is the probability of dashes or dots."""
    rows, count, points, _ = strokes.points.shape
    start, end = strokes.points[:, :, :-1], strokes.points[:, :, 1:]
    drawn_parts, dot = _broken(rows, count, points - 1, sampler, broken)
    radius = thickness * sampler.log_uniform(0.7, 1.4, rows, count) / 2
    opacity = sampler.uniform(0.6, 1, rows, 1) * sampler.uniform(0.85, 1, rows, count)
    along = torch.linspace(0, 1, points - 1, device=sampler.device)
    wave = torch.sin(sampler.uniform(2, 12, rows, count, 1) * along + sampler.uniform(0, 6.3, rows, count, 1))
    pressure = 1 - sampler.uniform(0, 0.15, rows, count, 1) * (wave + 1)  # (B, S, P - 1)
    softness = sampler.uniform(1, 1.6, rows, 1).expand(-1, count)
    pen = sampler.bernoulli(0.15, rows, count).long()
    sheet = PENS * torch.arange(rows, device=sampler.device)[:, None] + pen
    chosen = (drawn_parts & strokes.drawn[..., None] & faces.size.isfinite()[..., 0]).nonzero(as_tuple=True)
    stroke = chosen[:2]
    dotted = dot[stroke]
    return LineSegments(
        start=start[chosen],
        end=torch.where(dotted[:, None], start[chosen], end[chosen]),
        radius=radius[stroke] * torch.where(dotted, 1.4, 1.0),
        softness=softness[stroke],
        opacity=opacity[stroke] * pressure[chosen],
        sheet=sheet[stroke],
    )


def _broken(rows: int, count: int, parts: int, sampler: Sampler, probability: float) -> tuple[Tensor, Tensor]:
    """Which parts (B, S, P - 1) of strokes are drawn, and which strokes (B, S) are made of dots."""
    period = 2 + sampler.integers(5, rows, count, 1)
    place = torch.arange(parts, device=sampler.device) % period
    # Below a half dashes, below 1 dots, else full lines
    kind = sampler.uniform(0, 1, rows, count, 1) / max(probability, 1e-9)
    dashed = place < (period * sampler.uniform(0.35, 0.8, rows, count, 1)).clamp_min(1)
    return torch.where(kind < 0.5, dashed, (kind > 1) | (place == 0)), ((kind >= 0.5) & (kind <= 1)).squeeze(-1)


def _colours(sampler: Sampler, rows: int) -> Tensor:
    """RGB of every pen, 0 to 255, shape (B, PENS, 3)."""
    usual = torch.tensor(INKS, dtype=torch.float32, device=sampler.device)[sampler.integers(len(INKS), rows, PENS)]
    any_colour = sampler.uniform(0, 255, rows, PENS, 3)
    colour = torch.where(sampler.bernoulli(0.1, rows, PENS, 1), any_colour, usual)
    return (colour + sampler.normal(15, rows, PENS, 3)).clamp(0, 255)


def _joined(parts: list[LineSegments]) -> LineSegments:
    """All segments of several kinds."""
    names = ("start", "end", "radius", "softness", "opacity", "sheet")
    return LineSegments(**{name: torch.cat([getattr(part, name) for part in parts]) for name in names})
