"""Options that several commands share, and what is made of their values."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from clnf_torch.cli.console import complain
from clnf_torch.media.boxes import Box, BoxError, boxes_of, read_boxes_file

if TYPE_CHECKING:
    import torch

    from clnf_torch.geometry.camera import Intrinsics

STDOUT = Path("-")
# As `media.batches.MAX_FRAMES`, which the options of a command need not load
IMAGES_AT_ONCE = 16


class Preset(str, Enum):
    """Settings that suit images and videos."""

    default = "default"
    wild = "wild"


class NumericsName(str, Enum):
    """How closely OpenFace's arithmetic is followed."""

    openface = "openface"
    exact = "exact"


class PrecisionName(str, Enum):
    """What factors of products in the patch experts are rounded to."""

    float32 = "float32"
    tf32 = "tf32"
    bf16 = "bf16"


def model_file(place: Path | None = None) -> Path:
    """The file of a model: the one given, one that is installed with the package, or the default model's."""
    from clnf_torch.models.bundle import bundle_file

    return bundle_file(place)


_MODEL_HELP = "Weights file, from clnf-torch convert or train, or the name of an installed model."
Model = Annotated[
    Path,
    typer.Option(
        metavar="MODEL.pt",
        default_factory=model_file,
        callback=model_file,
        show_default="the default model",
        help=_MODEL_HELP,
    ),
]
Bundle = Annotated[
    Path,
    typer.Argument(
        metavar="MODEL.pt",
        callback=model_file,
        help=_MODEL_HELP,
    ),
]
BundleOrDefault = Annotated[
    Path,
    typer.Argument(
        metavar="MODEL.pt",
        default_factory=model_file,
        callback=model_file,
        show_default="the default model",
        help=_MODEL_HELP,
    ),
]

GivenBox = Annotated[
    Box | None,
    typer.Option(metavar="X Y W H", help="Bounding box of the face in every image: brows to chin, jaw to jaw, pixels."),
]
GivenBoxes = Annotated[
    Path | None,
    typer.Option(metavar="FILE.json", help='Bounding boxes by file name: {"a.jpg": [[X, Y, W, H], ...]}.'),
]

PresetName = Annotated[Preset, typer.Option(help="Settings of the fit; wild searches wider and longer.")]
_ROTATIONS = typer.Option("--multi-view/--no-multi-view", help="Try eleven head rotations instead of the frontal one.")
MultiView = Annotated[bool | None, _ROTATIONS]
"""None: as the preset says."""
AllViews = Annotated[bool, _ROTATIONS]
NumericsChoice = Annotated[
    NumericsName | None,
    typer.Option(show_default="as the bundle says", help="Arithmetic of OpenFace, or exact and differentiable."),
]
PrecisionChoice = Annotated[
    PrecisionName, typer.Option("--precision", help="Of products in the patch experts alone; tf32 on CUDA.")
]
Device = Annotated[str, typer.Option(metavar="D", help="cpu, cuda, cuda:1, ...")]
Threads = Annotated[
    int | None,
    typer.Option(min=1, help="Threads of the processor.", show_default="as many as PyTorch takes"),
]
ActorThreads = Annotated[
    int | None,
    typer.Option(
        "--threads", min=1, help="Threads of the processor; with --ray those of each actor, and its CPUs.",
        show_default="as many as PyTorch takes, one of an actor",
    ),
]  # fmt: skip
BatchSize = Annotated[int, typer.Option("--batch", min=1, help="How many are computed together.")]

