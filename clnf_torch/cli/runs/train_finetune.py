"""``clnf-torch train finetune``: fine-tunes the experts of a bundle on annotated faces."""

from dataclasses import replace
from pathlib import Path

import typer

from clnf_torch.cli.annotated_faces import (
    CLOSE,
    WIDE,
    check_trained,
    checkpoint_folder,
    mirror_of,
    read_faces,
    require_learning_rate,
    retrained,
    source_of,
)
from clnf_torch.cli.console import complain, failures_exit_with, finishing_first, say
from clnf_torch.cli.options import device_named
from clnf_torch.cli.progress import counting_bar
from clnf_torch.files.archive import save_archive
from clnf_torch.geometry.landmarks68 import MIRROR
from clnf_torch.models.bundle import build_model, load_bundle
from clnf_torch.models.landmark_model import LandmarkModel
from clnf_torch.models.patch_experts.heatmap import HeatmapExperts
from clnf_torch.pipeline import LandmarkDetector
from clnf_torch.training.augmentation.photometric import ImageAugmentation
from clnf_torch.training.checkpoint import Checkpoint, fingerprint
from clnf_torch.training.data.crops import FaceCrops
from clnf_torch.training.end_to_end import EndToEndConfig, learnable_experts, train_end_to_end
from clnf_torch.training.finetune import (
    TUNABLE,
    FineTuneConfig,
    distinct_experts,
    fine_tune,
    frontal_first,
    tuned_bundle,
)
from clnf_torch.training.shape.gaussian import ShapeGaussian
from clnf_torch.training.trainer import Report, keep_freed_memory

# Millimetres: a few modes more, for what the old shapes cannot do; with none there could only be fewer
SLACK = 0.3


def finetune(
    *,
    data: Path,
    out: Path,
    model: Path,
    work: Path | None,
    split: list[str] | None,
    shape: bool,
    epochs: int,
    learning_rate: float,
    end_to_end: int,
    hold_out: int,
    photometric: bool,
    pen_marks: float | None,
    seed: int,
    device: str,
) -> None:
    """Fine-tune heatmap or CEN experts on other faces, with early stopping by held-out faces."""
    require_learning_rate(learning_rate)
    check_trained(data, out, work, model)
    with failures_exit_with(1), finishing_first() as stop_if_asked:
        keep_freed_memory()
        where, content = device_named(device), load_bundle(model)
        tuned = build_model(content).to(where)
        _check_family(tuned, model)
        around = WIDE if issubclass(tuned.family, HeatmapExperts) else CLOSE
        faces, crops = read_faces(data, split, hold_out, where, around)
        if shape:
            tuned.pdm = retrained(ShapeGaussian.of_pdm(tuned.pdm.cpu()), crops, SLACK)
        crops = frontal_first(crops, tuned.pdm)
        suitable = TUNABLE[tuned.family].suitable
        augmentation = ImageAugmentation(
            photometric=photometric, pen_marks=suitable.augmentation.pen_marks if pen_marks is None else pen_marks
        )
        config = replace(suitable, epochs=epochs, learning_rate=learning_rate, held_out=hold_out, seed=seed)
        config = replace(config, augmentation=augmentation)
        steps = epochs * len(distinct_experts(tuned)) + end_to_end
        with checkpoint_folder(out, work) as folder:
            with counting_bar(steps, "steps", stop_if_asked) as done:
                result = fine_tune(tuned, crops, mirror_of(crops), config, folder, lambda *_: done(1))
                for size, before, after in zip(result.scales, result.before, result.after, strict=True):
                    say(f"scale {size:g}: error of the response maps {before:.5f}, now {after:.5f}")
                if end_to_end:
                    together = _together(config, end_to_end)
                    errors = _train_end_to_end(tuned, crops, together, folder, lambda *_: done(1))
                    say("error of the landmarks {:.4f} of the face's size, now {:.4f}".format(*errors))
            save_archive(tuned_bundle(content, tuned.cpu(), source_of(faces, data)["name"]), out)
        say(f"{out}: tuned on {len(faces)} faces; clnf-torch evaluate tells how good it is")


def _check_family(model: LandmarkModel, path: Path) -> None:
    """Refuses models that cannot be fine-tuned."""
    if model.family not in TUNABLE or model.pdm.num_landmarks != len(MIRROR):
        found = f"{model.pdm.num_landmarks} landmarks and {model.family.name!r} experts"
        suitable = " or ".join(repr(family.name) for family in TUNABLE)
        complain(f"{path}: it has {found}; models of 68 and {suitable} can be tuned")
        raise typer.Exit(1)


def _train_end_to_end(
    model: LandmarkModel, crops: FaceCrops, config: EndToEndConfig, work: Path | None, report: Report
) -> tuple[float, float]:
    """Trains all scales together, from the checkpoint where there is one; the errors before and after."""
    settings = f"{config} {fingerprint(*model.state_dict().values(), crops.gray, crops.landmarks)}"
    learnable_experts(model)
    checkpoint = Checkpoint.within(work, "end_to_end", settings)
    return train_end_to_end(LandmarkDetector(model, "exact"), crops, config, report, checkpoint)


def _together(config: FineTuneConfig, steps: int) -> EndToEndConfig:
    """The same settings for end-to-end training."""
    common = {name: getattr(config, name) for name in ("batch", "learning_rate", "held_out", "augmentation", "seed")}
    return EndToEndConfig(steps=steps, **common)
