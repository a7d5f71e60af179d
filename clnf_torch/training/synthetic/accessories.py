"""What lies on faces: hair and lashes of MakeHuman, teeth of its base mesh, clothes, glasses, masks and fingers."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import interpolate, normalize

from clnf_torch.training.augmentation.random import Sampler
from clnf_torch.training.synthetic.face_mesh import FaceMesh, smoothed, vertex_normals
from clnf_torch.training.synthetic.makehuman_files import FittedObject, read_fitted
from clnf_torch.training.synthetic.renderer import Material, Surface

# Textures of hair are read at this side
HAIR_SIDE = 512
# Sides of a tube of glasses' frames, and points around a lens
TUBE, RIM = 10, 40
# Radius of a finger, mm, and landmarks that hands touch: chin, cheeks, mouth, nose, brows
FINGER, TOUCHED = 8.5, (8, 4, 12, 2, 14, 48, 54, 66, 33, 19, 24)
MISSING_PILLOW = 'textures of hair need the package pillow: pip install "clnf-torch[synthetic]"'


@dataclass(frozen=True, kw_only=True)
class Textured:
    """An object of MakeHuman with its texture."""

    shape: FittedObject
    texture: Tensor  # (H, W, 4) uint8

    def surface(self, base: Tensor, tint: Tensor | None, material: Material) -> Surface:
        """The object on base vertices (V, 3), in its own colours or in another of sRGB (3,)."""
        mesh, vertices = self.shape.mesh, self.shape.fitted(base)
        normals = vertex_normals(vertices, mesh.quads)
        corner = torch.arange(mesh.quads.numel(), dtype=torch.int32).view(-1, 4)
        places = mesh.texture[mesh.texture_quads].view(-1, 2)
        return Surface(
            vertices=vertices[mesh.quads].view(-1, 3),
            normals=normals[mesh.quads].view(-1, 3),
            places=torch.stack((places[:, 0], 1 - places[:, 1]), 1),
            triangles=torch.cat((corner[:, [0, 1, 2]], corner[:, [0, 2, 3]])),
            texture=self.texture if tint is None else tinted(self.texture, tint),
            material=material,
        )


@dataclass(frozen=True)
class Wardrobe:
    """The objects of a folder of MakeHuman's assets."""

    hair: tuple[Textured, ...] = ()
    lashes: tuple[Textured, ...] = ()


@lru_cache(maxsize=2)
def read_wardrobe(folder: Path) -> Wardrobe:
    """Hair and lashes out of a folder of MakeHuman's assets: those of its folders hair and eyelashes with a texture.

    Raises:
        FileNotFoundError: There are none.
    """
    found = {kind: tuple(_textured(folder / kind)) for kind in ("hair", "eyelashes")}
    if not any(found.values()):
        raise FileNotFoundError(f"{folder} holds no hair and no eyelashes of MakeHuman (hair/*/*.mhclo with a .png)")
    return Wardrobe(hair=found["hair"], lashes=found["eyelashes"])


def _textured(folder: Path) -> Iterator[Textured]:
    for path in sorted(folder.glob("*/*.mhclo")):
        shape = read_fitted(path.parent)
        if shape.picture:
            yield Textured(shape=shape, texture=_read_texture(shape.picture))


def _read_texture(path: Path) -> Tensor:
    try:
        from PIL import Image
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(MISSING_PILLOW, name="PIL") from error
    with Image.open(path) as image:
        small = image.convert("RGBA").resize((HAIR_SIDE, HAIR_SIDE))
        return torch.frombuffer(bytearray(small.tobytes()), dtype=torch.uint8).view(HAIR_SIDE, HAIR_SIDE, 4)


def tinted(texture: Tensor, tint: Tensor) -> Tensor:
    """A texture (H, W, 4) uint8 in another colour (3,): its brightness against the mean of what is covered stays."""
    gray, covered = texture[..., :3].float().mean(-1), texture[..., 3] > 128
    relative = gray / gray[covered].mean().clamp_min(1) if covered.any() else torch.ones_like(gray)
    coloured = (relative.clamp(0.25, 4).sqrt()[..., None] * tint * 255).clamp(0, 255).to(torch.uint8)
    return torch.cat((coloured, texture[..., 3:]), -1)


