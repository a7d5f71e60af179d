"""Trains the networks of a model further, on more faces."""

from dataclasses import replace
from pathlib import Path
from typing import cast

import torch
from torch import Tensor

from clnf_torch.fitting.initialise import params_from_landmarks
from clnf_torch.models.landmark_model import LandmarkModel
from clnf_torch.models.patch_experts.heatmap import HeatmapExperts
from clnf_torch.models.patch_experts.heatmap_network import HeatmapNetwork
from clnf_torch.training.checkpoint import Checkpoint, fingerprint
from clnf_torch.training.data.crops import FaceCrops
from clnf_torch.training.data.heatmap_samples import FaceDataset
from clnf_torch.training.data.trial_fits import fit_unseen
from clnf_torch.training.heatmap import HeatmapConfig, HeatmapTask
from clnf_torch.training.recipe import Recipe, networks_of, train_together
from clnf_torch.training.trainer import Report, Trainer

# Of the steps of a new network; the learning rate falls from a third of the highest once more
CONTINUED_STEPS, CONTINUED_RATE = 4 / 9, 1 / 3
# Faces by whose fits expected errors are carried over
COMPARED = 512


def retrain_networks(
    model: LandmarkModel,
    faces: FaceCrops,
    mirror: Tensor,
    recipe: Recipe,
    folder: Path,
    report: Report = lambda *_: None,
    judges: FaceCrops | None = None,
) -> LandmarkModel:
    """Trains the networks of a model further, scale by scale, and then all of them end to end; in place.

    All else stays what it is: the shape model, and what was learned on faces that the first networks had not seen. New
    networks are surer or less sure of the same faces, so the expected errors are multiplied by what keeps their mean.

    Args:
        model: Of heatmap experts, float32, on the device of the faces.
        faces: Annotated faces.
        mirror: Each landmark's partner on the other side of the face, int64, shape (N,).
        recipe: Settings, as the model was trained with.
        folder: For checkpoints, from which the same call resumes.
        report: Told after every step.
        judges: Other annotated faces, that judge the end-to-end steps. None: some of `faces`.

    Returns:
        The model.

    Raises:
        ValueError: The model has other experts.
        CheckpointError: The folder holds checkpoints of another training.
    """
    if not issubclass(model.family, HeatmapExperts):
        raise ValueError(f"the model has {model.family.name} experts; give one with heatmap experts")
    old = fingerprint(*model.state_dict().values())
    data = f"{fingerprint(faces.gray, faces.landmarks, mirror)} {old}"
    params = params_from_landmarks(model.pdm, faces.landmarks)
    errors = model.error_model
    expected = None if errors is None else _expected_errors(model, faces, recipe.seed)
    for number, (experts, scale) in enumerate(networks_of(model, recipe)):
        config, seed = _continued(scale, experts), recipe.seed + number
        network = cast(HeatmapNetwork, experts.network)
        dataset = FaceDataset.of(faces, model.pdm, params, config.levels)
        task, name = HeatmapTask(config, dataset, params.rotation[:, 1], mirror, seed, network), f"scale_{number}"
        Trainer(task).run(name, Checkpoint(folder / f"{name}.pt", f"{config} {seed} {data}"), report)
        experts.network = task.experts().to(faces.landmarks.device)
    train_together(model, faces, recipe, Checkpoint(folder / "end_to_end.pt", f"{recipe} {data}"), report, judges)
    if errors is not None and expected is not None:
        change = expected - _expected_errors(model.to(faces.landmarks.device), faces, recipe.seed)
        errors.log_error.data.add_(change.nan_to_num(0.0))
    return model


@torch.no_grad()
def _expected_errors(model: LandmarkModel, faces: FaceCrops, seed: int) -> Tensor:
    """The mean logarithm of each landmark's expected error over some faces, millimetres, shape (N,); NaN for none."""
    found, _ = fit_unseen(model.eval(), faces[:COMPARED], seed)
    assert found.landmark_errors is not None
    return (found.landmark_errors / found.params.scale[:, None]).log().nanmean(0)


def _continued(config: HeatmapConfig, experts: HeatmapExperts) -> HeatmapConfig:
    """The settings of a scale for the network of experts that goes on."""
    steps, rate = max(1, round(CONTINUED_STEPS * config.steps)), CONTINUED_RATE * config.learning_rate
    return replace(config, scale=experts.scale, width=experts.width, steps=steps, learning_rate=rate)
