"""``clnf-torch train model``: shape, heatmap experts and all that belongs to them, from annotated faces, in one go."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
import typer

import clnf_torch
from clnf_torch.cli.annotated_faces import WIDE, check_trained, face_detector_record, read_crops
from clnf_torch.cli.console import failures_exit_with, finishing_first, notice, say
from clnf_torch.cli.options import device_named
from clnf_torch.cli.progress import training_bars
from clnf_torch.converters.mediapipe_package import face_mesh
from clnf_torch.geometry.landmarks68 import MIRROR
from clnf_torch.models.bundle import default_bundle, save_bundle
from clnf_torch.models.landmark_model import LandmarkModel
from clnf_torch.models.patch_experts.mesh import MeshExperts
from clnf_torch.training.calibration.early_termination import with_early_termination
from clnf_torch.training.calibration.landmark_error import with_error_model
from clnf_torch.training.calibration.refinement import with_refinement
from clnf_torch.training.data.annotations import RESEARCH_USE, Annotations
from clnf_torch.training.data.crops import FaceCrops
from clnf_torch.training.recipe import FULL, SMALL, UNETS, MeshMaker, train_landmark_model
from clnf_torch.training.shape.depth import HEADS, with_depth_shape
from clnf_torch.training.shape.pdm import read_prior
from clnf_torch.training.trainer import keep_freed_memory
from clnf_torch.training.validator.training import ValidatorConfig, train_validator


def model(
    *,
    data: Path,
    out: Path,
    work: Path,
    split: list[str] | None,
    hold_out: int,
    prior: Path | None,
    detector: Path | None,
    mesh: Path | None,
    small: bool,
    seed: int,
    effort: float,
    device: str,
) -> None:
    """Train a landmark model and everything around it. Ctrl-C keeps what is done; the same command goes on."""
    require_effort(effort)
    if small and mesh is None:
        raise typer.BadParameter("--small: the small model begins as MediaPipe's face mesh; give --mesh too")
    check_trained(data, out, work, prior or default_bundle(), detector or default_bundle(), mesh)
    with failures_exit_with(1), finishing_first() as stop_if_asked:
        keep_freed_memory()
        where = device_named(device)
        shapes = read_prior(prior or default_bundle())
        faces_record = face_detector_record(detector or default_bundle())
        found, crops = read_crops(data, split, 2 * hold_out, where, WIDE)
        back = torch.arange(len(crops), device="cpu") % hold_out == 0
        kept, unseen = crops[~back], crops[back]
        recipe = replace((SMALL if small else FULL) if mesh else UNETS, seed=seed).with_effort(effort)
        begin = mesh_maker(mesh, seed)
        with training_bars(stop_if_asked) as report:
            trained = train_landmark_model(
                kept, shapes, torch.tensor(MIRROR, device="cpu"), recipe, work, report, unseen, begin
            )
            notice("calibrating: which hypotheses of a head's rotation end the search early")
            trained = with_early_termination(trained.to(where).eval(), unseen, seed)
            judge = train_validator(trained, kept, judging(seed, effort), work, report)
            notice("calibrating: the refinement of landmarks")
            # The validator looks at the shape's landmarks
            trained = with_refinement(trained, unseen, torch.tensor(MIRROR, device="cpu"), seed)
            notice("calibrating: how far landmarks are expected to be off")
            trained = with_error_model(trained, unseen, seed)
        trained = with_depths(trained, crops, seed)
        save_bundle(
            out,
            trained.cpu(),
            writer=f"clnf_torch {clnf_torch.__version__}",
            licence=with_notice(RESEARCH_USE, trained),
            numerics="exact",
            sources=_sources(found) + made_of(trained),
            validator=judge,
            face_detector=faces_record,
        )
        say(f"{out}: {len(kept)} faces, {len(unseen)} held out; clnf-torch evaluate tells how good it is")


def with_depths(trained: LandmarkModel, faces: FaceCrops, seed: int) -> LandmarkModel:
    """The model with a depth shape, or without one and a line that says why."""
    try:
        return with_depth_shape(trained, faces, torch.tensor(MIRROR, device="cpu"), seed)
    except ModuleNotFoundError as error:
        say(f"depths stay those of the shape model: {error}")
        return trained


def made_of(trained: LandmarkModel) -> list[dict[str, Any]]:
    """What a model has of others, for its bundle: depths of their heads, and a network that began as theirs."""
    names = {HEADS: trained.depth_shape is not None, face_mesh.SOURCE: _has_mesh(trained)}
    return [{"name": name} for name, has in names.items() if has]


def with_notice(licence: str, trained: LandmarkModel) -> str:
    """The terms of a model, with the notice that a network which began as another's asks for."""
    return f"{licence}\n\n{face_mesh.LICENCE}" if _has_mesh(trained) else licence


def _has_mesh(trained: LandmarkModel) -> bool:
    """Whether a network of the model began as MediaPipe's face mesh."""
    return any(isinstance(experts, MeshExperts) for experts in trained.experts)


def mesh_maker(source: Path | None, seed: int) -> MeshMaker | None:
    """Makes networks that begin as MediaPipe's face mesh; None without its package."""
    return None if source is None else partial(face_mesh.untrained_network, source, len(MIRROR), seed=seed)


def require_effort(effort: float) -> None:
    """Refuses a share of the recipe's steps that is none."""
    if not 0 < effort <= 10:
        raise typer.BadParameter(f"--effort {effort}: give a number above 0, up to 10")


def judging(seed: int, effort: float) -> ValidatorConfig:
    """The settings of the validator's training with another number of steps."""
    config = ValidatorConfig(seed=seed)
    return replace(config, steps=max(1, round(effort * config.steps)))


def _sources(found: Annotations) -> list[dict[str, Any]]:
    """What the model was made from, by the names of the sets."""
    return [{"name": f"{name or 'faces'}: {found.split.count(name)} faces"} for name in dict.fromkeys(found.split)]
