"""``clnf-torch openface``: the programs of OpenFace by their flags, with their names of files and all their columns."""

import math
from collections.abc import Sequence
from pathlib import Path

import typer

from clnf_torch.cli.aligned_files import Alignment
from clnf_torch.cli.commands.openface import Program
from clnf_torch.cli.console import notice
from clnf_torch.cli.input_files import image_inputs, video_inputs
from clnf_torch.cli.openface_images import ImageOptions, fit_photographs
from clnf_torch.cli.openface_outputs import Requested, measured_groups, output_place, write_details
from clnf_torch.cli.options import CameraOptions, PrecisionName
from clnf_torch.cli.outputs import Targets
from clnf_torch.cli.video_outputs import VideoOutputs
from clnf_torch.cli.video_run import VideoOptions, track_videos
from clnf_torch.export.csv import CSVForm
from clnf_torch.media.image_faces import FitOptions
from clnf_torch.media.image_folder import IMAGES
from clnf_torch.media.video_frames import FrameSource
from clnf_torch.models.bundle import bundle_file
from clnf_torch.pipeline import LandmarkDetector
from clnf_torch.tracking import VideoConfig


def openface(
    *,
    program: Program | None,
    files: list[Path] | None,
    folders: list[Path] | None,
    webcam: list[int] | None,
    inroot: Path | None,
    out_dir: Path | None,
    name: Path | None,
    points: bool,
    points_3d: bool,
    params: bool,
    pose: bool,
    gaze: bool,
    aus: bool,
    tracked: bool,
    simalign: bool,
    simsize: int,
    simscale: float,
    nomask: bool,
    nobadaligned: bool,
    hogalign: bool,
    wild: bool,
    multi_view: int | None,
    model: Path | None,
    camera: tuple[float, float, float, float] | None,
    fx: float | None,
    fy: float | None,
    cx: float | None,
    cy: float | None,
    shown: bool,
    quiet: bool,
    static: bool,
    header_blanks: bool,
    openface_precision: bool,
    skip_existing: bool,
    resume: bool,
    device: str,
    batch: int,
) -> None:
    """Run as OpenFace's programs do."""
    _refuse(hogalign, simscale)
    bundle, lens = _bundle(model), CameraOptions(*(camera or (fx, fy, cx, cy)))
    images, videos = _inputs(program, files or [], folders or [], webcam or [], inroot or Path())
    groups = {"2Dfp": points, "3Dfp": points_3d, "pdmparams": params, "pose": pose, "gaze": gaze, "aus": aus}
    requested = Requested.by({**groups, "tracked": tracked, "aligned": simalign})
    if "aus" in requested.groups:
        notice("action units are not computed: their columns hold NaN")
    folder, names = output_place(out_dir, name, [*images, *videos])
    folder.mkdir(parents=True, exist_ok=True)
    form = CSVForm(openface_precision=openface_precision, header_blanks=header_blanks, openface_groups=requested.groups)
    targets = requested.targets(folder, form, Alignment(size=simsize, scale=simscale, masked=not nomask))
    preset, views = "wild" if wild else "default", multi_view
    if images:
        fit = FitOptions(preset, None if views is None else bool(views), lens.behind)
        how = ImageOptions(model=bundle, device=device, batch=batch, fit=fit, skip_existing=skip_existing)
        fit_photographs(images, targets, names, how)
    if videos:
        single = program is not Program.videos_of_many
        options = VideoOptions(
            model=bundle,
            config=VideoConfig(preset=preset, multi_view=views != 0, single_face=single),
            box=None,
            numerics=None,
            device=device,
            precision=PrecisionName.float32,
            batch=batch,
            likelihoods=False,
            camera=lens,
            resume=resume,
            skip_existing=skip_existing,
        )

        def describe(source: FrameSource, written: Targets, detector: LandmarkDetector) -> None:
            camera = lens.behind(source.width, source.height)
            write_details(source.path, camera, written, measured_groups(detector.model))

        track_videos(videos, VideoOutputs(targets, videos, names, drawn=".avi"), options, describe)


def _refuse(hogalign: bool, scale: float) -> None:
    """Refuses what is not made, in a sentence."""
    if not 0 < scale < math.inf:
        raise typer.BadParameter(f"-simscale {scale}: give pixels per millimetre, above 0")
    if hogalign:
        raise typer.BadParameter("-hogalign: HOG features are not computed here; leave it out")


def _bundle(location: Path | None) -> Path:
    """The weights file of ``-mloc``."""
    if location is None:
        return bundle_file(None)
    if location.is_dir() or location.suffix == ".txt":
        convert = f"clnf-torch convert {location} -o openface.pt"
        raise typer.BadParameter(
            f"-mloc {location}: OpenFace's files are converted once: {convert}; then give that file"
        )
    return bundle_file(location)


def _inputs(
    program: Program | None, files: Sequence[Path], folders: Sequence[Path], webcam: Sequence[int], root: Path
) -> tuple[list[Path], list[Path]]:
    """Photographs, and videos with folders of frames and cameras."""
    given, found = [root / path for path in files], [root / path for path in folders]
    if not given and not found and not webcam:
        raise typer.BadParameter("give -f FILE, -fdir DIR or -device N")
    cameras = [Path(str(number)) for number in webcam]
    photographs = [path for path in given if path.suffix.lower() in IMAGES]
    videos = [path for path in given if path.suffix.lower() not in IMAGES]
    if program is Program.image:
        return image_inputs([*photographs, *found]), [*videos, *cameras]
    return photographs, [*videos, *video_inputs(found), *cameras]
