"""Skin painted at random on the face's texture: tone, blotches, lips, freckles, wrinkles, brows, beard, make-up."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import interpolate, pad

from clnf_torch.training.augmentation.random import Sampler
from clnf_torch.training.augmentation.rasterize import LineSegments, rasterize
from clnf_torch.training.synthetic.face_mesh import BOTTOM, TOP

# Pixels of the texture's side; MAP of masks that change slowly
SIDE, MAP = 1024, 256
# Pixels of the texture for a millimetre of height; along the face's middle about as many for one of width
MM = SIDE / (BOTTOM - TOP)
# sRGB of skin from light to dark
TONES = (
    (0.93, 0.78, 0.70),
    (0.88, 0.70, 0.58),
    (0.76, 0.56, 0.44),
    (0.58, 0.40, 0.30),
    (0.40, 0.27, 0.20),
    (0.28, 0.19, 0.15),
)
# sRGB of hair: black, dark brown, brown, red, blond, grey, white
HAIR = (
    (0.05, 0.04, 0.04), (0.13, 0.08, 0.06), (0.24, 0.15, 0.10), (0.38, 0.17, 0.08), (0.55, 0.42, 0.26),
    (0.45, 0.44, 0.43), (0.78, 0.77, 0.75),
)  # fmt: skip
BROWS = ((17, 18, 19, 20, 21), (26, 25, 24, 23, 22))


@dataclass(frozen=True, kw_only=True)
class SkinLook:
    """Colours that skin, brows and hair share."""

    tone: float  # 0 the lightest skin to 1 the darkest
    skin: Tensor  # (3,) sRGB
    hair: Tensor  # (3,)


def random_skin_look(sampler: Sampler, age: float) -> SkinLook:
    """A tone of skin and a colour of hair that go together; old people's hair is mostly grey."""
    tone = float(sampler.uniform(0, 1) ** 1.5)
    place = tone * (len(TONES) - 1)
    below = min(int(place), len(TONES) - 2)
    table = torch.tensor(TONES)
    skin = torch.lerp(table[below], table[below + 1], place - below) * (1 + sampler.normal(0.02, 3))
    gray = float(sampler.uniform(0.3, 1)) < (age - 0.5) * 1.8
    kind = 5 + int(sampler.integers(2)) if gray else int(sampler.integers(5 if tone < 0.35 else 2))
    hair = torch.tensor(HAIR[kind]) * sampler.uniform(0.7, 1.3, 1) * (1 + sampler.normal(0.06, 3))
    return SkinLook(tone=tone, skin=skin.clamp(0.05, 0.97), hair=hair.clamp(0.02, 0.9))


def paint_skin(places: Tensor, looks: SkinLook, age: float, male: float, sampler: Sampler) -> Tensor:
    """A texture (SIDE, SIDE, 4) uint8, whose alpha is the skin's height.

    Args:
        places: Of the 68 landmarks in the texture, 0 to 1, shape (68, 2).
        looks: Colours of skin and hair.
        age: MakeHuman's, 0 to 1.
        male: 0 to 1: beards begin above a half.
        sampler: Gives the random numbers.
    """
    points = places * SIDE
    blotches = noise(sampler, (6, 12, 24)) * float(sampler.uniform(0.02, 0.08))
    red = _blobs(points, sampler) * float(sampler.uniform(0.0, 0.22)) * (1 - 0.7 * looks.tone)
    fine = noise(sampler, (128, 256, 512)) * float(sampler.uniform(0.02, 0.07))
    colour = looks.skin * (1 + (blotches + fine)[..., None]) - red[..., None] * torch.tensor([0.1, 0.6, 0.5])
    colour = _spots(colour, sampler, looks)
    wrinkles = _wrinkles(points, age, sampler)
    colour = colour * (1 - 0.25 * wrinkles[..., None])
    colour = _lips(colour, points, looks, male, sampler)
    colour = _eyelids(colour, points, male, sampler)
    if male > 0.5 and age > 0.45:
        colour = _beard(colour, points, looks, sampler)
    colour = _brows(colour, points, looks, sampler)
    pores = noise(sampler, (256, 512)) * float(sampler.uniform(0.05, 0.25))
    height = (0.6 + pores - 0.5 * wrinkles).clamp(0, 1)
    return (torch.cat((colour.clamp(0, 1), height[..., None]), -1) * 255).to(torch.uint8)


