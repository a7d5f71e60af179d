"""``clnf-torch train eyes``: eyes for a model, from rendered faces."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import typer

from clnf_torch.cli.annotated_faces import checkpoint_folder
from clnf_torch.cli.console import complain, failures_exit_with, finishing_first, say
from clnf_torch.cli.options import device_named
from clnf_torch.cli.output_check import Input, Output, check_outputs
from clnf_torch.cli.progress import training_bars
from clnf_torch.detection import load_face_detector
from clnf_torch.files.archive import save_archive
from clnf_torch.geometry.landmarks68 import NUM_LANDMARKS
from clnf_torch.geometry.records import join_rows
from clnf_torch.media.image_folder import image_files
from clnf_torch.media.images import read_image
from clnf_torch.models.bundle import build_model, load_bundle
from clnf_torch.models.landmark_model import Part
from clnf_torch.training.eyes.gaze import GazeConfig, train_gaze_network
from clnf_torch.training.eyes.gaze_faces import gaze_faces, gaze_portraits
from clnf_torch.training.eyes.parts import EYES, EyeRecipe, eye_regions, train_eyes
from clnf_torch.training.free.mesh_teacher import face_mesh
from clnf_torch.training.free.photographed_eyes import EYE_SOURCE, photographed_eyes
from clnf_torch.training.free.self_training import cut_portraits
from clnf_torch.training.synthetic.face_shards import read_shards
from clnf_torch.training.trainer import keep_freed_memory

# Pixels of the side of a portrait's crop: those of a rendered image
SIDE = 256


def eyes(
    *,
    faces: Path,
    out: Path,
    model: Path,
    portraits: list[Path] | None,
    templates: Path | None,
    teacher: bool,
    work: Path | None,
    steps: int,
    gaze_steps: int,
    seed: int,
    device: str,
) -> None:
    """Train eyes of 28 landmarks on rendered faces and photographs, and the network that then sees the gaze."""
    folders = [] if work is None else [Output("--work", work, folder=True)]
    check_outputs([Input(model)], [Output("--out", out), *folders])
    with failures_exit_with(1), finishing_first() as stop_if_asked:
        keep_freed_memory()
        if teacher:
            if templates is None or not portraits:
                complain("--teacher: it finds the eyes of --portraits, and --templates calibrate it; give both")
                raise typer.Exit(1)
            # Before hours of work
            face_mesh()
        where, content = device_named(device), load_bundle(model)
        if (count := len(content["model"]["pdm"]["mean"])) != NUM_LANDMARKS:
            complain(f"{model}: it has {count} landmarks; eyes belong to models of {NUM_LANDMARKS}")
            raise typer.Exit(1)
        finder = load_face_detector(model if content.get("face_detector") else None) if portraits else None
        regions = eye_regions(read_shards(faces))
        files = [path for folder in portraits or () for path in image_files(folder)]
        photographed = None if templates is None else photographed_eyes(templates, files, read_image, teacher, seed)
        recipe = EyeRecipe(seed=seed)
        recipe = replace(recipe, experts=replace(recipe.experts, steps=steps))
        with checkpoint_folder(out, work) as folder:
            with training_bars(stop_if_asked) as report:
                parts = train_eyes(regions, recipe, folder, report, where, photographed)
                content = with_eyes(content, parts)
                looks = gaze_faces(read_shards(faces))
                count = int(looks.seen.sum())
                sources = [f"{len(regions.points)} rendered eyes of {faces.name}, gaze by {count} of them"]
                if photographed is not None and templates is not None:
                    sources.append(f"{len(photographed)} eyes of photographs, some moved: {templates.resolve().name}")
                if teacher:
                    sources.append(EYE_SOURCE)
                if finder is not None:
                    people = gaze_portraits(build_model(content), cut_portraits(map(read_image, files), finder, SIDE))
                    looks = join_rows(looks, people)
                    sources.append(f"{len(people)} portraits of people who look into the camera")
                config = GazeConfig(steps=gaze_steps, seed=seed)
                network = train_gaze_network(looks, config, folder, report, where)
        content["model"]["gaze_network"] = network.to_record()
        content["sources"] += [{"name": source} for source in sources]
        save_archive(content, out)
        say(f"{out}: with eyes, trained on {len(regions.points)}")


def with_eyes(bundle: Mapping[str, Any], parts: tuple[Part, Part]) -> dict[str, Any]:
    """A copy of a bundle whose model has these eyes, in the place of its own where it had some."""
    others = [part for part in bundle["model"].get("parts", ()) if part["name"] not in EYES]
    model = {**bundle["model"], "parts": [*others, *(part.to_record() for part in parts)]}
    return {**bundle, "model": model, "sources": list(bundle["sources"])}
