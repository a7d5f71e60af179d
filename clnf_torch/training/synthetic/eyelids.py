"""Lids around eyeballs: where a person's eyeballs lie behind them, and how they close."""

from dataclasses import dataclass

import torch
from torch import Tensor

from clnf_torch.training.augmentation.random import Sampler
from clnf_torch.training.synthetic.face_mesh import FaceMesh
from clnf_torch.training.synthetic.head_model import eye_fronts
from clnf_torch.training.synthetic.person import Person

# Of an eye's 12 lid landmarks: its outer and inner corners in images' order, and upper lid over lower lid in the middle
CORNERS, UPPER, LOWER = [0, 6], [2, 3, 4], [10, 9, 8]
# Radius of an eyeball as share of its lids' width: 12 mm of 27 to 29. MakeHuman's own, of 0.56, would turn an iris
# half as far again to the side as an eye does
RADIUS = (0.42, 0.46)
# The pupil lies a little above the middle of the open lids: shares of their width, mean and deviation
ABOVE, ABOVE_DEVIATION = 0.02, 0.012
BLINKS = ("expression/eyeBlinkRight", "expression/eyeBlinkLeft")


@dataclass(frozen=True, kw_only=True)
class Eyeball:
    """Where an eyeball sits: it depends on who somebody is, not on the expression."""

    center: Tensor  # (3,) mm
    radius: float  # mm


def place_eyeballs(mesh: FaceMesh, identity: Tensor, sampler: Sampler) -> tuple[Eyeball, Eyeball]:
    """Both eyeballs of a person of an identity (T,), the one further left in images first."""
    vertices = mesh.model.vertices(identity)
    surface = mesh.model.surface(vertices)
    share, above = float(sampler.uniform(*RADIUS)), ABOVE + float(sampler.normal(ABOVE_DEVIATION))
    found = []
    for lids, front in zip(surface[mesh.lids], eye_fronts(mesh.model, vertices), strict=True):
        corners = lids[CORNERS]
        width = float((corners[1] - corners[0]).norm())
        height = (lids[UPPER, 1].mean() + lids[LOWER, 1].mean()) / 2 - above * width
        depth = front + share * width
        center = torch.stack((corners[:, 0].mean(), height, torch.tensor(depth)))
        found.append(Eyeball(center=center, radius=share * width))
    return found[0], found[1]


def lid_opening(lids: Tensor) -> Tensor:
    """How far lids (..., 12, 3) are apart in the middle, mm, shape (...)."""
    return (lids[..., LOWER, 1] - lids[..., UPPER, 1]).mean(-1)


def blink_strokes(mesh: FaceMesh) -> Tensor:
    """Weights (2, T) that close the lids of either eye by one millimetre, the eye further left in images first."""
    model, strokes = mesh.model, []
    still = model.surface(model.base)
    for lids, name in zip(mesh.lids, BLINKS, strict=True):
        blink = model.weights({name: 1.0})
        closed = model.surface(model.vertices(blink))
        strokes.append(blink / (lid_opening(still[lids]) - lid_opening(closed[lids])))
    return torch.stack(strokes)


def with_lids_closed(mesh: FaceMesh, person: Person, strokes: Tensor) -> Tensor:
    """The weights (T,) of a person's expression with lids that leave the share 1 - closed of their opening.

    Args:
        mesh: The face.
        person: Whose lids do not cross either where an expression alone would have it so.
        strokes: From `blink_strokes`: the opening is linear in the weights.
    """
    surface = mesh.model.surface(mesh.model.vertices(person.identity + person.expression))
    opening = lid_opening(surface[mesh.lids])
    wanted = opening.clamp_min(0) * (1 - person.closed)
    return person.expression + (opening - wanted) @ strokes
