"""Annotated faces for the commands that train and evaluate: their options, and how they are read."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import typer

from clnf_torch.cli.console import add_note, complain, notice
from clnf_torch.cli.output_check import Input, Output, check_outputs
from clnf_torch.cli.outputs import keep_earlier
from clnf_torch.converters.face_detector import READERS, package_of
from clnf_torch.detection import load_face_detector
from clnf_torch.files.writing import PARTIAL, partial_of
from clnf_torch.geometry.landmarks68 import MIRROR
from clnf_torch.media.images import read_image
from clnf_torch.models.bundle import load_bundle
from clnf_torch.models.pdm import PDM
from clnf_torch.training.checkpoint import CHECKPOINT_NAME
from clnf_torch.training.data.annotations import IMAGES, TABLE, Annotations, read_annotations
from clnf_torch.training.data.crops import FaceCrops, cut_crops
from clnf_torch.training.shape.gaussian import ShapeGaussian
from clnf_torch.training.shape.pdm import ShapeConfig, train_shape

# Sides of crops, pixels, and how many extents of a face they show. 8 divides the quarter of the first one; what a
# heatmap network sees from a box far off a face ends within the second: black beyond would tell it where the face is
CLOSE, WIDE = (352, 2.0), (504, 3.0)
LEAST_FACES = 20
# Of Adam: a step moves each weight by about as much
MOST_LEARNING_RATE = 1


def check_trained(data: Path, out: Path, work: Path | None, *others: Path | None) -> None:
    """Refuses a bundle or a folder of checkpoints that would overwrite what is read, or one another.

    Raises:
        typer.Exit: With code 2, after a line on stderr.
    """
    folders = [] if work is None else [Output("--work", work, folder=True)]
    given = [Input(other) for other in others if other is not None]
    check_outputs([Input(data, annotation_files), *given], [Output("--out", out), *folders])
    if work is not None and out.parent.resolve() == work.resolve() and CHECKPOINT_NAME.fullmatch(out.name):
        complain(f"--out {out}: checkpoints in --work are called so; give another name")
        raise typer.Exit(2)


def require_learning_rate(rate: float) -> None:
    """Refuses a learning rate by which nothing is learned."""
    if not 0 < rate <= MOST_LEARNING_RATE:
        raise typer.BadParameter(f"--learning-rate {rate}: give a number above 0, up to {MOST_LEARNING_RATE}")


@contextlib.contextmanager
def checkpoint_folder(out: Path, work: Path | None) -> Iterator[Path]:
    """The folder of a training's checkpoints, from which the same command goes on.

    Args:
        out: The bundle to write.
        work: The folder, which stays; None: ``OUT.partial``, whose checkpoints are removed when the block ends well.
    """
    if work is not None:
        yield work
        return
    folder = partial_of(out)
    if folder.is_file():
        keep_earlier([out])
    try:
        yield folder
    except BaseException as error:
        if folder.is_dir():
            add_note(error, f"clnf-torch: unfinished: {folder}; the same command goes on from there")
        raise
    if folder.is_dir():
        for path in folder.iterdir():
            if CHECKPOINT_NAME.fullmatch(path.name.removesuffix(PARTIAL)):
                path.unlink()
        # What is not ours stays
        with contextlib.suppress(OSError):
            folder.rmdir()


def read_faces(
    data: Path, split: list[str] | None, hold_out: int, where: torch.device, size: tuple[int, float] = CLOSE
) -> tuple[Annotations, FaceCrops]:
    """The annotated faces, and their crops on a device; refuses too few to train patch experts."""
    return read_crops(data, split, max(LEAST_FACES, hold_out), where, size)


def read_crops(
    data: Path, split: list[str] | None, least: int, where: torch.device, size: tuple[int, float]
) -> tuple[Annotations, FaceCrops]:
    """The annotated faces, and their crops of some size on a device; refuses fewer than `least`."""
    found = read_annotations(data)
    found = found.of_split(*split) if split else found
    if len(found) < least:
        complain(f"{data}: {len(found)} faces are too few to train on; give at least {least}")
        raise typer.Exit(1)
    # Of thousands of photographs that takes minutes, before the first bar
    notice(f"reading {len(found)} annotated faces of {data}")
    crops = cut_crops(found, read_image, *size)
    return found, FaceCrops(gray=crops.gray.to(where), landmarks=crops.landmarks.to(where))


def retrained(prior: ShapeGaussian, crops: FaceCrops, slack: float = 0.0) -> PDM:
    """A shape model trained on the faces, on their device; each point may leave the prior's modes by `slack` mm."""
    pdm = train_shape(crops.landmarks.cpu(), prior, torch.tensor(MIRROR, device="cpu"), ShapeConfig(slack=slack))
    return pdm.float().to(crops.landmarks.device)


def mirror_of(crops: FaceCrops) -> torch.Tensor:
    """The mirror partners of the 68 landmarks, on the faces' device."""
    return torch.tensor(MIRROR, device=crops.landmarks.device)


def source_of(faces: Annotations, data: Path) -> dict[str, Any]:
    """The training data, for the bundle."""
    return {"name": f"{len(faces)} annotated faces of {data.resolve().name}"}


def annotation_files(folder: Path) -> Iterator[Path]:
    """What is read of a folder of annotated faces.

    Raises:
        AnnotationError: Its table cannot be read.
        OSError: Likewise.
    """
    yield folder / TABLE
    if (folder / TABLE).is_file():
        yield from read_annotations(folder).images
    files = list(folder.rglob("*.*"))
    annotated = {path.with_suffix("") for path in files if path.suffix.lower() == ".pts"}
    yield from (
        path for path in files if path.suffix.lower() in (".pts", *IMAGES) and path.with_suffix("") in annotated
    )


def face_detector_record(source: Path) -> dict[str, Any]:
    """The face detector of a bundle, or of a package; refuses a bundle without one."""
    if source.suffix != ".pt":
        return READERS[package_of(source) or "mtcnn"](source)
    load_face_detector(source)
    record: dict[str, Any] = load_bundle(source)["face_detector"]
    return record
