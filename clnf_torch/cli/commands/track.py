"""``clnf-torch track``: the faces of videos, frame by frame; each face keeps its number."""

from pathlib import Path
from typing import Annotated

import typer

from clnf_torch.cli.commands.command import run_by
from clnf_torch.cli.options import (
    ActorCount,
    ActorThreads,
    AllViews,
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
    JSONFile,
    Likelihoods,
    Model,
    NumericsChoice,
    ParquetFile,
    PrecisionChoice,
    PrecisionName,
    Preset,
    PresetName,
    RayAddress,
    Resume,
    Rounded,
    SkipExisting,
)
from clnf_torch.media.boxes import Box


@run_by(
    "clnf_torch.cli.runs.track",
    "clnf-torch track interview.mp4 --csv interview.csv --draw drawn.mp4",
    "clnf-torch track clips --csv tables --resume",
)
def track(
    model: Model,
    videos: Annotated[
        list[Path] | None,
        typer.Argument(metavar="VIDEO|DIR|-", help="Videos, folders of videos or of frames; - is stdin, 0 a camera."),
    ] = None,
    camera: Annotated[
        list[int] | None,
        typer.Option("--camera", metavar="N", min=0, help="Track a camera until Ctrl-C; 0 is the first."),
    ] = None,
    box: Annotated[
        Box | None,
        typer.Option(metavar="X Y W H", help="Bounding box of the face in the first frame; no face is detected then."),
    ] = None,
    single_face: Annotated[
        bool, typer.Option("--single-face", help="Track one face per video, exactly as OpenFace does.")
    ] = False,
    smooth: Annotated[bool, typer.Option("--smooth", help="Smooth what is written over time.")] = False,
    face_detector: FaceDetectorName = None,
    preset: PresetName = Preset.default,
    multi_view: AllViews = True,
    numerics: NumericsChoice = None,
    device: Device = "cpu",
    threads: ActorThreads = None,
    precision: PrecisionChoice = PrecisionName.float32,
    batch: BatchSize = 4,
    json: JSONFile = None,
    csv: CSVFile = None,
    parquet: ParquetFile = None,
    likelihoods: Likelihoods = False,
    erase_marks: EraseMarks = False,
    openface_precision: Rounded = False,
    header_blanks: Blanks = False,
    resume: Resume = False,
    skip_existing: SkipExisting = False,
    ray: RayAddress = None,
    actors: ActorCount = None,
    draw: Annotated[Path | None, typer.Option(metavar="VIDEO.mp4", help="Write a video with the landmarks.")] = None,
    fx: FocalX = None,
    fy: FocalY = None,
    cx: CenterX = None,
    cy: CenterY = None,
) -> None:
    """Track faces in videos. For several videos, outputs are folders with a file for each."""
