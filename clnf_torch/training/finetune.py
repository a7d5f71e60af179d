"""A bundle with tuned experts in the place of its own; what it came from and its licence stay."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from torch import Tensor

from clnf_torch.fitting.initialise import params_from_landmarks
from clnf_torch.models.landmark_model import LandmarkModel
from clnf_torch.models.patch_experts.base import Experts
from clnf_torch.models.patch_experts.cen import CENExperts
from clnf_torch.models.patch_experts.heatmap import HeatmapExperts
from clnf_torch.models.pdm import PDM, ShapeParams
from clnf_torch.training.augmentation.photometric import ImageAugmentation
from clnf_torch.training.bundles import model_record, pdm_record
from clnf_torch.training.cen_recipe import levels_at
from clnf_torch.training.checkpoint import Checkpoint, fingerprint
from clnf_torch.training.data.cen_samples import AlignedFaces
from clnf_torch.training.data.crops import FaceCrops
from clnf_torch.training.data.heatmap_samples import FaceDataset
from clnf_torch.training.end_to_end import learnable_experts
from clnf_torch.training.recipe import FINE
from clnf_torch.training.trainer import Report, Trainer
from clnf_torch.training.tuning import FineTuneConfig, FineTuneTask, Losses, cen_losses, heatmap_losses, nearest_config

# As they were trained, to forget no marks
SUITABLE = {
    "cen": FineTuneConfig(),
    "joint": FineTuneConfig(batch=8, augmentation=ImageAugmentation(pen_marks=FINE.pen_marks)),
}
"""What suits the families that can be tuned."""


@dataclass(frozen=True)
class FineTuneResult:
    """Mean errors of the response maps of faces that were held out, by scale; heatmap experts count in nats."""

    scales: tuple[float, ...]  # pixels per millimetre; experts that are asked at several scales count once
    before: tuple[float, ...]
    after: tuple[float, ...]


def fine_tune(
    model: LandmarkModel,
    faces: FaceCrops,
    mirror: Tensor,
    config: FineTuneConfig | None = None,
    folder: Path | None = None,
    report: Report = lambda *_: None,
) -> FineTuneResult:
    """Tunes the experts of a model, in place. Held-out faces are never worse off than before.

    Args:
        model: CEN or heatmap experts on the device of the faces.
        faces: Annotated faces.
        mirror: Each landmark's partner on the other side of the face, int64, shape (N,).
        config: Settings; None: what suits the family.
        folder: For checkpoints: the same call goes on where an earlier one was stopped. None: there are none.
        report: Told after every epoch the error so far.

    Returns:
        Errors before and after.

    Raises:
        ValueError: The experts are of another family.
        CheckpointError: The folder holds checkpoints of another tuning.
    """
    if model.family not in SUITABLE:
        raise ValueError(
            f"the experts are {model.family!r}; fine_tune knows {' and '.join(SUITABLE)}, train_end_to_end any"
        )
    config = config or SUITABLE[model.family]
    params = params_from_landmarks(model.pdm, faces.landmarks)
    settings = f"{config} {fingerprint(*model.state_dict().values(), faces.gray, faces.landmarks)}"
    learnable_experts(model)
    scales, before, after = [], [], []
    for number, experts in enumerate(distinct_experts(model)):
        losses = _losses(experts, model, faces, params, mirror, config)
        tuning = FineTuneTask(experts, losses, params.rotation, config, config.seed + number)
        Trainer(tuning).run(f"scale {experts.scale:g}", Checkpoint.within(folder, f"tuned_{number}", settings), report)
        scales.append(experts.scale)
        before.append(tuning.early_stopping.before.item())
        after.append(tuning.early_stopping.error.item())
    return FineTuneResult(tuple(scales), tuple(before), tuple(after))


def distinct_experts(model: LandmarkModel) -> tuple[Experts, ...]:
    """The experts of a model's scales, coarse to fine, without those that are only asked again."""
    return tuple(cast(Experts, experts) for experts in dict.fromkeys(model.experts))


def frontal_first(faces: FaceCrops, pdm: PDM) -> FaceCrops:
    """The faces, the less turned ones first: `fine_tune` and `train_end_to_end` then hold the same ones out."""
    return faces[params_from_landmarks(pdm, faces.landmarks).rotation[:, 1].abs().argsort(stable=True)]


def _losses(
    experts: Experts,
    model: LandmarkModel,
    faces: FaceCrops,
    params: ShapeParams,
    mirror: Tensor,
    config: FineTuneConfig,
) -> Losses:
    """How wrong experts of either family are."""
    if isinstance(experts, HeatmapExperts):
        dataset = FaceDataset.of(faces, model.pdm, params, nearest_config(experts.scale).levels)
        return heatmap_losses(experts, dataset, mirror, config.augmentation)
    upright = AlignedFaces.of(faces, model.pdm, params, experts.scale, mirror, levels_at(experts.scale))
    return cen_losses(cast(CENExperts, experts), upright, params.rotation, config.augmentation)


def tuned_bundle(bundle: Mapping[str, Any], model: LandmarkModel, faces: str) -> dict[str, Any]:
    """A bundle with the experts and the shape of a tuned model in the place of its own.

    What the way back to the very files of OpenFace needs is left out, since they are other experts now. Its licence
    stays in force.

    Args:
        bundle: From `load_bundle`: what the model was built from.
        model: The tuned model, on the CPU.
        faces: What it was tuned on, in words.
    """
    experts = model_record(model)["experts"] if model.family == "joint" else _cen_records(bundle["model"], model)
    return {
        **bundle,
        "model": {**bundle["model"], "pdm": pdm_record(model.pdm), "experts": experts},
        "sources": [*bundle["sources"], {"name": faces}],
    }


def _cen_records(record: Mapping[str, Any], model: LandmarkModel) -> list[dict[str, Any]]:
    """The records of CEN experts with other weights."""
    records = []
    for index, scale in enumerate(record["experts"]):
        tuned = [
            {
                "activations": stack["activations"],
                "weights": [weight.detach().float() for weight in own.weights],
                "biases": [bias.detach().float() for bias in own.biases],
            }
            for stack, own in zip(scale["stacks"], cast(Any, model.experts_at(index)).stacks, strict=True)
        ]
        records.append({name: value for name, value in scale.items() if name != "openface"} | {"stacks": tuned})
    return records
