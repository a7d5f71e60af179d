"""``clnf-torch openface``: the programs of OpenFace by their flags, with their names of files and all their columns."""

from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from clnf_torch.cli.commands.command import run_by
from clnf_torch.cli.options import BatchSize, Blanks, Device, EraseMarks, Resume, Rounded, SkipExisting, Threads


class Program(str, Enum):
    """Programs of OpenFace."""

    feature_extraction = "FeatureExtraction"
    video = "FaceLandmarkVid"
    videos_of_many = "FaceLandmarkVidMulti"
    image = "FaceLandmarkImg"


class OpenFaceCommand(TyperCommand):
    """Names a flag that it does not know whole: by letters ``-format_aligned`` would be a file of -f."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Reads the command line.

        Raises:
            typer.BadParameter: A flag is not known.
        """
        values = {
            flag: 0 if getattr(option, "is_flag", False) else option.nargs
            for option in self.get_params(ctx)
            for flag in option.opts
        }
        words = iter(args)
        for word in words:
            flag, equals, _ = word.partition("=")
            if word == "--":
                break
            if flag in values:
                for _ in range(values[flag] - len(equals)):
                    next(words, None)
            elif word.startswith("-") and not word.startswith("--") and word != "-":
                alike = next((f"; did you mean {known}?" for known in values if _plain(known) == _plain(flag)), "")
                raise typer.BadParameter(
                    f"expected a flag of those in clnf-torch openface --help, found {flag}{alike or '; leave it out'}"
                )
        return super().parse_args(ctx, args)


def _plain(flag: str) -> str:
    """A flag without what is easily mistaken."""
    return flag.casefold().replace("-", "").replace("_", "")


def _flag(*names: str, help: str) -> bool:
    """A flag that is off unless it is given."""
    found: bool = typer.Option(False, *names, help=help, show_default=False)
    return found


@run_by(
    "clnf_torch.cli.runs.openface",
    "clnf-torch openface FeatureExtraction -f interview.mp4 -out_dir processed",
    "clnf-torch openface FaceLandmarkImg -fdir photos -2Dfp -pose -tracked",
)
def openface(
    program: Annotated[
        Program | None, typer.Argument(metavar="[PROGRAM]", help="FeatureExtraction by default, or what OpenFace has.")
    ] = None,
    files: Annotated[list[Path] | None, typer.Option("-f", metavar="FILE", help="A video or image; repeated.")] = None,
    folders: Annotated[
        list[Path] | None,
        typer.Option("-fdir", metavar="DIR", help="A folder of frames; of videos; of photographs for FaceLandmarkImg."),
    ] = None,
    webcam: Annotated[list[int] | None, typer.Option("-device", metavar="N", min=0, help="A camera.")] = None,
    inroot: Annotated[
        Path | None, typer.Option("-inroot", "-root", metavar="DIR", help="Where -f and -fdir are.")
    ] = None,
    out_dir: Annotated[
        Path | None, typer.Option("-out_dir", metavar="DIR", show_default="processed", help="Folder of outputs.")
    ] = None,
    name: Annotated[Path | None, typer.Option("-of", metavar="NAME", help="Name of the outputs of one input.")] = None,
    points: bool = _flag("-2Dfp", help="Landmarks in pixels."),
    points_3d: bool = _flag("-3Dfp", help="Landmarks in millimetres."),
    params: bool = _flag("-pdmparams", help="Pose and shape parameters of the shape model."),
    pose: bool = _flag("-pose", help="Head pose."),
    gaze: bool = _flag("-gaze", help="Gaze and eye landmarks."),
    aus: bool = _flag("-aus", help="Columns of action units, which hold NaN: they are not computed."),
    tracked: bool = _flag("-tracked", help="A drawn video or image."),
    simalign: bool = _flag("-simalign", help="Aligned faces, NAME_aligned/frame_det_00_000001.bmp and so on."),
    simsize: Annotated[int, typer.Option("-simsize", metavar="PX", min=1, help="Side of aligned faces.")] = 112,
    simscale: Annotated[float, typer.Option("-simscale", metavar="S", help="Their pixels per millimetre.")] = 0.7,
    nomask: bool = _flag("-nomask", help="Keep what is around aligned faces, which is black otherwise."),
    nobadaligned: bool = _flag("-nobadaligned", help="Taken; faces that were not found are never written."),
    hogalign: bool = _flag("-hogalign", help="Refused: HOG features are not computed."),
    wild: bool = _flag("-wild", help="Search wider and longer."),
    multi_view: Annotated[
        int | None, typer.Option("-multi_view", metavar="0|1", min=0, max=1, help="Try eleven head rotations.")
    ] = None,
    model: Annotated[
        Path | None, typer.Option("-mloc", metavar="MODEL.pt", help="A bundle.", show_default="the installed one")
    ] = None,
    camera: Annotated[
        tuple[float, float, float, float] | None,
        typer.Option("-cam", metavar="FX FY CX CY", help="The camera, in pixels."),
    ] = None,
    fx: Annotated[float | None, typer.Option("-fx", metavar="PX", help="Focal length.")] = None,
    fy: Annotated[float | None, typer.Option("-fy", metavar="PX", help="Vertical focal length.")] = None,
    cx: Annotated[float | None, typer.Option("-cx", metavar="PX", help="Principal point.")] = None,
    cy: Annotated[float | None, typer.Option("-cy", metavar="PX", help="Principal point.")] = None,
    shown: bool = _flag(
        "-verbose", "-vis-track", "-vis-hog", "-vis-align", "-vis-aus", help="Taken; no window is opened."
    ),
    quiet: bool = _flag("-q", help="Taken; no window is opened."),
    static: bool = _flag("-au_static", help="Taken; action units are not computed."),
    header_blanks: Blanks = False,
    openface_precision: Rounded = False,
    erase_marks: EraseMarks = False,
    skip_existing: SkipExisting = False,
    resume: Resume = False,
    device: Device = "cpu",
    threads: Threads = None,
    batch: BatchSize = 4,
) -> None:
    """Run as OpenFace's programs do. Without flags of outputs, table, drawing and NAME_of_details.txt are written."""
