"""The recipe of a model of CEN experts: its views and scales, which are trained one after the other."""

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from clnf_torch.fitting.initialise import params_from_landmarks
from clnf_torch.models.bundle import build_model
from clnf_torch.models.landmark_model import LandmarkModel, early_termination_record
from clnf_torch.models.patch_experts.cen import CENExperts
from clnf_torch.models.patch_experts.mlp_stack import MLPStack
from clnf_torch.models.pdm import PDM
from clnf_torch.training.calibration.early_termination import with_early_termination
from clnf_torch.training.cen import NAMED_WIDTHS, CenConfig, CenTask, TrainedExperts, parse_widths
from clnf_torch.training.checkpoint import Checkpoint, fingerprint
from clnf_torch.training.data.cen_samples import (
    SUPPORT,
    YAWS,
    AlignedFaces,
    CenViews,
    faces_of_views,
    views_with_faces,
)
from clnf_torch.training.data.crops import FaceCrops, held_out_faces, split_held_out
from clnf_torch.training.trainer import Report, Trainer


def left_half(pdm: PDM, mirror: Tensor) -> Tensor:
    """Landmarks in the image's left half of a frontal face, and those that are their own partners; bool, (N,)."""
    across = pdm.mean.detach()[:, 0].to(mirror.device)
    return (across < across[mirror]) | (mirror == torch.arange(len(mirror), device=mirror.device))


def landmarks_to_train(views: CenViews, view: int, left: Tensor, mirror: Tensor) -> Tensor:
    """The landmarks that have experts of their own in a trained view, int64, shape (E,).

    In the frontal view one of two mirrored landmarks has, and those that serve both come first.
    """
    seen = views.visible(left, mirror)[view]
    if views.yaws[view]:
        return seen.nonzero().squeeze(-1)
    single = mirror == torch.arange(len(mirror), device=mirror.device)
    return torch.cat([(left & ~single).nonzero(), single.nonzero()]).squeeze(-1)


def cen_record(
    scale: float, views: CenViews, left: Tensor, mirror: Tensor, trained: Mapping[int, TrainedExperts]
) -> dict[str, Any]:
    """The record of one scale; `converters/README.md` describes it.

    Args:
        scale: Pixels per millimetre.
        views: The views.
        left: See `left_half`.
        mirror: Each landmark's partner on the other side of the face, int64, shape (N,).
        trained: The experts of each trained view, in the order of `landmarks_to_train`.
    """
    visible = views.visible(left, mirror)
    expert = torch.full(visible.shape, -1)
    flipped, confidence = torch.zeros_like(visible), torch.zeros(visible.shape, dtype=torch.float64)
    start = 0
    for view in views.trained:
        at, twin = landmarks_to_train(views, view, left, mirror), views.mirror[view]
        numbers = torch.arange(start, start + len(at))
        start += len(at)
        # Own experts take precedence
        for row, landmarks, mirrored in ((twin, mirror[at], True), (view, at, False)):
            expert[row, landmarks], flipped[row, landmarks] = numbers, mirrored
            confidence[row, landmarks] = trained[view].confidence
    stacks = [trained[view].stack for view in views.trained]
    layers = range(len(stacks[0].weights))
    weights, biases = (
        [torch.cat([getattr(stack, kind)[k].detach() for stack in stacks]) for k in layers]
        for kind in ("weights", "biases")
    )
    return CENExperts.record(
        scale=scale,
        support=SUPPORT,
        view_centers=views.centers,
        visible=visible,
        confidence=confidence,
        expert=expert,
        flipped=flipped,
        stacks=[MLPStack.record(stacks[0].activations, weights, biases)],
    )


COARSE, FINE = NAMED_WIDTHS["coarse"], NAMED_WIDTHS["fine"]


@dataclass(frozen=True, kw_only=True)
class CenScale:
    """What is trained at one scale."""

    scale: float  # pixels per millimetre
    widths: tuple[int, ...]  # of the hidden layers
    levels: int = 1  # of the image pyramids; see `levels_at`

    @classmethod
    def named(cls, text: str) -> "CenScale":
        """The scale that words such as "0.25:coarse" or "0.5:500-200-100" mean.

        Raises:
            ValueError: They mean none.
        """
        size, _, widths = text.partition(":")
        try:
            scale = float(size)
        except ValueError:
            scale = 0.0
        if not 0.05 <= scale <= 4:
            raise ValueError(f"scale {text!r}: give pixels per millimetre and widths, such as 0.25:coarse")
        return cls(scale=scale, widths=parse_widths(widths), levels=levels_at(scale))


