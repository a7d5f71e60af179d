"""Parts of both eyes, trained on rendered faces: shape, heatmap experts, and what they share with the face."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from clnf_torch.fitting.initialise import params_from_landmarks
from clnf_torch.geometry.gray import to_gray
from clnf_torch.geometry.landmarks28 import EYE_MIRROR, LIDS, NUM_EYE_LANDMARKS
from clnf_torch.geometry.records import join_rows
from clnf_torch.models.landmark_model import LandmarkModel, Part
from clnf_torch.training.augmentation.pose_warp import PoseWarp
from clnf_torch.training.checkpoint import Checkpoint, fingerprint
from clnf_torch.training.data.crops import FaceCrops, NoFacesError, cut_square, square_around, to_crop
from clnf_torch.training.data.heatmap_samples import FaceDataset, PoseJitter
from clnf_torch.training.heatmap import HeatmapConfig, HeatmapTask
from clnf_torch.training.recipe import heatmap_experts
from clnf_torch.training.shape.gaussian import ShapeGaussian
from clnf_torch.training.synthetic.face_shards import RenderedFaces
from clnf_torch.training.trainer import Report, Trainer

# OpenFace's names of the eyes, and the face's six landmarks of each with their numbers in the eye
EYES = {"left_eye_28": (36, 37, 38, 39, 40, 41), "right_eye_28": (42, 43, 44, 45, 46, 47)}
IN_EYE = (8, 10, 12, 14, 16, 18)
# Pixels of the side of an eye's crop, which is so many times as wide as the eye
SIDE, MARGIN = 96, 2.2
# An eye is learned from where nothing hides so much of its lids
LEAST_VISIBLE = 0.6
# Share of the variance that the shape's modes keep
EXPLAINED = 0.995


@dataclass(frozen=True, kw_only=True)
class EyeRecipe:
    """How the experts of the eyes are trained."""

    experts: HeatmapConfig = field(
        default_factory=lambda: HeatmapConfig(
            scale=1.0,
            width=96,
            widths=(16, 32, 48, 64),
            jitter=PoseJitter(rotation=0.15, scale=0.12, translation=2.0),
            warp=PoseWarp(probability=0.0),
            levels=3,
            steps=6000,
            batch=32,
            pen_marks=0.0,
            yaw_weight=0.0,
        )
    )
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class EyeRegions:
    """Eyes cut out of rendered faces, all as if they lay on the image's left; one per row."""

    crops: FaceCrops  # (E, SIDE, SIDE) gray, landmarks (E, 28, 2)
    points: Tensor  # (E, 28, 3) mm in the head's axes


def eye_regions(shards: Iterable[RenderedFaces]) -> EyeRegions:
    """Both eyes of rendered faces, the right one mirrored, but those that are hidden.

    Args:
        shards: From `read_shards`.

    Raises:
        ValueError: No eye can be seen.
    """
    crops: list[FaceCrops] = []
    points: list[Tensor] = []
    for faces in shards:
        for row, image in enumerate(to_gray(faces.images)):
            for side in range(2):
                if faces.eyes_visible[row, side, LIDS].float().mean() < LEAST_VISIBLE:
                    continue
                mirrored = side == 1
                placed = (faces.eye_points[row, side] - faces.translation[row]) @ faces.rotation[row]
                crops.append(_cut(image, faces.eyes[row, side], mirrored))
                points.append(mirrored_eye(placed, 0.0) if mirrored else placed)
    if not crops:
        raise NoFacesError("the rendered faces show no eye whose lids are visible; render more faces")
    return EyeRegions(crops=join_rows(*crops), points=torch.stack(points))


def photographed_regions(gray: Tensor, eyes: Tensor) -> FaceCrops:
    """Eyes of photographs as `EyeRegions` has them, those further left first.

    Args:
        gray: Shape (F, S, S), uint8.
        eyes: Pixels, shape (F, 2, 28, 2); NaN where there are none.

    Returns:
        Crops (E, SIDE, SIDE), landmarks (E, 28, 2).
    """
    crops = [FaceCrops(gray=gray.new_zeros(0, SIDE, SIDE), landmarks=eyes.new_zeros(0, NUM_EYE_LANDMARKS, 2))]
    for side in range(2):
        for image, eye in zip(gray, eyes[:, side], strict=True):
            if eye.isfinite().all():
                crops.append(_cut(image, eye, side == 1))
    return join_rows(*crops)


def _cut(image: Tensor, eye: Tensor, mirrored: bool) -> FaceCrops:
    """A crop of the eye (28, 2) in an image (H, W), as if it lay on the image's left."""
    left, top, length = square_around(eye[LIDS], MARGIN)
    crop, marks = cut_square(image, left, top, length, SIDE), to_crop(eye, left, top, length, SIDE)
    if mirrored:
        crop, marks = crop.flip(-1), mirrored_eye(marks, SIDE - 1.0)
    return FaceCrops(gray=crop[None], landmarks=marks[None])


def mirrored_eye(landmarks: Tensor, width: float) -> Tensor:
    """Landmarks (..., 28, D) of one eye as those of the other: x becomes width - x, and partners change places."""
    other = landmarks[..., EYE_MIRROR, :].clone()
    other[..., 0] = width - other[..., 0]
    return other


def eye_shapes(points: Tensor) -> ShapeGaussian:
    """The Gaussian of eyes (E, 28, 3) mm, symmetric, so that it serves both."""
    away = (points - points.mean(1, keepdim=True)).double()
    mean = away.mean(0)
    spread = (away - mean).flatten(1)
    shapes = ShapeGaussian(mean, spread.T @ spread / len(points))
    return shapes.without_pose().symmetrised(torch.tensor(EYE_MIRROR))


def train_eyes(
    eyes: EyeRegions,
    recipe: EyeRecipe,
    folder: Path,
    report: Report = lambda *_: None,
    device: str | torch.device = "cpu",
    photographed: FaceCrops | None = None,
) -> tuple[Part, Part]:
    """Parts for both eyes, which hold the same shape and the same experts.

    Args:
        eyes: From `eye_regions`, whose shapes are those of the parts.
        recipe: Settings.
        folder: For the checkpoint, from which the same call goes on.
        report: Told after every step.
        device: To train on.
        photographed: More eyes, from `photographed_regions`, for the experts.

    Raises:
        CheckpointError: The folder holds the checkpoint of another training.
    """
    pdm = eye_shapes(eyes.points).pdm(EXPLAINED).float()
    crops = eyes.crops if photographed is None else join_rows(eyes.crops, photographed)
    crops = FaceCrops(gray=crops.gray.to(device), landmarks=crops.landmarks.to(device))
    placed = pdm.to(device)
    params = params_from_landmarks(placed, crops.landmarks)
    config, mirror = recipe.experts, torch.tensor(EYE_MIRROR, device=device)
    dataset = FaceDataset.of(crops, placed, params, config.levels)
    task = HeatmapTask(config, dataset, params.rotation[:, 1], mirror, recipe.seed)
    settings = f"{config} {recipe.seed} {fingerprint(crops.gray, crops.landmarks)}"
    Trainer(task).run("eyes", Checkpoint(folder / "eyes.pt", settings), report)
    experts = heatmap_experts(config, task.experts().cpu(), len(EYE_MIRROR))
    model = LandmarkModel(pdm.cpu(), [experts])
    left, right = (
        # The face's networks see more of a face than those of its eyes: these look only
        Part(name, model, torch.tensor(in_face), torch.tensor(IN_EYE), folds_back=False)
        for name, in_face in EYES.items()
    )
    return left, right