def noise(sampler: Sampler, cells: tuple[int, ...]) -> Tensor:
    """Smooth noise (SIDE, SIDE) of deviation about 1 as a sum of grids of so many cells."""
    total = torch.zeros(SIDE, SIDE)
    for count in cells:
        total += interpolate(sampler.normal(1, 1, 1, count, count), size=(SIDE, SIDE), mode="bilinear")[0, 0]
    return total / len(cells) ** 0.5


def polygon_mask(corners: Tensor, softness: float) -> Tensor:
    """What lies in a polygon (K, 2) of the texture's pixels, with soft edges, (SIDE, SIDE)."""
    line = (torch.arange(MAP) + 0.5) * SIDE / MAP
    x, y = line[None, :, None], line[:, None, None]
    (x1, y1), (x2, y2) = corners.T, corners.roll(-1, 0).T
    crossed = ((y1 > y) != (y2 > y)) & (x < (x2 - x1) * (y - y1) / (y2 - y1 + 1e-9) + x1)
    inside = (crossed.sum(-1) % 2).float()[None, None]
    kernel = max(1, round(softness * MAP / SIDE)) * 2 + 1
    soft = blurred(inside[0, 0], kernel)
    return interpolate(soft[None, None], size=(SIDE, SIDE), mode="bilinear")[0, 0]


