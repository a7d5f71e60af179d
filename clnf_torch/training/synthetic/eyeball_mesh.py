"""Eyeballs: a sphere with an iris and a pupil of known size, painted at random, and their landmarks."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from clnf_torch.geometry.rotation import angle_of
from clnf_torch.training.augmentation.random import Sampler
from clnf_torch.training.synthetic.eyelids import Eyeball

# The sphere is drawn to this angle from its axis; its texture holds all of it
EDGE = 1.9
RINGS, SPOKES = 28, 40
TEXTURE = 256
# Linear shares of iris colours: brown, dark brown, hazel, green, blue, grey; RGB of inner and outer part
IRIS_COLOURS = (
    ((0.42, 0.24, 0.11), (0.26, 0.14, 0.06)), ((0.24, 0.13, 0.07), (0.14, 0.07, 0.04)),
    ((0.50, 0.36, 0.16), (0.32, 0.30, 0.18)), ((0.46, 0.42, 0.22), (0.30, 0.40, 0.30)),
    ((0.50, 0.56, 0.60), (0.28, 0.42, 0.58)), ((0.58, 0.60, 0.60), (0.40, 0.46, 0.50)),
)  # fmt: skip
IRIS_SHARES = (0.32, 0.26, 0.12, 0.08, 0.13, 0.09)
# Angles in the image of the landmarks around the iris and the pupil, in OpenFace's order: 0 to the right, pi / 2 down
IRIS_ANGLES = tuple(math.pi + math.pi / 4 * number for number in range(8))
PUPIL_ANGLES = tuple(3 * math.pi / 4 - math.pi / 4 * number for number in range(8))


@dataclass(frozen=True, kw_only=True)
class Iris:
    """Sizes of an iris as angles from the eyeball's axis, seen from its centre."""

    edge: float  # radians
    pupil: float


def random_iris(sampler: Sampler) -> Iris:
    """An iris as wide as 0.37 to 0.42 of the lids, and a pupil of a fourth to a half of it."""
    edge = math.asin(float(sampler.uniform(0.41, 0.48)))
    return Iris(edge=edge, pupil=edge * float(sampler.uniform(0.25, 0.55)))


def ring_points(eye: Eyeball, rotation: Tensor, angle: float, around: tuple[float, ...]) -> Tensor:
    """Points (K, 3) of the eyeball at an angle from its axis, in the head's axes, at angles around the axis."""
    turn = torch.tensor(around)
    ring = torch.stack(
        (math.sin(angle) * turn.cos(), math.sin(angle) * turn.sin(), -math.cos(angle) * torch.ones(len(turn))), 1
    )
    return eye.center + eye.radius * ring @ rotation.T


def ball_vertices(eye: Eyeball, rotation: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Vertices (V, 3), normals (V, 3), places in the texture (V, 2) and triangles (T, 3) of an eyeball."""
    angle = torch.linspace(0, EDGE, RINGS)[:, None].expand(-1, SPOKES)
    turn = (torch.arange(SPOKES) * 2 * math.pi / SPOKES).expand(RINGS, -1)
    normals = torch.stack((angle.sin() * turn.cos(), angle.sin() * turn.sin(), -angle.cos()), -1).view(-1, 3)
    radius = angle / EDGE / 2
    places = torch.stack((0.5 + radius * turn.cos(), 0.5 + radius * turn.sin()), -1).view(-1, 2)
    corner = torch.arange(RINGS * SPOKES).view(RINGS, SPOKES)
    first, second = corner[:-1], corner[1:]
    quads = torch.stack((first, second, second.roll(-1, 1), first.roll(-1, 1)), -1).view(-1, 4)
    triangles = torch.cat((quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]))
    normals = normals @ rotation.T
    return eye.center + eye.radius * normals, normals, places, triangles


def iris_texture(iris: Iris, sampler: Sampler) -> Tensor:
    """A painted eyeball (TEXTURE, TEXTURE, 4) uint8: pupil, fibres of the iris, its dark edge, the white with veins."""
    line = (torch.arange(TEXTURE) + 0.5) / TEXTURE * 2 - 1
    angle = EDGE * (line.square() + line.square()[:, None]).sqrt()
    turn = angle_of(line[:, None], line[None])
    share = ((angle - iris.pupil) / (iris.edge - iris.pupil)).clamp(0, 1)
    kind = int(torch.multinomial(torch.tensor(IRIS_SHARES), 1, generator=sampler.generator))
    inner, outer = torch.tensor(IRIS_COLOURS[kind]) * sampler.uniform(0.75, 1.25, 1, 3)
    blend = (share * sampler.uniform(0.8, 1.6))[..., None].clamp(0, 1)
    colour = (inner * (1 - blend) + outer * blend) * (0.75 + 0.5 * _fibres(turn, share, sampler))[..., None]
    edge = ((share - 0.8) / 0.2).clamp(0, 1)[..., None]
    colour = colour * (1 - edge * sampler.uniform(0.3, 0.85))
    white = _white(angle, sampler)
    soft = 0.04 + 0.05 * float(sampler.uniform(0, 1))
    colour = torch.lerp(colour, white, ((angle - iris.edge) / soft + 0.5).clamp(0, 1)[..., None])
    pupil = ((iris.pupil - angle) / 0.03 + 0.5).clamp(0, 1)[..., None]
    colour = torch.lerp(colour, torch.full((3,), 0.02), pupil)
    painted = (colour.clamp(0, 1) * 255).to(torch.uint8)
    return torch.cat((painted, torch.full_like(painted[..., :1], 255)), -1)


def _fibres(turn: Tensor, share: Tensor, sampler: Sampler) -> Tensor:
    """Radial fibres of an iris, 0 to 1, which wave a little along the radius."""
    waves = torch.zeros_like(turn)
    for count in (9, 17, 31, 52):
        waves += torch.cos(count * turn + float(sampler.uniform(0, 6.3)) + 3 * share * float(sampler.normal(1))) / 4
    return 0.5 + 0.5 * waves


def _white(angle: Tensor, sampler: Sampler) -> Tensor:
    """The white of an eye (TEXTURE, TEXTURE, 3), redder away from the iris, with noise for veins."""
    shade = torch.tensor([0.80, 0.77, 0.74]) * sampler.uniform(0.82, 1.02) + sampler.normal(0.012, 3)
    noise = interpolate(sampler.uniform(0, 1, 1, 1, 40, 40), size=angle.shape, mode="bilinear")[0, 0]
    red = float(sampler.uniform(0.05, 0.3)) * (angle / EDGE) * (0.5 + noise)
    return shade - red[..., None] * torch.tensor([0.2, 0.9, 0.9])
