"""Annotated faces for the commands that train and compare: how they are named, read, and written down."""

from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from clnf_torch.cli.console import complain
from clnf_torch.cli.images import read_image
from clnf_torch.models.pdm import PDM
from clnf_torch.training.data.annotations import Annotations, read_annotations
from clnf_torch.training.data.crops import FaceCrops, cut_crops
from clnf_torch.training.shape import ShapeConfig, train_shape
from clnf_torch.training.shape_gaussian import MIRROR_68, ShapeGaussian

# Pixels: a face of 140 mm at 1.25 pixels per millimetre, and as much around it; 8 divides its quarter
CROP = 352
LEAST_FACES = 20

Data = Annotated[Path, typer.Argument(metavar="DATA", help="Faces: landmarks.npz, or images with .pts files.")]
Out = Annotated[Path, typer.Option("--out", "-o", metavar="MODEL.pt", help="Where the bundle is written.")]
Work = Annotated[Path | None, typer.Option(metavar="DIR", help="Checkpoints: the same command goes on from them.")]
Split = Annotated[list[str] | None, typer.Option(metavar="NAME", help="Faces of this set; may be repeated.")]
HoldOut = Annotated[int, typer.Option(metavar="K", min=2, help="Judge by every K-th face instead of learning from it.")]
Light = Annotated[bool, typer.Option("--light/--no-light", help="Show the faces in bad light and by bad cameras too.")]
Seed = Annotated[int, typer.Option(min=0, help="The same seed gives the same model on the same machine.")]


def read_faces(
    data: Path, split: list[str] | None, hold_out: int, where: torch.device
) -> tuple[Annotations, FaceCrops]:
    """The annotated faces, and their images on a device; refuses too few to tune or train patch experts by."""
    return read_crops(data, split, max(LEAST_FACES, hold_out), where, CROP)


def read_crops(
    data: Path, split: list[str] | None, least: int, where: torch.device, side: int
) -> tuple[Annotations, FaceCrops]:
    """The annotated faces, and their images of some side on a device; refuses fewer than so many."""
    found = read_annotations(data)
    found = found.of_split(*split) if split else found
    if len(found) < least:
        complain(f"{data}: {len(found)} faces are too few to learn from; give at least {least}")
        raise typer.Exit(1)
    crops = cut_crops(found, read_image, side)
    return found, FaceCrops(gray=crops.gray.to(where), landmarks=crops.landmarks.to(where))


def retrained(prior: ShapeGaussian, crops: FaceCrops, slack: float = 0.0) -> PDM:
    """A shape model of the faces, on their device; each point may leave the prior's ways by `slack` millimetres."""
    pdm = train_shape(crops.landmarks.cpu(), prior, torch.tensor(MIRROR_68), ShapeConfig(slack=slack))
    return pdm.float().to(crops.landmarks.device)


def mirror_of(crops: FaceCrops) -> torch.Tensor:
    """The partners of the 68 landmarks, where the faces are."""
    return torch.tensor(MIRROR_68, device=crops.landmarks.device)


def source_of(faces: Annotations, data: Path) -> dict[str, Any]:
    """What was learned from, in words."""
    return {"name": f"{len(faces)} annotated faces of {data.resolve().name}"}