def blurred(mask: Tensor, kernel: int) -> Tensor:
    """Means of a mask (H, W) over squares of an odd side, as far as they lie within it."""
    for side in mask.shape:
        place = torch.arange(side)
        first, last = (place - kernel // 2).clamp_min(0), (place + kernel // 2 + 1).clamp_max(side)
        summed = pad(mask.cumsum(0), (0, 0, 1, 0))
        # The second round brings rows and columns back to where they were
        mask = ((summed[last] - summed[first]) / (last - first)[:, None]).T
    return mask


def blob_mask(centers: Tensor, radii: Tensor) -> Tensor:
    """Gaussian spots (SIDE, SIDE) around points (K, 2) with radii (K,) in the texture's pixels."""
    line = (torch.arange(MAP) + 0.5) * SIDE / MAP
    across, down = (line - centers[:, :1]) / radii[:, None], (line - centers[:, 1:]) / radii[:, None]
    spots = torch.exp(-0.5 * (across.square()[:, None] + down.square()[:, :, None])).amax(0)
    return interpolate(spots[None, None], size=(SIDE, SIDE), mode="bilinear")[0, 0]


def strokes(start: Tensor, end: Tensor, radius: Tensor, opacity: Tensor) -> Tensor:
    """Coverage (SIDE, SIDE) of lines from (K, 2) to (K, 2) with half thicknesses (K,) and opacities (K,)."""
    sheet = torch.zeros(len(start), dtype=torch.int64)
    softness = torch.full_like(radius, 1.2)
    lines = LineSegments(start=start, end=end, radius=radius, softness=softness, opacity=opacity, sheet=sheet)
    return rasterize(lines, 1, SIDE, SIDE)[0]


def along(points: Tensor, share: Tensor) -> Tensor:
    """Points (K, 2) of the polyline through points (N, 2) at shares (K,) of its length in corners."""
    place = share.clamp(0, 1) * (len(points) - 1)
    below = place.long().clamp_max(len(points) - 2)
    return torch.lerp(points[below], points[below + 1], (place - below)[:, None])


def _blobs(points: Tensor, sampler: Sampler) -> Tensor:
    """Cheeks, the nose's tip, and the chin, where skin is redder."""
    cheeks = torch.stack(((points[41] + points[48] + points[3]) / 3, (points[46] + points[54] + points[13]) / 3))
    centers = torch.cat((cheeks, points[[30]], points[[8]]))
    return blob_mask(centers + sampler.normal(3 * MM, 4, 2), torch.tensor([16.0, 16, 9, 9]) * MM)


def _spots(colour: Tensor, sampler: Sampler, looks: SkinLook) -> Tensor:
    """Freckles, moles and pimples."""
    count = int(sampler.integers(12)) + (200 if bool(sampler.bernoulli(0.15)) else 0)
    if not count:
        return colour
    at = torch.stack((sampler.normal(0.13, count) + 0.5, sampler.normal(0.12, count) + 0.5), 1) * SIDE
    radius = sampler.log_uniform(0.4, 1.2 if count < 20 else 0.9, count) * MM
    mask = strokes(at, at, radius, sampler.uniform(0.2, 0.8, count))[..., None]
    return torch.lerp(colour, looks.skin * torch.tensor([0.6, 0.45, 0.4]), mask)


def _wrinkles(points: Tensor, age: float, sampler: Sampler) -> Tensor:
    """Folds beside the nose, lines on the forehead, under and beside the eyes, (SIDE, SIDE) 0 to 1."""
    depth = max(0.0, age - 0.45) * 1.6 * float(sampler.uniform(0.3, 1)) + 0.05
    lines = []
    for ala, corner, eye, outer in ((31, 48, 41, 36), (35, 54, 46, 45)):
        side = -1.0 if ala == 31 else 1.0
        away = torch.tensor([side, 0.0])
        lines.append(
            torch.stack(
                (
                    points[ala] + 4 * MM * away,
                    (points[ala] + points[corner]) / 2 + 9 * MM * away,
                    points[corner] + 7 * MM * away,
                )
            )
        )
        lines.append(points[outer] + torch.tensor([[2.0 * side, 1.0], [9 * side, 3], [14 * side, 8]]) * MM)
        lines.append(points[outer] + torch.tensor([[2.0 * side, -1.0], [9 * side, -3], [14 * side, -6]]) * MM)
        lines.append(points[eye] + torch.tensor([[-9.0, 5.0], [0, 9], [9, 6]]) * MM)
    top = points[[18, 20, 23, 25]]
    lines += [top - torch.tensor([0.0, rise]) * MM + sampler.normal(MM, 4, 2) for rise in (14, 22, 31)]
    share = torch.linspace(0, 1, 25)
    path = [along(line, share) for line in lines]
    start, end = torch.cat([line[:-1] for line in path]), torch.cat([line[1:] for line in path])
    fade = (share[:-1] * 3.14).sin().repeat(len(path))
    strength = sampler.uniform(0.2, 1, len(path)).repeat_interleave(24)
    sharp = strokes(start, end, torch.full((len(start),), 0.7 * MM), (fade * strength * depth).clamp(0, 1))
    return blurred(sharp, 5)


def _lips(colour: Tensor, points: Tensor, looks: SkinLook, male: float, sampler: Sampler) -> Tensor:
    """Lips redder and darker than the skin, some with lipstick."""
    mask = polygon_mask(points[48:60], 1.2 * MM)[..., None]
    natural = looks.skin * torch.tensor([0.86, 0.62, 0.62]) * (1 + sampler.normal(0.05, 3))
    painted = torch.tensor([0.62, 0.12, 0.18]) * (1 + sampler.normal(0.25, 3))
    lipstick = float(sampler.uniform(0.3, 0.9)) if male < 0.5 and bool(sampler.bernoulli(0.35)) else 0.0
    wanted = torch.lerp(natural, painted.clamp(0, 1), lipstick)
    return torch.lerp(
        colour, wanted * (1 + 0.5 * noise(sampler, (200,)) * 0.08)[..., None], mask * float(sampler.uniform(0.5, 0.95))
    )


def _eyelids(colour: Tensor, points: Tensor, male: float, sampler: Sampler) -> Tensor:
    """Darker skin around the eyes, shadow on lids, and a line along their edges, stronger with make-up."""
    make_up = male < 0.5 and bool(sampler.bernoulli(0.3))
    centers = torch.stack((points[36:42].mean(0), points[42:48].mean(0)))
    around = blob_mask(centers, torch.full((2,), 11 * MM))[..., None] * float(sampler.uniform(0.0, 0.35))
    shade = torch.tensor([0.65, 0.5, 0.5]) if not make_up else sampler.uniform(0.2, 0.8, 3)
    colour = torch.lerp(colour, colour * shade, around)
    for lid in ((36, 37, 38, 39), (42, 43, 44, 45), (36, 41, 40, 39), (42, 47, 46, 45)):
        path = along(points[list(lid)], torch.linspace(0, 1, 13))
        upper = lid[1] in {37, 43}
        dark = float(sampler.uniform(0.4, 0.9)) * (1.0 if upper else 0.45) * (1.0 if make_up else 0.6)
        width = (0.9 if make_up and upper else 0.5) * MM
        line = strokes(path[:-1], path[1:], torch.full((12,), width), torch.full((12,), dark))
        colour = torch.lerp(colour, colour * 0.15, line[..., None])
    return colour


def _brows(colour: Tensor, points: Tensor, looks: SkinLook, sampler: Sampler) -> Tensor:
    """Two brows of short hairs, whose density, length and thickness vary."""
    count, thick = 2 * int(sampler.uniform(120, 420)), float(sampler.uniform(1.6, 4.0)) * MM
    length, dark = float(sampler.uniform(4, 8)) * MM, float(sampler.uniform(0.35, 0.95))
    hair = torch.lerp(looks.hair, torch.tensor([0.1, 0.07, 0.06]), float(sampler.uniform(0, 0.5)))
    covered = torch.zeros(SIDE, SIDE)
    # Landmarks lie on the upper edge
    below = torch.stack((torch.zeros(()), sampler.uniform(0.2, 0.8) * thick))
    for brow, side in zip(BROWS, (1.0, -1.0), strict=True):
        line = points[list(brow)] + below
        share = sampler.uniform(0, 1, count // 2)
        taper = (0.3 + 1.5 * share).clamp_max(1)
        root = along(line, share) + torch.stack(
            (torch.zeros(count // 2), sampler.normal(0.5, count // 2) * thick * taper), 1
        )
        # Hairs of the inner part stand up, those of the outer part lie along the brow
        lean = (share * 1.3 + sampler.normal(0.2, count // 2)).clamp(0, 1.6)
        way = torch.stack((-side * (0.95 - 0.6 * lean).clamp(0.25, 1), -0.9 * lean), 1)
        covered = torch.maximum(
            covered,
            strokes(
                root,
                root + way * length * sampler.uniform(0.6, 1.1, count // 2, 1),
                torch.full((count // 2,), 0.16 * MM),
                sampler.uniform(0.5, 1, count // 2),
            ),
        )
        shadow = strokes(
            *_pieces(along(line, torch.linspace(0, 1, 17))),
            torch.full((16,), thick),
            torch.full((16,), 0.5),
        )
        soft = blurred(shadow, 15)
        colour = torch.lerp(colour, colour * (0.4 + 0.6 * hair), (soft * dark * 0.8)[..., None])
    return torch.lerp(colour, hair, (covered * dark)[..., None])


def _pieces(path: Tensor) -> tuple[Tensor, Tensor]:
    return path[:-1], path[1:]


def _beard(colour: Tensor, points: Tensor, looks: SkinLook, sampler: Sampler) -> Tensor:
    """None, stubble or a short beard on jaw, chin and upper lip."""
    kind = float(sampler.uniform(0, 1))
    if kind < 0.4:
        return colour
    dense = float(sampler.uniform(0.1, 0.4) if kind < 0.8 else sampler.uniform(0.5, 0.95))
    jaw = torch.cat((points[2:15], points[[54, 35, 33, 31, 48]]))
    low = torch.tensor([0.0, 12 * MM])
    area = polygon_mask(torch.cat((points[2:4], points[4:13] + low, jaw[11:])), 5 * MM)
    bare = polygon_mask(points[48:60], 1.5 * MM)
    coarse = (0.6 + 0.25 * noise(sampler, (16, 40)) + 0.35 * noise(sampler, (300, 512))).clamp(0, 1)
    return torch.lerp(colour, looks.hair, (area * (1 - bare) * coarse * dense)[..., None])