def cloth_texture(sampler: Sampler, side: int = 64) -> Tensor:
    """Cloth (side, side, 4) uint8: of one colour, striped or mottled."""
    vivid = sampler.uniform(0.03, 0.9, 2, 3)
    colour, other = torch.lerp(vivid.mean(1, keepdim=True).expand(2, 3), vivid, float(sampler.uniform(0, 0.6)))
    line = torch.arange(side) * float(sampler.uniform(0.2, 2.0))
    stripes = 0.5 + 0.5 * torch.sign((line[:, None] if bool(sampler.bernoulli(0.5)) else line[None]).sin())
    mottled = interpolate(sampler.uniform(0, 1, 1, 1, 16, 16), size=(side, side), mode="bilinear")[0, 0]
    pattern = (torch.zeros(side, side), stripes.expand(side, side), mottled)[int(sampler.integers(3))]
    painted = (torch.lerp(colour, other.expand(side, side, 3), pattern[..., None]) * 255).to(torch.uint8)
    return torch.cat((painted, torch.full((side, side, 1), 255, dtype=torch.uint8)), -1)


def plain(colour: Tensor, alpha: float = 1.0) -> Tensor:
    """A texture (4, 4, 4) uint8 of one sRGB colour (3,), 0 to 1."""
    return (torch.cat((colour, torch.tensor([alpha]))) * 255).to(torch.uint8).expand(4, 4, 4)


def teeth(quads: Tensor, base: Tensor, sampler: Sampler) -> Surface:
    """Both rows of teeth, quads (K, 4) of base vertices (V, 3)."""
    colour = torch.tensor([0.86, 0.83, 0.74]) * sampler.uniform(0.8, 1.05, 1) + sampler.normal(0.02, 3)
    normals = vertex_normals(base, quads)
    material = Material(roughness=0.25, gloss=0.04)
    return replace(
        _solid(base, normals, quads, plain(colour.clamp(0, 1)), material), openness=torch.full((len(base),), 0.5)
    )


