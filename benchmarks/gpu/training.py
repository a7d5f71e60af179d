"""One step of each kind of training, on the painted faces."""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from benchmarks.gpu.calls import Call, Calls
from benchmarks.gpu.material import MIRROR
from clnf_torch import LandmarkDetector, ShapeParams
from clnf_torch.fitting.initialise import params_from_landmarks
from clnf_torch.training.augmentation.photometric import ImageAugmentation
from clnf_torch.training.augmentation.random import Sampler
from clnf_torch.training.cen import CenConfig, CenTask
from clnf_torch.training.data.cen_samples import AlignedFaces, ViewRows
from clnf_torch.training.data.crops import FaceCrops
from clnf_torch.training.data.heatmap_samples import FaceDataset
from clnf_torch.training.data.trial_fits import TrialFits, perturb_shapes
from clnf_torch.training.end_to_end import EndToEndConfig, fit_errors, learnable_experts
from clnf_torch.training.finetune import distinct_experts, heatmap_losses
from clnf_torch.training.heatmap import HeatmapConfig, HeatmapTask
from clnf_torch.training.recipe import COARSE, FINE
from clnf_torch.training.trainer import Task, Trainer
from clnf_torch.training.validator.training import ValidatorConfig, ValidatorTask

HIDDEN = (300, 100, 50)  # widths of CE-CLM's coarse experts
MANY = 10**6  # steps: more than are taken


def training_steps(calls: Calls) -> dict[str, Callable[[], Call]]:
    """What makes the trainings ready, by name; each then takes a step per call."""
    batch = (lambda usual: 2) if calls.material.quick else (lambda usual: usual)
    coarse, fine = (replace(config, batch=batch(config.batch), steps=MANY) for config in (COARSE, FINE))
    end_to_end, tuned, judged = batch(8), batch(8), batch(128)
    return {
        f"coarse heatmaps, {coarse.batch} faces": lambda: heatmap_step(calls, coarse),
        f"fine heatmaps, {fine.batch} faces": lambda: heatmap_step(calls, fine),
        f"through the fit, {end_to_end} faces": lambda: end_to_end_step(calls, end_to_end),
        "CEN of one view and scale, 11 areas an expert, learning and judging": lambda: cen_step(calls),
        f"fine-tuning, fine heatmaps, {tuned} faces": lambda: tuning_step(calls, tuned),
        f"validator, {judged} faces": lambda: validator_step(calls, judged),
    }


def heatmap_step(calls: Calls, config: HeatmapConfig) -> Call:
    """Heatmap experts of the recipe."""
    faces, params = annotated(calls)
    dataset = FaceDataset.of(faces, calls.default.model.pdm, params, config.levels)
    task = HeatmapTask(config, dataset, params.rotation[:, 1].float(), MIRROR.to(calls.device))
    return _round_of(task)


def end_to_end_step(calls: Calls, batch: int) -> Call:
    """The default model's experts, from boxes to landmarks and back."""
    faces, _ = annotated(calls)
    detector = LandmarkDetector(calls.material.default().model.to(calls.device), "exact")
    parameters = learnable_experts(detector.model)
    optimiser = torch.optim.Adam(parameters, lr=1e-6)
    rows = torch.arange(batch, device=calls.device) % len(faces)
    boxes = calls.material.faces.boxes.to(calls.device)[rows]

    def run() -> None:
        loss = fit_errors(detector, faces[rows], boxes, EndToEndConfig()).mean()
        _move(optimiser, loss)

    return run


def cen_step(calls: Calls) -> Call:
    """CEN experts of the frontal view, of the published coarse size, in steps of eleven areas each."""
    faces, params = annotated(calls)
    pdm = calls.default.model.pdm
    aligned = AlignedFaces.of(faces, pdm, params, 0.25, MIRROR.to(calls.device), 1)
    one = ViewRows(torch.zeros(1, dtype=torch.int64).to(calls.device), torch.zeros(1).bool().to(calls.device))
    at = torch.arange(4 if calls.material.quick else 68, device=calls.device)
    task = CenTask(CenConfig(epochs=MANY, areas=11), aligned, one, one, at, HIDDEN)
    return _round_of(task)


def tuning_step(calls: Calls, batch: int) -> Call:
    """The default model's fine experts, fine-tuned."""
    faces, params = annotated(calls)
    model = calls.material.default().model.to(calls.device)
    parameters = learnable_experts(model)
    experts = distinct_experts(model)[-1]
    augmentation = ImageAugmentation(pen_marks=0.5)
    losses = heatmap_losses(experts, model.pdm, faces, params, MIRROR.to(calls.device), augmentation)
    optimiser = torch.optim.Adam(parameters, lr=1e-6)
    sampler = Sampler(torch.Generator().manual_seed(0), calls.device)
    rows = torch.arange(batch, device=calls.device) % len(faces)
    return lambda: _move(optimiser, losses.learn(rows, sampler))


def validator_step(calls: Calls, batch: int) -> Call:
    """A validator, on perturbed shapes."""
    faces, params = annotated(calls)
    pdm, count = calls.default.model.pdm, 4 * len(faces)
    rows = torch.arange(count, device=calls.device) % len(faces)
    sampler = Sampler(torch.Generator().manual_seed(1), calls.device)
    with torch.no_grad():
        trials = TrialFits.of(faces, rows, perturb_shapes(pdm, params[rows], sampler))
    task = ValidatorTask(ValidatorConfig(batch=batch, steps=MANY), faces, pdm, trials)
    return _round_of(task)


def annotated(calls: Calls) -> tuple[FaceCrops, ShapeParams]:
    """The painted faces on the device, as annotated ones, and their parameters."""
    landmarks: Tensor = calls.material.faces.landmarks.to(calls.device)
    params = params_from_landmarks(calls.default.model.pdm, landmarks)
    return FaceCrops(gray=calls.images[:, 0], landmarks=landmarks), params


def _round_of(task: Task) -> Call:
    """A round of a training: a step, or an epoch."""
    trainer = Trainer(task)
    return lambda: trainer.run(until=trainer.round + 1)


def _move(optimiser: torch.optim.Optimizer, loss: Tensor) -> None:
    """A step of an optimiser, and a look at the loss as trainings take it."""
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    loss.item()
