"""Fine-tuning of CEN experts, of OpenFace's too, on other annotated faces: the runtime's own modules learn on."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import Tensor

from clnf_torch.fitting.initialise import params_from_landmarks
from clnf_torch.models.landmark_model import LandmarkModel
from clnf_torch.models.numerics import EXACT
from clnf_torch.models.patch_experts.cen import CENExperts
from clnf_torch.training.cen_recipe import held_out_faces
from clnf_torch.training.cen_samples import CLEAN, FAR, NEAR, Spoiling, UprightFaces, gaussian_maps
from clnf_torch.training.cen_views import ViewRows
from clnf_torch.training.crops import FaceCrops
from clnf_torch.training.dice import Dice
from clnf_torch.training.learning import BestState, learnable_experts

WINDOW = 9  # side of the response maps that are compared with what they should be


@dataclass(frozen=True, kw_only=True)
class TuningConfig:
    """How experts are tuned."""

    epochs: int = 5  # every face once in each, and its mirror image half of the time
    batch: int = 4  # faces in a step
    rate: float = 1e-5  # learning rate of Adam
    sigma: float = 1.0  # width of what the experts should answer, reference pixels
    near: float = 0.5  # share of the areas that lie near their landmark
    levels: int = 1  # sharpnesses of the pictures
    held_out: int = 10  # each so-many-th face is judged by, not learned from
    spoiling: Spoiling = field(default_factory=Spoiling)
    seed: int = 0


@dataclass(frozen=True)
class TuningResult:
    """Mean squared errors of the response maps of faces that were held out, by scale."""

    before: tuple[float, ...]
    after: tuple[float, ...]


Report = Callable[[float, int, int, float], None]
"""Called with the scale, the epochs done, the epochs in all, and the error so far."""


def fine_tune(
    model: LandmarkModel,
    faces: FaceCrops,
    mirror: Tensor,
    config: TuningConfig | None = None,
    report: Report = lambda *_: None,
) -> TuningResult:
    """Tunes the CEN experts of a model, in place. Held-out faces are never worse off than before.

    Args:
        model: CEN experts on the device of the faces.
        faces: Annotated faces.
        mirror: Each landmark's partner on the other side of the face, int64, shape (N,).
        config: Settings.
        report: Told after every epoch.

    Returns:
        Errors before and after.

    Raises:
        ValueError: The experts are of another family.
    """
    config = config or TuningConfig()
    if model.family != "cen":
        raise ValueError(f"the experts are {model.family!r}; fine_tune knows CEN experts, train_end_to_end any")
    params = params_from_landmarks(model.pdm, faces.landmarks)
    learnable_experts(model)
    before, after = [], []
    for index in range(model.num_scales):
        experts = cast(CENExperts, model.experts_at(index))
        upright = UprightFaces.of(faces, model.pdm, params, experts.scale, mirror, config.levels)
        first, best = _tune_scale(experts, upright, params.rotation, config, config.seed + index, report)
        before.append(first)
        after.append(best)
    return TuningResult(tuple(before), tuple(after))


def _tune_scale(
    experts: CENExperts, faces: UprightFaces, rotation: Tensor, config: TuningConfig, seed: int, report: Report
) -> tuple[float, float]:
    """Tunes the experts of one scale; their error before and after."""
    held = held_out_faces(rotation, config.held_out)
    judges = held.nonzero().squeeze(-1)
    learn = (~held).nonzero().squeeze(-1) if len(judges) < len(held) else judges
    dice = Dice(torch.Generator().manual_seed(seed), rotation.device)
    parameters = list(experts.parameters())
    optimiser = torch.optim.Adam(parameters, lr=config.rate)

    def judge() -> float:
        fixed = Dice(torch.Generator().manual_seed(seed), rotation.device)
        with torch.no_grad():
            losses = [
                _loss(experts, faces, rotation, rows, config, CLEAN, fixed) for rows in judges.split(config.batch)
            ]
        return float(torch.stack(losses).mean())

    first = judge()
    best = BestState(parameters, first)
    for epoch in range(config.epochs):
        order = learn[torch.randperm(len(learn), generator=dice.generator).to(learn.device)]
        for rows in order.split(config.batch):
            optimiser.zero_grad()
            _loss(experts, faces, rotation, rows, config, config.spoiling, dice).backward()
            optimiser.step()
        best.offer(judge())
        report(experts.scale, epoch + 1, config.epochs, best.error)
    best.restore()
    return first, best.error


def _loss(
    experts: CENExperts,
    faces: UprightFaces,
    rotation: Tensor,
    rows: Tensor,
    config: TuningConfig,
    spoiling: Spoiling,
    dice: Dice,
) -> Tensor:
    """Mean squared difference between the maps of visible landmarks of some faces and Gaussians around the truth."""
    landmarks = faces.landmarks.shape[1]
    flip = dice.chance(0.5, len(rows))
    turned = torch.where(flip[:, None], rotation[rows] * rotation.new_tensor([1.0, -1.0, -1.0]), rotation[rows])
    view = experts.nearest_view(turned)
    away = torch.where(dice.chance(config.near, len(rows), 1, 1), NEAR, FAR)
    offsets = (dice.normal(1, len(rows), landmarks, 2) * away).round()
    level = int(dice.choice(len(faces.levels), 1))
    every = torch.arange(landmarks, device=rows.device)
    width = WINDOW + experts.support - 1
    areas = faces.cut(ViewRows(rows, flip), offsets, every, level, spoiling, dice, width)
    wrong = (experts(areas, view, EXACT) - gaussian_maps(offsets, WINDOW, config.sigma)).square().mean((-2, -1))
    seen = experts.visible[view]
    return (wrong * seen).sum() / seen.sum().clamp(min=1)


def tuned_bundle(bundle: Mapping[str, Any], model: LandmarkModel, faces: str) -> dict[str, Any]:
    """A bundle with the experts and the shape of a tuned model in the place of its own.

    What the way back to the very files of OpenFace needs is left out, since they are other experts now. Its licence
    stays in force.

    Args:
        bundle: From `load_bundle`: what the model was built from.
        model: The tuned model.
        faces: What it was tuned on, in words.
    """
    records = []
    for index, record in enumerate(bundle["model"]["experts"]):
        stacks = cast(CENExperts, model.experts_at(index)).stacks
        tuned = [
            {
                "activations": stack["activations"],
                "weights": [weight.detach().float().cpu() for weight in own.weights],
                "biases": [bias.detach().float().cpu() for bias in own.biases],
            }
            for stack, own in zip(record["stacks"], cast(Any, stacks), strict=True)
        ]
        records.append({name: value for name, value in record.items() if name != "openface"} | {"stacks": tuned})
    shape = {name: getattr(model.pdm, name).detach().double().cpu() for name in ("mean", "modes", "variances")}
    return {
        **bundle,
        "model": {**bundle["model"], "pdm": shape, "experts": records},
        "sources": [*bundle["sources"], {"name": faces}],
    }
