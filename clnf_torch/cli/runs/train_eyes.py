"""``clnf-torch train eyes``: eyes for a model, from rendered faces."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import typer

from clnf_torch.cli.annotated_faces import checkpoint_folder
from clnf_torch.cli.console import complain, failures_exit_with, finishing_first, notice, say
from clnf_torch.cli.options import device_named
from clnf_torch.cli.output_check import Input, Output, check_outputs
from clnf_torch.cli.progress import counting_bar
from clnf_torch.geometry.landmarks68 import NUM_LANDMARKS
from clnf_torch.models.archive import save_archive
from clnf_torch.models.bundle import build_model, load_bundle
from clnf_torch.models.landmark_model import Part
from clnf_torch.training.eyeballs import calibrate_eyeballs
from clnf_torch.training.eyes import EYES, EyeRecipe, eye_regions, train_eyes
from clnf_torch.training.synthetic.face_shards import read_shards
from clnf_torch.training.trainer import keep_freed_memory


def eyes(*, faces: Path, out: Path, model: Path, work: Path | None, steps: int, seed: int, device: str) -> None:
    """Train eyes of 28 landmarks on rendered faces, and give them to a model, which then measures gaze."""
    folders = [] if work is None else [Output("--work", work, folder=True)]
    check_outputs([Input(model)], [Output("--out", out), *folders])
    with failures_exit_with(1), finishing_first() as stop_if_asked:
        keep_freed_memory()
        where, content = device_named(device), load_bundle(model)
        if (count := len(content["model"]["pdm"]["mean"])) != NUM_LANDMARKS:
            complain(f"{model}: it has {count} landmarks; eyes belong to models of {NUM_LANDMARKS}")
            raise typer.Exit(1)
        regions = eye_regions(read_shards(faces))
        recipe = EyeRecipe(seed=seed)
        recipe = replace(recipe, experts=replace(recipe.experts, steps=steps))
        with checkpoint_folder(out, work) as folder:
            with counting_bar(steps, "steps", stop_if_asked) as done:
                parts = train_eyes(regions, recipe, folder, lambda *_: done(1), where)
            content = with_eyes(content, parts, f"{len(regions.points)} rendered eyes of {faces.name}")
            eyeballs = calibrate_eyeballs(build_model(content), read_shards(faces), seed)
            if eyeballs is None:
                notice("too few fits of the rendered faces show an iris: gaze is measured with OpenFace's eyeballs")
            else:
                for part, eyeball in zip(parts, eyeballs, strict=True):
                    part.eyeball = eyeball
            save_archive(with_eyes(content, parts), out)
        say(f"{out}: with eyes, trained on {len(regions.points)}")


def with_eyes(bundle: Mapping[str, Any], parts: tuple[Part, Part], source: str | None = None) -> dict[str, Any]:
    """A bundle whose model has these eyes, in the place of its own where it had some; and what they were trained on."""
    others = [part for part in bundle["model"].get("parts", ()) if part["name"] not in EYES]
    return {
        **bundle,
        "model": {**bundle["model"], "parts": [*others, *(part.to_record() for part in parts)]},
        "sources": [*bundle["sources"], *([{"name": source}] if source else [])],
    }
