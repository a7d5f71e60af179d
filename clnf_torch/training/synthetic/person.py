"""Who a face belongs to and what it does: random identities, ages, expressions and directions of gaze."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from clnf_torch.training.augmentation.random import Sampler
from clnf_torch.training.synthetic.head_model import HeadModel, macro_weights, pairs_of_targets, rotation_about
from clnf_torch.training.synthetic.proportions import mean_weight
from clnf_torch.training.synthetic.skin_texture import SkinLook, random_skin_look

# Deviations of the identity's targets, whose useful range is -1 to 1, and of the asymmetric and unpaired ones
PAIRED, SINGLE = 0.32, 0.2
# Radians: deviations of gaze to the side and up, and the most that eyes turn
GAZE_DEVIATION, GAZE_MOST = (0.25, 0.15), (0.65, 0.45)
# Half of all faces hold such a group of expressions at once; the rest is a random mixture
MIXTURES = (
    ("mouthSmile", "cheekSquint", "eyeSquint", "mouthUpperUp"),
    ("mouthSmile", "jawOpen", "cheekSquint", "mouthUpperUp", "mouthLowerDown"),
    ("jawOpen", "browInnerUp", "browOuterUp", "eyeWide"),
    ("mouthFrown", "browDown", "mouthShrugLower"),
    ("browDown", "noseSneer", "mouthUpperUp", "eyeSquint"),
    ("mouthPucker", "mouthFunnel"),
    ("jawOpen", "mouthStretch", "mouthLowerDown", "browInnerUp"),
    ("jawOpen", "mouthFunnel"),
    ("mouthPress", "mouthRollLower", "mouthRollUpper"),
    ("cheekPuff", "mouthPress"),
    ("jawOpen",),
)
# Moved by gaze and blinks alone, or hide the mouth's landmarks
APART = ("eyeBlink", "eyeLook", "tongueOut", "mouthClose")


@dataclass(frozen=True, kw_only=True)
class Person:
    """A face before it is painted and placed."""

    age: float  # MakeHuman's: 0.1875 a child of 10, 0.5 of 25, 1 of 90 years
    male: float  # 0 to 1
    identity: Tensor  # (T,) weights of the head model's displacements
    expression: Tensor  # (T,)
    gaze: Tensor  # (2, 2) radians in the head: of both eyes to the image's right, and down; further left one first
    closed: Tensor  # (2,) how far the lids are closed, 0 to 1
    looks: SkinLook


def random_person(model: HeadModel, sampler: Sampler) -> Person:
    """A person with an expression, drawn at random."""
    age, male = _age(sampler), float(sampler.uniform(0, 1).round() * 0.8 + sampler.uniform(0, 0.2))
    gaze, closed = _gaze(sampler), _lids(sampler)
    return Person(
        age=age,
        male=male,
        identity=model.weights(_identity(model, sampler, age, male)),
        expression=model.weights(_expression(model, sampler)) + model.weights(_gaze_units(gaze)),
        gaze=gaze,
        closed=closed,
        looks=random_skin_look(sampler, age),
    )


def _age(sampler: Sampler) -> float:
    """One in ten a child, the rest grown up, as many young as old."""
    child = bool(sampler.bernoulli(0.1))
    return float(sampler.uniform(0.2, 0.45) if child else sampler.uniform(0.47, 1.0))


def _identity(model: HeadModel, sampler: Sampler, age: float, male: float) -> dict[str, float]:
    """Weights by name: the macro targets, then every pair by one Gaussian number, alike on both sides."""
    ancestry = sampler.uniform(0, 1, 3) ** 3
    chosen = macro_weights(
        gender=male,
        age=age,
        ancestry=ancestry / ancestry.sum(),
        weight=float((0.5 + sampler.normal(0.2)).clamp(0, 1)),
        muscle=float(sampler.uniform(0.2, 0.8)),
    )
    shared: dict[str, float] = {}
    strength = float(sampler.uniform(0.2, 0.8))
    for first, second in pairs_of_targets(model.names):
        both = first.replace("identity/l-", "").replace("identity/r-", "")
        usual = mean_weight(first, second) + strength * float(sampler.normal(PAIRED if second else SINGLE))
        value = max(-1.0, min(1.0, shared.setdefault(both, usual) + float(sampler.normal(0.05))))
        if value >= 0:
            chosen[first] = value
        elif second:
            chosen[second] = -value
    return chosen


def _expression(model: HeadModel, sampler: Sampler) -> dict[str, float]:
    """Weights of units of expression by name: nothing much, a known mixture, or some units at random."""
    kind, strength = int(sampler.integers(10)), float(sampler.uniform(0.2, 1.0))
    units = [name for name in model.names if name.startswith("expression/") and not any(part in name for part in APART)]
    wanted = MIXTURES[int(sampler.integers(len(MIXTURES)))] if 2 <= kind < 7 else ()
    chosen = {}
    for name in units:
        whole = name.removeprefix("expression/").removesuffix("Left").removesuffix("Right")
        if whole in wanted:
            value = strength * float(sampler.uniform(0.6, 1.1))
        else:
            value = float(sampler.uniform(0, 0.15 if kind < 7 else 0.7) * sampler.bernoulli(0.25))
        chosen[name] = value
    return chosen


def _gaze(sampler: Sampler) -> Tensor:
    """Directions of both eyes (2, 2): one for both, which meet at a distance between 0.3 and 5 m."""
    aside, down = sampler.normal(1, 2)
    aside = (aside * GAZE_DEVIATION[0]).clamp(-GAZE_MOST[0], GAZE_MOST[0])
    down = (down * GAZE_DEVIATION[1]).clamp(-GAZE_MOST[1], GAZE_MOST[1])
    # The image's left eye turns right by half the angle between both
    inwards = 31 / sampler.log_uniform(300, 5000)
    return torch.stack((torch.stack((aside + inwards, down)), torch.stack((aside - inwards, down))))


def _lids(sampler: Sampler) -> Tensor:
    """How far both eyes are closed (2,): mostly open, one face in ten blinks, few wink."""
    kind = float(sampler.uniform(0, 1))
    both = (
        sampler.uniform(0, 0.1)
        if kind < 0.75
        else sampler.uniform(0.1, 0.85)
        if kind < 0.9
        else sampler.uniform(0.85, 1)
    )
    closed = both.expand(2).clone()
    if bool(sampler.bernoulli(0.03)):
        closed[int(sampler.integers(2))] = float(sampler.uniform(0, 1))
    return closed


def _gaze_units(gaze: Tensor) -> dict[str, float]:
    """Lids that follow open eyes: the person's right eye is the image's left one."""
    units = {}
    for side, (aside, down) in zip(("Right", "Left"), gaze.tolist(), strict=True):
        inwards = aside if side == "Right" else -aside
        up = max(0.0, -down) / 0.5
        units[f"expression/eyeLookDown{side}"] = max(0.0, down) / 0.5
        units[f"expression/eyeLookUp{side}"] = up
        # MakeHuman's lids do not open wider where an eye looks up
        units[f"expression/eyeWide{side}"] = 0.6 * up
        units[f"expression/eyeLookIn{side}"] = max(0.0, inwards) / 0.7
        units[f"expression/eyeLookOut{side}"] = max(0.0, -inwards) / 0.7
    return units


def gaze_rotation(gaze: Tensor) -> Tensor:
    """The rotation (3, 3) of an eyeball in the head that turns its axis from (0, 0, -1) by angles (2,)."""
    aside, down = gaze.tolist()
    return rotation_about(1, -aside) @ rotation_about(0, down)


def gaze_vector(gaze: Tensor) -> Tensor:
    """The unit vector (3,) of a gaze (2,) in the head's axes."""
    aside, down = gaze.tolist()
    return torch.tensor([math.sin(aside) * math.cos(down), math.sin(down), -math.cos(aside) * math.cos(down)])