def levels_at(scale: float) -> int:
    """Levels of image pyramids for experts of a scale: at coarse ones, large faces are fitted without smoothing."""
    return 1 + (scale < 0.6) + (scale < 0.3)


OPENFACE_SCALES = (
    CenScale(scale=0.25, widths=COARSE, levels=3),
    CenScale(scale=0.35, widths=COARSE, levels=2),
    CenScale(scale=0.5, widths=FINE, levels=2),
    CenScale(scale=1.0, widths=FINE),
)


@dataclass(frozen=True, kw_only=True)
class CenRecipe:
    """What CEN experts are made of, and how."""

    scales: tuple[CenScale, ...] = OPENFACE_SCALES
    training: CenConfig = field(default_factory=CenConfig)
    yaws: tuple[float, ...] = YAWS  # of the views, degrees; to each its opposite
    least_faces: int = 40  # views with fewer, mirror images included, are left to their neighbours
    held_out: int = 10  # every so-many-th face is held out to judge by
    seed: int = 0


def train_cen(
    faces: FaceCrops,
    pdm: PDM,
    mirror: Tensor,
    recipe: CenRecipe,
    folder: Path | None = None,
    report: Report = lambda *_: None,
    notice: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """A landmark model of CEN experts.

    Args:
        faces: Annotated faces, on the device to train on, at a pixel per millimetre or more.
        pdm: The shape model.
        mirror: Each landmark's partner on the other side of the face, int64, shape (N,).
        recipe: Settings.
        folder: For checkpoints, from which the same call resumes. None: there are none.
        report: Told after every epoch the mean squared correlation so far.
        notice: Told in a sentence what the faces did not suffice for.

    Returns:
        A bundle's `model`, see `converters/README.md`; tensors on the CPU.

    Raises:
        CheckpointError: The folder holds checkpoints of another training.
    """
    device = faces.landmarks.device
    pdm, mirror = deepcopy(pdm).float().to(device), mirror.to(device)
    params = params_from_landmarks(pdm, faces.landmarks)
    views = _views(params.rotation, recipe, notice)
    held = held_out_faces(params.rotation, recipe.held_out)
    left, records = left_half(pdm, mirror), []
    data = fingerprint(*pdm.state_dict().values(), faces.gray, faces.landmarks)
    for number, scale in enumerate(recipe.scales):
        aligned = AlignedFaces.of(faces, pdm, params, scale.scale, mirror, scale.levels)
        trained: dict[int, TrainedExperts] = {}
        for view, rows in faces_of_views(views, params.rotation).items():
            config = replace(recipe.training, levels=scale.levels)
            at = landmarks_to_train(views, view, left, mirror)
            seed = recipe.seed + 100 * number + view
            learn, judges = (rows[some] for some in split_held_out(held[rows.face]))
            task = CenTask(config, aligned, learn, judges, at, scale.widths, seed)
            checkpoint = Checkpoint.within(
                folder, f"cen_{number}_{view}", f"{scale} {config} {views} {recipe.held_out} {seed} {data}"
            )
            Trainer(task).run(f"scale {scale.scale:g}, yaw {views.yaws[view]:g}", checkpoint, report)
            trained[view] = task.experts()
        records.append(cen_record(scale.scale, views, left.cpu(), mirror.cpu(), trained))
    return LandmarkModel.record(pdm=pdm.cpu().to_record(), experts=records)


def _views(rotation: Tensor, recipe: CenRecipe, notice: Callable[[str], None]) -> CenViews:
    """The views of which there are enough faces (F, 3); the others are named in a notice."""
    views = views_with_faces(rotation, recipe.least_faces, recipe.yaws)
    if lacking := sorted({abs(yaw) for yaw in set(recipe.yaws) - set(views.yaws)}):
        degrees = ", ".join(f"{yaw:g}" for yaw in lacking)
        notice(f"too few faces are turned by {degrees} degrees (under {recipe.least_faces}): left to the nearest view")
    return views


def unseen_faces(faces: FaceCrops, pdm: PDM, each: int) -> FaceCrops:
    """The faces that `train_cen` holds out."""
    pdm = deepcopy(pdm).to(faces.landmarks)
    return faces[held_out_faces(params_from_landmarks(pdm, faces.landmarks).rotation, each)]


def calibrated(model: Mapping[str, Any], unseen: FaceCrops, seed: int = 0) -> dict[str, Any]:
    """A model's record with early-termination numbers from its fits of faces that it was not trained on.

    A model of one scale, or one that failed nowhere or everywhere, stays without.
    """
    if len(model["experts"]) < 2:
        return dict(model)
    rules = with_early_termination(build_model({"model": model}), unseen, seed).early_termination
    return {**model, "early_termination": None if rules is None else early_termination_record(rules)}
