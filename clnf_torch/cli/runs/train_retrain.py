"""``clnf-torch train retrain``: trains the networks of a bundle further."""

from dataclasses import replace
from pathlib import Path

import typer

from clnf_torch.cli.annotated_faces import (
    WIDE,
    check_trained,
    checkpoint_folder,
    face_detector_record,
    mirror_of,
    read_crops,
    source_of,
)
from clnf_torch.cli.console import complain, failures_exit_with, finishing_first, say
from clnf_torch.cli.options import device_named
from clnf_torch.cli.progress import training_bars
from clnf_torch.cli.runs.train_model import require_effort
from clnf_torch.files.archive import save_archive
from clnf_torch.models.bundle import build_model, load_bundle
from clnf_torch.models.patch_experts.heatmap import HeatmapExperts
from clnf_torch.training.finetune import tuned_bundle
from clnf_torch.training.recipe import recipe_of
from clnf_torch.training.retraining import retrain_networks
from clnf_torch.training.trainer import keep_freed_memory

LEAST_FACES = 2


def retrain(
    *,
    data: Path,
    out: Path,
    model: Path,
    work: Path | None,
    split: list[str] | None,
    detector: Path | None,
    seed: int,
    effort: float,
    device: str,
) -> None:
    """Train the networks of a model of heatmap experts further, on all faces; all else stays as it is."""
    require_effort(effort)
    check_trained(data, out, work, model, detector)
    with failures_exit_with(1), finishing_first() as stop_if_asked:
        keep_freed_memory()
        where, content = device_named(device), load_bundle(model)
        trained = build_model(content).to(where)
        if not issubclass(trained.family, HeatmapExperts):
            complain(f"{model}: holds {trained.family.name} experts; this trains heatmap experts")
            raise typer.Exit(1)
        if detector:
            content = {**content, "face_detector": face_detector_record(detector)}
        faces, crops = read_crops(data, split, LEAST_FACES, where, WIDE)
        recipe = replace(recipe_of(trained), seed=seed).with_effort(effort)
        with checkpoint_folder(out, work) as folder, training_bars(stop_if_asked) as report:
            trained = retrain_networks(trained, crops, mirror_of(crops), recipe, folder, report)
        bundle = tuned_bundle(content, trained.cpu(), source_of(faces, data)["name"])
        bundle["model"]["error_model"] = trained.to_record()["error_model"]
        save_archive(bundle, out)
        say(f"{out}: trained on {len(faces)} faces, none held out; evaluate it on others")