def mask(mesh: FaceMesh, surface: Tensor, sampler: Sampler) -> Surface:
    """A cloth over mouth, nose and chin: the skin there, smoothed, some millimetres further out."""
    marks = mesh.landmarks.on(mesh.places)
    line = (torch.arange(HAIR_SIDE) + 0.5) / HAIR_SIDE
    aside = (line - 0.5).abs()
    # Its upper edge sinks from the nose to the ears
    top = float(marks[28 + int(sampler.integers(2)), 1]) + float(sampler.uniform(0.3, 0.8)) * aside.square() * 3
    covered = (line[:, None] > top) & (line[:, None] < float(marks[8, 1]) + 0.01)
    covered &= aside < float(sampler.uniform(0.26, 0.31))
    cloth = cloth_texture(sampler).repeat(HAIR_SIDE // 64, HAIR_SIDE // 64, 1)
    cloth[..., 3] = covered * 255
    normals = vertex_normals(surface, mesh.model.quads)
    lifted = surface + normals * float(sampler.uniform(8, 10))
    smooth = torch.stack([smoothed(axis, mesh.model.quads, 8) for axis in lifted.unbind(1)], 1)
    return Surface(
        vertices=smooth,
        normals=vertex_normals(smooth, mesh.model.quads),
        places=mesh.places,
        triangles=mesh.triangles[0].int(),
        texture=cloth,
        material=Material(roughness=0.9, gloss=0.01, translucency=0.3, cutout=True),
    )


def glasses(landmarks: Tensor, sampler: Sampler) -> list[Surface]:
    """Frames with lenses before the eyes of 68 landmarks (68, 3) in the head's axes."""
    colour, thick = sampler.uniform(0, 0.35, 3) * sampler.uniform(0, 1, 1), float(sampler.uniform(0.6, 2.2))
    eyes = torch.stack((landmarks[36:42].mean(0), landmarks[42:48].mean(0)))
    wide = float((eyes[1] - eyes[0]).norm())
    half = torch.tensor([wide * float(sampler.uniform(0.34, 0.43)), wide * float(sampler.uniform(0.22, 0.36))])
    power, ahead = float(sampler.uniform(2, 5)), float(sampler.uniform(17, 21))
    turn = torch.linspace(0, 2 * math.pi, RIM + 1)[:-1]
    shape = torch.stack((turn.cos(), turn.sin()), 1)
    shape = shape / shape.abs().pow(power).sum(1, keepdim=True).pow(1 / power) * half
    rims, parts = [], []
    for eye, side in zip(eyes, (-1.0, 1.0), strict=True):
        center = eye + torch.tensor([side * 0.02 * wide, 2.0, -ahead + 6])
        # Bent back towards the temples
        back = 0.25 * (side * shape[:, :1]).clamp_min(0)
        rims.append(center + torch.cat((shape, back), 1))
        parts.append(tube(torch.cat((rims[-1], rims[-1][:1])), thick))
    bridge = torch.stack(
        (rims[0][0], (rims[0][0] + rims[1][RIM // 2]) / 2 - torch.tensor([0.0, 3, 2]), rims[1][RIM // 2])
    )
    temples = [torch.stack((rims[0][RIM // 2], landmarks[0] + torch.tensor([-5.0, -3, 18]))),
               torch.stack((rims[1][0], landmarks[16] + torch.tensor([5.0, -3, 18])))]  # fmt: skip
    parts += [tube(bridge, thick), *(tube(temple, 0.8 * thick) for temple in temples)]
    metal = Material(roughness=float(sampler.uniform(0.15, 0.6)), gloss=0.06)
    frame = [_solid(vertices, normals, quads, plain(colour), metal) for vertices, normals, quads in parts]
    dark = float(sampler.uniform(0.6, 0.97)) if bool(sampler.bernoulli(0.25)) else float(sampler.uniform(0.02, 0.1))
    # What is darker than this is drawn as solid by the renderer
    shade = plain(torch.full((3,), 0.05 if dark > 0.5 else 0.6), dark)
    return frame + [_lens(rim, shade) for rim in rims]


def fingers(landmarks: Tensor, skin: Tensor, sampler: Sampler) -> list[Surface]:
    """Four fingers of a hand on the face of landmarks (68, 3) in the head's axes, in the colour of its skin (3,)."""
    tip = landmarks[TOUCHED[int(sampler.integers(len(TOUCHED)))]] + torch.tensor([0.0, 0, -12])
    angle = float(sampler.uniform(-1.1, 1.1))
    ahead = torch.tensor([math.sin(angle), math.cos(angle), 0.1])
    aside = torch.tensor([math.cos(angle), -math.sin(angle), 0.0])
    along = torch.tensor([0.0, 0.02, 0.06, 0.15, 0.35, 0.6, 0.8, 1.0])[:, None]
    bent = torch.tensor([0.0, 0, 25]) * along.square() * float(sampler.uniform(-0.5, 1))
    material = Material(roughness=0.5, gloss=0.03, translucency=0.7)
    parts = []
    for number in range(4):
        start = tip + aside * (number - 1.5) * 17.5 + ahead * float(sampler.uniform(0, 14))
        shape = tube(start + ahead * 130 * along + bent, FINGER * (1 - (1 - along / 0.15).clamp_min(0).square()).sqrt())
        parts.append(_solid(*shape, plain(skin), material))
    return parts


def tube(path: Tensor, radius: float | Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Vertices (V, 3), normals (V, 3) and quads (Q, 4) of a tube of one radius, or (K, 1), around a path (K, 3)."""
    ahead = normalize(torch.cat((path[1:] - path[:-1], path[-1:] - path[-2:-1])), dim=1)
    helper = torch.tensor([0.3, 0.2, -0.93]).expand_as(ahead)
    aside = normalize(torch.linalg.cross(ahead, helper), dim=1)
    up = torch.linalg.cross(ahead, aside)
    turn = torch.arange(TUBE) * 2 * math.pi / TUBE
    normals = aside[:, None] * turn.cos()[:, None] + up[:, None] * turn.sin()[:, None]
    corner = torch.arange(len(path) * TUBE).view(-1, TUBE)
    quads = torch.stack((corner[:-1], corner[1:], corner[1:].roll(-1, 1), corner[:-1].roll(-1, 1)), -1)
    thick = torch.as_tensor(radius).reshape(-1, 1, 1)
    return (path[:, None] + thick * normals).view(-1, 3), normals.view(-1, 3), quads.view(-1, 4)


def _lens(rim: Tensor, texture: Tensor) -> Surface:
    count = len(rim)
    fan = torch.stack((torch.full((count,), count), torch.arange(count), torch.arange(count).roll(-1)), 1)
    vertices = torch.cat((rim, rim.mean(0, keepdim=True) - torch.tensor([[0.0, 0, 1.5]])))
    return Surface(
        vertices=vertices,
        normals=torch.tensor([[0.0, 0, -1]]).expand(count + 1, 3),
        places=torch.full((count + 1, 2), 0.5),
        triangles=fan.int(),
        texture=texture,
        material=Material(roughness=0.05, gloss=0.05, cutout=True),
    )


def _solid(vertices: Tensor, normals: Tensor, quads: Tensor, texture: Tensor, material: Material) -> Surface:
    return Surface(
        vertices=vertices,
        normals=normals,
        places=torch.full((len(vertices), 2), 0.5),
        triangles=torch.cat((quads[:, [0, 1, 2]], quads[:, [0, 2, 3]])).int(),
        texture=texture,
        material=material,
    )
