"""``clnf-torch openface``: the programs of OpenFace by their flags, with their names of files and all their columns."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import compress
from pathlib import Path

import typer

from clnf_torch.cli.commands.openface import Program
from clnf_torch.cli.console import notice
from clnf_torch.cli.drawing import FreeNames
from clnf_torch.cli.images.run import manifest_at
from clnf_torch.cli.input_files import image_inputs, require_some, video_inputs
from clnf_torch.cli.manifest import NAME as MANIFEST
from clnf_torch.cli.openface.aligned_files import Alignment
from clnf_torch.cli.openface.images import ImageOptions, fit_photographs, outputs_of
from clnf_torch.cli.openface.outputs import Requested, measured_groups, output_place, write_details
from clnf_torch.cli.options import CameraOptions, PrecisionName
from clnf_torch.cli.output_check import Input, Output, check_outputs
from clnf_torch.cli.outputs import Targets
from clnf_torch.cli.videos.outputs import SUMMARY, VideoOutputs, video_name
from clnf_torch.cli.videos.run import VideoOptions, track_videos
from clnf_torch.export.csv import CSVForm
from clnf_torch.media.image_faces import FitOptions
from clnf_torch.media.image_folder import IMAGES
from clnf_torch.media.video_frames import FrameSource
from clnf_torch.models.bundle import bundle_file
from clnf_torch.pipeline import LandmarkDetector
from clnf_torch.tracking import VideoConfig


@dataclass(frozen=True)
class _Given:
    """An input: a photograph, or else a video, a folder of frames or a camera."""

    path: Path
    is_photograph: bool


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
    erase_marks: bool,
    skip_existing: bool,
    resume: bool,
    device: str,
    batch: int,
) -> None:
    """Run as OpenFace's programs do."""
    _refuse(hogalign, simscale)
    bundle, lens = _bundle(model), CameraOptions(*(camera or (fx, fy, cx, cy)))
    inputs = _inputs(program, files or [], folders or [], webcam or [], inroot or Path())
    if resume and not skip_existing and any(given.is_photograph for given in inputs):
        raise typer.BadParameter("--resume: a photograph has nothing to go on from; use --skip-existing")
    groups = {"2Dfp": points, "3Dfp": points_3d, "pdmparams": params, "pose": pose, "gaze": gaze, "aus": aus}
    requested = Requested.by({**groups, "tracked": tracked, "aligned": simalign})
    if "aus" in requested.groups:
        notice("action units are not computed: their columns hold NaN")
    folder, names = output_place(out_dir, name, [given.path for given in inputs])
    place = "-out_dir" if name is None or out_dir is not None else "-of"
    check_outputs([], [Output(place, folder, folder=True)])
    # Names with a dot are those of files where there is no folder yet
    folder.mkdir(parents=True, exist_ok=True)
    form = CSVForm(openface_precision=openface_precision, header_blanks=header_blanks, openface_groups=requested.groups)
    targets = requested.targets(folder, form, Alignment(size=simsize, scale=simscale, masked=not nomask))
    names = _names(inputs, names)
    images, image_names = _apart(inputs, names, photographs=True)
    videos, video_names = _apart(inputs, names, photographs=False)
    image_outputs = [outputs_of(targets, name) for name in image_names]
    video_outputs = VideoOutputs(targets, videos, video_names, drawn=".avi")
    written = [output for outputs in image_outputs for output in outputs.outputs()]
    manifest = manifest_at(folder / MANIFEST, len(images) > 1 or skip_existing) if images else None
    # Videos have theirs at the same place
    written += video_outputs.outputs() if videos else [Output("the manifest", folder / MANIFEST)] if manifest else []
    written += [Output(place, files.details()) for files in [*image_outputs, *video_outputs.files]]
    # Two dashes have the options of other commands
    written = [replace(output, option=place) if output.option.startswith("--") else output for output in written]
    check_outputs([*map(Input, [*images, *videos]), Input(bundle)], written)
    preset, views = "wild" if wild else "default", multi_view
    if not videos:
        require_some(images)
    complete = True
    if images:
        fit = FitOptions(preset, None if views is None else bool(views), lens.behind)
        groups_of_form = {**vars(form), "openface_groups": sorted(requested.groups)}
        settings = {"preset": preset, "multi_view": fit.multi_view, **groups_of_form, **asdict(lens)}
        settings |= {"erase_marks": True} if erase_marks else {}
        settings |= {"alignment": asdict(targets.alignment)} if targets.aligned else {}
        how = ImageOptions(
            model=bundle,
            device=device,
            batch=batch,
            fit=fit,
            skip_existing=skip_existing,
            erase_marks=erase_marks,
            settings=settings,
            manifest=manifest,
        )
        complete = fit_photographs(images, image_outputs, how)
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
            erase_marks=erase_marks,
        )

        def describe(source: FrameSource, written: Targets, detector: LandmarkDetector) -> None:
            camera = lens.behind(source.width, source.height)
            write_details(source.path, camera, written, measured_groups(detector.model))

        track_videos(videos, video_outputs, options, describe)
    if not complete:
        raise typer.Exit(1)


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
) -> list[_Given]:
    """Files in their order, then what folders stand for, then cameras."""
    if not files and not folders and not webcam:
        raise typer.BadParameter("give -f FILE, -fdir DIR or -device N")
    found = [root / path for path in folders]
    in_folders = image_inputs(found) if program is Program.image else video_inputs(found)
    return [
        *(_Given(root / path, path.suffix.lower() in IMAGES) for path in files),
        *(_Given(path, program is Program.image) for path in in_folders),
        *(_Given(Path(str(number)), False) for number in webcam),
    ]


def _names(inputs: Sequence[_Given], names: Sequence[str] | None) -> list[str]:
    """What the outputs of each input are called, no two alike: as the inputs where no names were given."""
    free_name = FreeNames()
    if not all(given.is_photograph for given in inputs):
        # These lie beside the outputs of videos
        for taken in (MANIFEST, SUMMARY):
            free_name(Path(taken).stem)
    return [free_name(name) for name in names or [video_name(given.path) for given in inputs]]


def _apart(inputs: Sequence[_Given], names: Sequence[str], *, photographs: bool) -> tuple[list[Path], list[str]]:
    """The photographs among inputs, or the others, and their names."""
    wanted = [given.is_photograph == photographs for given in inputs]
    return [given.path for given in compress(inputs, wanted)], list(compress(names, wanted))