JSONFile = Annotated[Path | None, typer.Option("--json", metavar="FILE|-", help="Write JSON; - is stdout.")]
CSVFile = Annotated[
    Path | None, typer.Option("--csv", metavar="FILE|-", help="Write a table with OpenFace's columns; - is stdout.")
]
ParquetFile = Annotated[Path | None, typer.Option("--parquet", metavar="FILE", help="Write the same table as Parquet.")]
Resume = Annotated[
    bool,
    typer.Option("--resume", help="Skip what is finished, and go on with what was interrupted; the results are equal."),
]
RayAddress = Annotated[
    str | None,
    typer.Option(
        "--ray", metavar="ADDRESS",
        help="Compute on a Ray cluster: its address, auto for the one that runs here, local for this machine alone.",
    ),
]  # fmt: skip
FaceDetectorName = Annotated[
    str | None,
    typer.Option(
        "--detector", metavar="NAME|FILE", show_default="that of the model",
        help="Face detector: blazeface, the name of one that a package registers, or a weights file that holds one.",
    ),
]  # fmt: skip
ActorCount = Annotated[
    int | None,
    typer.Option("--actors", min=1, help="With --ray: how many compute.", show_default="as many as there is room for"),
]
EraseMarks = Annotated[
    bool, typer.Option("--erase-marks", help="Take pen marks away from faces before their landmarks are looked for.")
]
Likelihoods = Annotated[
    bool,
    typer.Option(
        "--landmark-quality",
        "--likelihoods",
        help="Add each landmark's likelihood and expected error to tables, and their colours to drawings.",
    ),
]
Blanks = Annotated[
    bool, typer.Option("--header-blanks", help="Write a blank behind every comma of CSV, as older OpenFace did.")
]
SkipExisting = Annotated[bool, typer.Option("--skip-existing", help="Skip inputs all of whose outputs are there.")]
Rounded = Annotated[bool, typer.Option("--openface-precision", help="Write as few digits to CSV as OpenFace.")]

FocalX = Annotated[float | None, typer.Option(metavar="PX", help="Focal length.", show_default="OpenFace's guess")]
FocalY = Annotated[float | None, typer.Option(metavar="PX", help="Vertical focal length.", show_default="--fx")]
CenterX = Annotated[float | None, typer.Option(metavar="PX", help="Principal point.", show_default="the middle")]
CenterY = Annotated[float | None, typer.Option(metavar="PX", help="Principal point.", show_default="the middle")]

Data = Annotated[
    Path, typer.Argument(metavar="DATA", help="Annotated faces: landmarks.npz, or images with .pts files.")
]
Out = Annotated[Path, typer.Option("--out", "-o", metavar="MODEL.pt", help="The bundle to write.")]
WORK_HELP = "Checkpoints, from which the same command resumes; if omitted MODEL.pt.partial, removed at the end."
Work = Annotated[Path | None, typer.Option(metavar="DIR", help=WORK_HELP)]
Split = Annotated[list[str] | None, typer.Option(metavar="NAME", help="Use this split of the faces; may be repeated.")]
HoldOut = Annotated[int, typer.Option(metavar="K", min=2, help="Hold out every K-th face for validation.")]
Photometric = Annotated[
    bool, typer.Option("--photometric/--no-photometric", help="Augment with light, blur, noise and occlusion.")
]
Seed = Annotated[int, typer.Option(min=0, help="Random seed; the same one gives the same model on the same machine.")]
Effort = Annotated[float, typer.Option(help="Share of the recipe's steps; small ones try things out.")]


@dataclass(frozen=True)
class CameraOptions:
    """What is known of the camera; the rest is what OpenFace assumes."""

    fx: float | None
    fy: float | None
    cx: float | None
    cy: float | None

    def __post_init__(self) -> None:
        """Refuses what no camera has."""
        for name, value in (("--fx", self.fx), ("--fy", self.fy)):
            if value is not None and not 0 < value < math.inf:
                raise typer.BadParameter(f"{name} {value}: give a focal length in pixels, above 0")
        for name, value in (("--cx", self.cx), ("--cy", self.cy)):
            if value is not None and not math.isfinite(value):
                raise typer.BadParameter(f"{name} {value}: give a position in pixels")

    def behind(self, width: int, height: int) -> "Intrinsics":
        """The camera of images of a size, pixels."""
        from clnf_torch.geometry.camera import Intrinsics

        return Intrinsics.known(width, height, self.fx, self.fy, self.cx, self.cy)


def device_named(name: str) -> "torch.device":
    """The device of that name; refuses one that is not there."""
    import torch

    from clnf_torch.geometry.host import require_device

    try:
        device = torch.device(name)
    except RuntimeError:
        raise typer.BadParameter(f"--device {name}: give cpu, cuda, cuda:1, ...") from None
    try:
        return require_device(device)
    except ValueError as error:
        complain(f"--{error}")
        raise typer.Exit(1) from None


def boxes_from(box: Box | None, file: Path | None) -> Callable[[Path], list[Any]]:
    """The boxes of an image, from either option."""
    if file is None:
        return lambda _: [box]
    table = boxes_in(file)
    return lambda path: boxes_of(path, table)


def boxes_in(file: Path) -> dict[str, Any]:
    """The boxes of a file by the names of images; ends the program where it is no such file."""
    try:
        return read_boxes_file(file)
    except BoxError as error:
        complain(error)
        raise typer.Exit(1) from None
