"""Recipes of models of heatmap experts: shape model, a network for each scale, and end-to-end training of all."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast

import torch
from torch import Tensor

from clnf_torch.fitting.initialise import params_from_landmarks
from clnf_torch.models.landmark_model import LandmarkModel
from clnf_torch.models.patch_experts.heatmap import HeatmapExperts
from clnf_torch.models.patch_experts.heatmap_network import HeatmapNetwork
from clnf_torch.models.patch_experts.mesh import LARGE, MeshExperts, MeshNetwork
from clnf_torch.models.pdm import PDM
from clnf_torch.pipeline import LandmarkDetector
from clnf_torch.training.augmentation.photometric import ImageAugmentation
from clnf_torch.training.augmentation.pose_warp import PoseWarp
from clnf_torch.training.calibration.refinement import with_refinement
from clnf_torch.training.checkpoint import Checkpoint, fingerprint
from clnf_torch.training.data.crops import FaceCrops
from clnf_torch.training.data.heatmap_samples import FaceDataset, PoseJitter
from clnf_torch.training.end_to_end import EndToEndConfig, learnable_experts, train_end_to_end
from clnf_torch.training.heatmap import HeatmapConfig, HeatmapTask, freeze_trunk
from clnf_torch.training.shape.gaussian import ShapeGaussian
from clnf_torch.training.shape.pdm import ShapeConfig, train_shape
from clnf_torch.training.trainer import Report, Trainer

# From a box, with large errors of pose
COARSE = HeatmapConfig(
    scale=0.15,
    width=64,
    jitter=PoseJitter(rotation=0.4, scale=0.15, translation=8.0, from_box=0.4),
    warp=PoseWarp(pitch=0.15, yaw=0.25, shape=0.3, one_sided=0.5),
    levels=3,
    steps=7000,
    batch=64,
)
# From the fit of the coarse experts, with small errors
FINE = HeatmapConfig(
    scale=0.3,
    width=128,
    jitter=PoseJitter(rotation=0.1, scale=0.06, translation=3.0),
    warp=PoseWarp(pitch=0.1, yaw=0.2, shape=0.3, one_sided=0.5),
    levels=2,
    steps=9000,
    batch=32,
)
# Small, from boxes, far off ones among them, and from where that leads; it begins as MediaPipe's face mesh
MESH = HeatmapConfig(
    mesh=True,
    scale=0.225,
    width=192,
    widths=(),
    jitter=PoseJitter(rotation=0.2, scale=0.1, translation=5.0, from_box=0.5, far_off=0.35),
    warp=PoseWarp(pitch=0.15, yaw=0.25, shape=0.3, one_sided=0.5),
    levels=2,
    steps=6000,
    batch=32,
    learning_rate=2e-3,
    cut_off=0.1,
)
# From where that one leads
LARGE_MESH = replace(
    MESH,
    widths=LARGE,
    jitter=PoseJitter(rotation=0.12, scale=0.07, translation=3.5),
    pen_marks=0.7,
    cut_off=0.0,
)
# From where the small one leads, and as small: another kind of network, which errs in other ways
SMALL_FINE = replace(FINE, widths=(16, 24, 40, 64, 96), steps=6000, weight_decay=0.01, pen_marks=0.7)
CONFIGS = COARSE, FINE, MESH, LARGE_MESH
# All of them, end to end
TOGETHER = EndToEndConfig(
    steps=600,
    batch=8,
    learning_rate=3e-5,
    one_sided=True,
    judge_every=100,
    augmentation=ImageAugmentation(pen_marks=0.4),
)
# From boxes that are far off too, where the first network has been trained on them
TOGETHER_FROM_AFAR = replace(TOGETHER, far_off=0.3, augmentation=replace(TOGETHER.augmentation, cut_off=0.1))
# Makes a network that begins as MediaPipe's face mesh, with so many channels on the way back; see `MeshNetwork`
MeshMaker = Callable[[tuple[int, ...]], MeshNetwork]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What a landmark model is made of, and how."""

    shape: ShapeConfig = field(default_factory=ShapeConfig)
    scales: tuple[HeatmapConfig, ...] = (COARSE, FINE)
    # Of a fit; the coarse one twice, as landmarks of turned faces move far
    passes: tuple[int, ...] = (0, 0, 1)
    end_to_end: EndToEndConfig = TOGETHER
    seed: int = 0

    def with_effort(self, effort: float) -> "Recipe":
        """This recipe with another number of steps, so many times its own."""
        steps = self.end_to_end.steps and max(1, round(effort * self.end_to_end.steps))
        together = replace(self.end_to_end, steps=steps)
        scales = tuple(replace(config, steps=max(1, round(effort * config.steps))) for config in self.scales)
        return replace(self, scales=scales, end_to_end=together)


