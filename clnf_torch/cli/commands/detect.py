"""``clnf-torch detect``, and ``fit``: landmarks, head pose and gaze of the faces in images."""

import functools
from pathlib import Path
from typing import Annotated, Any

import typer

from clnf_torch.cli.commands.command import run_by
from clnf_torch.cli.options import (
    IMAGES_AT_ONCE,
    ActorCount,
    ActorThreads,
    BatchSize,
    Blanks,
    CenterX,
    CenterY,
    CSVFile,
    Device,
    EraseMarks,
    FaceDetectorName,
    FocalX,
    FocalY,
    GivenBox,
    GivenBoxes,
    JSONFile,
    Likelihoods,
    Model,
    MultiView,
    NumericsChoice,
    ParquetFile,
    PrecisionChoice,
    PrecisionName,
    Preset,
    PresetName,
    RayAddress,
    Rounded,
    SkipExisting,
)


@run_by(
    "clnf_torch.cli.runs.detect",
    "clnf-torch detect photo.jpg --draw drawn",
    "clnf-torch detect photos --csv faces.csv",
)
def detect(
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE|DIR", help="Images, or folders of them.")],
    model: Model,
    box: GivenBox = None,
    boxes: GivenBoxes = None,
    face_detector: FaceDetectorName = None,
    preset: PresetName = Preset.default,
    multi_view: MultiView = None,
    numerics: NumericsChoice = None,
    device: Device = "cpu",
    threads: ActorThreads = None,
    precision: PrecisionChoice = PrecisionName.float32,
    batch: BatchSize = IMAGES_AT_ONCE,
    json: JSONFile = None,
    csv: CSVFile = None,
    parquet: ParquetFile = None,
    likelihoods: Likelihoods = False,
    erase_marks: EraseMarks = False,
    openface_precision: Rounded = False,
    header_blanks: Blanks = False,
    skip_existing: SkipExisting = False,
    ray: RayAddress = None,
    actors: ActorCount = None,
    draw: Annotated[Path | None, typer.Option(metavar="DIR", help="Draw into DIR/NAME_landmarks.png.")] = None,
    fx: FocalX = None,
    fy: FocalY = None,
    cx: CenterX = None,
    cy: CenterY = None,
) -> None:
    """Find faces in images, and their landmarks, head pose and gaze. Prints JSON if no output is given."""


@functools.wraps(detect)
def fit(**options: Any) -> None:
    """Alias of detect that needs --box or --boxes."""
    if options["box"] is None and options["boxes"] is None:
        raise typer.BadParameter("give --box X Y W H or --boxes FILE.json; clnf-torch detect finds the faces itself")
    detect(**options)
