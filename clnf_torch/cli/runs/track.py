"""``clnf-torch track``: the faces of videos, frame by frame; each face keeps its number."""

from pathlib import Path

import typer

from clnf_torch.cli.cluster_jobs import Cluster, run_on_cluster
from clnf_torch.cli.input_files import video_inputs
from clnf_torch.cli.options import CameraOptions, NumericsName, PrecisionName, Preset
from clnf_torch.cli.outputs import Targets
from clnf_torch.cli.videos.outputs import VideoOutputs, manifest_place
from clnf_torch.cli.videos.run import VideoOptions, track_videos
from clnf_torch.export.csv import CSVForm
from clnf_torch.media.boxes import Box
from clnf_torch.tracking import VideoConfig


def track(
    *,
    videos: list[Path] | None,
    camera: list[int] | None,
    model: Path,
    box: Box | None,
    single_face: bool,
    smooth: bool,
    face_detector: str | None,
    preset: Preset,
    multi_view: bool,
    numerics: NumericsName | None,
    device: str,
    threads: int | None,
    precision: PrecisionName,
    batch: int,
    json: Path | None,
    csv: Path | None,
    parquet: Path | None,
    likelihoods: bool,
    erase_marks: bool,
    openface_precision: bool,
    header_blanks: bool,
    resume: bool,
    skip_existing: bool,
    ray: str | None,
    actors: int | None,
    draw: Path | None,
    fx: float | None,
    fy: float | None,
    cx: float | None,
    cy: float | None,
) -> None:
    """Track faces in videos. For several videos, outputs are folders with a file for each."""
    form = CSVForm(openface_precision=openface_precision, header_blanks=header_blanks)
    targets = Targets(csv=csv, parquet=parquet, json=json, draw=draw, form=form)
    lens, given = CameraOptions(fx, fy, cx, cy), [*(videos or ()), *(Path(str(number)) for number in camera or ())]
    if not given:
        raise typer.BadParameter("give a video, a folder, - for stdin, or --camera 0")
    if ray is not None:
        return run_on_cluster(
            "videos",
            given,
            Cluster(targets, ray, actors, device, face_detector, threads),
            model=model,
            camera=lens,
            preset=preset,
            multi_view=multi_view,
            single_face=single_face,
            smooth=smooth,
            numerics=numerics,
            precision=precision,
            likelihoods=likelihoods,
            erase_marks=erase_marks,
            batch=batch,
            box=box,
        )
    options = VideoOptions(
        model=model,
        config=VideoConfig(preset=preset.value, multi_view=multi_view, single_face=single_face, smooth=smooth),
        box=box,
        numerics=numerics,
        device=device,
        precision=precision,
        batch=batch,
        likelihoods=likelihoods,
        camera=lens,
        resume=resume,
        skip_existing=skip_existing,
        face_detector=face_detector,
        erase_marks=erase_marks,
    )
    found = video_inputs(given, manifest_place(targets))
    track_videos(found, VideoOutputs(targets, found), options)