# U-Nets, from nothing
UNETS = Recipe()
# Two small networks: one that begins as MediaPipe's face mesh, and a U-Net
SMALL = Recipe(scales=(MESH, SMALL_FINE), passes=(0, 1), end_to_end=TOGETHER_FROM_AFAR)
# Two that begin so, a large one after the small one, and a U-Net after both, which errs in other ways
FULL = Recipe(scales=(MESH, LARGE_MESH, FINE), passes=(0, 1, 2), end_to_end=replace(TOGETHER_FROM_AFAR, steps=1800))


def recipe_of(model: LandmarkModel) -> Recipe:
    """The recipe of models like one: with networks of the same kinds, or of some of them."""
    mesh = [isinstance(experts, MeshExperts) for experts in dict.fromkeys(model.experts)]
    if all(mesh) or mesh == [config.mesh for config in SMALL.scales]:
        return SMALL
    return FULL if any(mesh) else UNETS


def config_like(experts: HeatmapExperts, configs: Sequence[HeatmapConfig] = CONFIGS) -> HeatmapConfig:
    """The settings, of some, by which the network of some experts is trained further."""
    mesh, widths = isinstance(experts, MeshExperts), tuple(experts.sizes().get("widths", ()))

    def unlike(config: HeatmapConfig) -> tuple[bool, bool, float]:
        return config.mesh != mesh, config.widths != widths, abs(config.scale - experts.scale)

    return min(configs, key=unlike)


def networks_of(model: LandmarkModel, recipe: Recipe) -> list[tuple[HeatmapExperts, HeatmapConfig]]:
    """The experts of each network of a model, and the settings by which it is trained further.

    They are those of the recipe's scales in order, or, where these have other networks, of the scale most like it.
    """
    experts = [cast(HeatmapExperts, each) for each in dict.fromkeys(model.experts)]
    if [isinstance(each, MeshExperts) for each in experts] == [config.mesh for config in recipe.scales]:
        return list(zip(experts, recipe.scales, strict=True))
    return [(each, config_like(each, recipe.scales)) for each in experts]


def train_landmark_model(
    faces: FaceCrops,
    prior: ShapeGaussian,
    mirror: Tensor,
    recipe: Recipe,
    folder: Path,
    report: Report = lambda *_: None,
    unseen: FaceCrops | None = None,
    begin: MeshMaker | None = None,
) -> LandmarkModel:
    """A landmark model of heatmap experts.

    Args:
        faces: Annotated faces, on the device to train on.
        prior: Shapes to begin with; see `train_shape`.
        mirror: Each landmark's partner on the other side of the face, int64, shape (N,).
        recipe: Settings.
        folder: For checkpoints, from which the same call resumes.
        report: Told after every step.
        unseen: Other annotated faces. A refinement is learned on them before the end-to-end steps, which so train what
            the fits of the finished model will give, and which they judge.
        begin: Makes the networks that begin as MediaPipe's face mesh, where the recipe has some.

    Returns:
        The model, float32, on the CPU.

    Raises:
        ValueError: The recipe has networks that begin as MediaPipe's face mesh, and nothing makes them.
        CheckpointError: The folder holds checkpoints of another training.
    """
    data = fingerprint(faces.gray, faces.landmarks, prior.mean, prior.covariance, mirror)
    pdm = _shape(faces, prior, mirror, recipe, Checkpoint(folder / "shape.pt", f"{recipe.shape} {data}"), report)
    placed = pdm.to(faces.landmarks.device)
    params = params_from_landmarks(placed, faces.landmarks)
    experts = []
    for number, config in enumerate(recipe.scales):
        dataset, seed = FaceDataset.of(faces, placed, params, config.levels), recipe.seed + number
        network = _beginning(config, begin)
        task, name = HeatmapTask(config, dataset, params.rotation[:, 1], mirror, seed, network), f"scale_{number}"
        begun = "" if network is None else f" {fingerprint(*network.state_dict().values())}"
        Trainer(task).run(name, Checkpoint(folder / f"{name}.pt", f"{config} {recipe.seed} {data}{begun}"), report)
        experts.append(heatmap_experts(config, task.experts().cpu(), len(mirror)))
    model = LandmarkModel(pdm.cpu(), [experts[number] for number in recipe.passes])
    if unseen is not None:
        model = with_refinement(model.to(faces.landmarks.device).eval(), unseen, mirror, recipe.seed, report)
        data = f"{data} {fingerprint(unseen.gray, unseen.landmarks)}"
    train_together(model, faces, recipe, Checkpoint(folder / "end_to_end.pt", f"{recipe} {data}"), report, unseen)
    return model


def heatmap_experts(config: HeatmapConfig, network: HeatmapNetwork, landmarks: int) -> HeatmapExperts:
    """The experts of a trained network, with one view in which all landmarks are visible and equally trusted."""
    family = MeshExperts if isinstance(network, MeshNetwork) else HeatmapExperts
    visible = torch.ones(1, landmarks, dtype=torch.bool)
    return family(config.scale, torch.zeros(1, 3), visible, torch.ones(1, landmarks), config.width, network)


def _beginning(config: HeatmapConfig, begin: MeshMaker | None) -> MeshNetwork | None:
    """The network that the training of a scale begins with; None for a new U-Net."""
    if not config.mesh:
        return None
    if begin is None:
        raise ValueError("the recipe has networks that begin as MediaPipe's face mesh; give what makes them")
    return begin(config.widths)


def _shape(
    faces: FaceCrops, prior: ShapeGaussian, mirror: Tensor, recipe: Recipe, checkpoint: Checkpoint, report: Report
) -> PDM:
    """The shape model, from its checkpoint where there is one, float32."""
    state = checkpoint.load(PDM.schema)
    if state is None:
        rounds = recipe.shape.rounds
        landmarks = faces.landmarks.cpu()
        pdm = train_shape(landmarks, prior, mirror, recipe.shape, lambda n, e: report("shape", n + 1, rounds, e))
        state = {"mean": pdm.mean.detach(), "modes": pdm.modes.detach(), "variances": pdm.variances.detach()}
        checkpoint.save(state)
    return PDM(state["mean"].float(), state["modes"].float(), state["variances"].float())


def train_together(
    model: LandmarkModel,
    faces: FaceCrops,
    recipe: Recipe,
    checkpoint: Checkpoint,
    report: Report,
    judges: FaceCrops | None = None,
) -> None:
    """Trains all experts together, end to end; in place. Arguments as of `train_end_to_end`."""
    config = replace(recipe.end_to_end, seed=recipe.seed)
    if config.steps:
        learnable_experts(model)
        for experts, scale in networks_of(model, recipe):
            if scale.frozen_trunk:
                freeze_trunk(experts.network)
        detector = LandmarkDetector(model, "exact").to(faces.landmarks.device)
        train_end_to_end(detector, faces, config, report, checkpoint, judges)
        model.cpu().requires_grad_(False)
