"""Trains a point distribution model: 3D shapes and how they vary, from 2D landmarks of many faces."""

import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from clnf_torch.files.names import one_line
from clnf_torch.files.reading import InputError, download_in_place, require_regular_file
from clnf_torch.fitting.initialise import params_under_noise
from clnf_torch.geometry.rotation import euler_to_matrix
from clnf_torch.models.bundle import build_model, load_bundle
from clnf_torch.models.pdm import MOST_LANDMARKS, PDM, ShapeParams
from clnf_torch.training.shape.gaussian import ShapeGaussian, projection_off_pose

# Bytes of a file of shapes, unpacked; ICT-FaceKit's 68 points have 2 MB
LARGEST_PRIOR = 64 << 20


class PriorError(InputError, ValueError):
    """A file that holds no shapes; its message is one short line."""

    def __init__(self, message: str) -> None:
        super().__init__(one_line(message))


def read_prior(path: Path) -> ShapeGaussian:
    """The shapes in a file.

    Args:
        path: A bundle, whose shape model it is; or a ``.npz`` with ``mean`` (N, 3), ``identity`` (I, N, 3) and
            ``expression`` (E, N, 3) in the axes and units of ICT-FaceKit (centimetres, y up).

    Raises:
        PriorError: The file is neither.
        BundleError: The file is a damaged bundle.
    """
    if path.suffix != ".npz":
        return ShapeGaussian.of_pdm(build_model(load_bundle(path), torch.float64).pdm)
    try:
        require_regular_file(path)
        with zipfile.ZipFile(path) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > LARGEST_PRIOR:
                raise ValueError(f"more than {LARGEST_PRIOR:,} bytes, unpacked")
        with np.load(path) as arrays:
            mean, identity, expression = (torch.from_numpy(arrays[k]) for k in ("mean", "identity", "expression"))
    except Exception as error:
        # Numpy names several, depending on what the file turns out to be
        found = download_in_place(path) or error
        raise PriorError(f"{path}: expected arrays mean, identity and expression in a .npz, found {found}") from error
    points = tuple(mean.shape)
    if mean.shape[1:] != (3,) or identity.shape[1:] != points or expression.shape[1:] != points:
        raise PriorError(
            f"{path}: mean {points}, identity {tuple(identity.shape)} and expression {tuple(expression.shape)} do not "
            "belong together; expected (N, 3), (I, N, 3) and (E, N, 3)"
        )
    if len(mean) > MOST_LANDMARKS:
        raise PriorError(f"{path}: expected at most {MOST_LANDMARKS} points, found {len(mean)}")
    if not all(values.is_floating_point() and values.isfinite().all() for values in (mean, identity, expression)):
        raise PriorError(f"{path}: expected finite floating point numbers, found others")
    return ShapeGaussian.of_blendshapes(mean, identity, expression)


# Whose posteriors are computed at once
FACES = 256
# Share of the variance of the modes that poses are estimated with
POSED = 0.98


@dataclass(frozen=True, kw_only=True)
class ShapeConfig:
    """Settings of the training of a shape model."""

    rounds: int = 10  # of expectation-maximisation
    noise: float = 1.5  # standard deviation of an annotated coordinate, millimetres
    prior_faces: float = 50.0  # the prior shape counts as much as so many faces
    slack: float = 0.0  # isotropic noise of the prior's points, millimetres; 0: its own modes alone
    explained: float = 0.995  # share of the variance that the modes keep


def train_shape(
    landmarks: Tensor,
    prior: ShapeGaussian,
    mirror: Tensor,
    config: ShapeConfig | None = None,
    report: Callable[[int, float], None] = lambda *_: None,
) -> PDM:
    """A mirror-symmetric PDM of annotated faces: non-rigid structure from motion by expectation-maximisation.

    Each face is a draw from a Gaussian over 3D shapes, seen under weak perspective with noise. In turns, every face's
    pose and 3D shape are estimated under the current Gaussian, and the Gaussian from the shapes and from how unsure
    they are. Depth, of which a single image says little, comes from faces that are turned, and from the prior.

    Args:
        landmarks: Annotated faces, pixels, shape (F, N, 2).
        prior: Shapes to begin with, which also set the unit of length.
        mirror: Each landmark's partner on the other side of the face, int64, shape (N,).
        config: Settings.
        report: Told after every round its number and the error of reprojection in millimetres.

    Returns:
        The PDM, float64.

    Source:
        Torresani, Hertzmann, Bregler: Nonrigid structure-from-motion, IEEE PAMI 2008, with a full covariance.
    """
    config = config or ShapeConfig()
    prior = prior.with_point_noise(config.slack).without_pose().symmetrised(mirror)
    landmarks = landmarks.double()
    shapes = prior
    for number in range(config.rounds):
        params = estimate_pose(shapes, landmarks, config.noise)
        mean, covariance, error = _posterior_moments(shapes, landmarks, params, config.noise)
        count = len(landmarks)
        weight = config.prior_faces / (count + config.prior_faces)
        learned = ShapeGaussian(mean, (1 - weight) * covariance + weight * prior.covariance)
        shapes = _rescaled(learned.without_pose(), prior).symmetrised(mirror)
        report(number, error)
    return shapes.pdm(config.explained)


def estimate_pose(shapes: ShapeGaussian, landmarks: Tensor, noise: float) -> ShapeParams:
    """Pose and modes of annotated faces (F, N, 2) under a Gaussian; `noise` in millimetres."""
    return params_under_noise(shapes.pdm(POSED), landmarks, noise)


def _posterior_moments(
    shapes: ShapeGaussian, landmarks: Tensor, params: ShapeParams, noise: float
) -> tuple[Tensor, Tensor, float]:
    """Mean (N, 3) and covariance (3N, 3N) of the faces' shapes, and the error of reprojection, millimetres."""
    num_landmarks = shapes.mean.shape[0]
    shape_only = projection_off_pose(shapes.mean)
    total = shapes.covariance.new_zeros(3 * num_landmarks)
    squares, errors = torch.zeros_like(shapes.covariance), []
    for rows in torch.arange(len(landmarks)).split(FACES):
        moved, unsure, error = _posterior(shapes, landmarks[rows], params[rows], noise)
        moved = moved @ shape_only
        total += moved.sum(0)
        squares += moved.mT @ moved + shape_only @ unsure @ shape_only
        errors.append(error)
    shift = total / len(landmarks)
    covariance = squares / len(landmarks) - shift[:, None] * shift
    return shapes.mean + shift.view(num_landmarks, 3), covariance, float(torch.cat(errors).mean())


def _posterior(
    shapes: ShapeGaussian, landmarks: Tensor, params: ShapeParams, noise: float
) -> tuple[Tensor, Tensor, Tensor]:
    """How faces differ from the mean (F, 3N), the sum of their covariances (3N, 3N), and their errors (F,) in mm."""
    faces, num_landmarks, _ = landmarks.shape
    camera = euler_to_matrix(params.rotation)[:, :2]  # (F, 2, 3)
    seen = (landmarks - params.translation[:, None]) / params.scale[:, None, None]
    rest = (seen - shapes.mean @ camera.mT).flatten(1)  # (F, 2N)
    blocks = shapes.covariance.view(num_landmarks, 3, num_landmarks, 3)
    across = torch.einsum("njmk,fik->fnjmi", blocks, camera).flatten(3).flatten(1, 2)  # (F, 3N, 2N): C A'
    # A C A'
    within = torch.einsum("fij,fnjq->fniq", camera, across.unflatten(1, (num_landmarks, 3))).flatten(1, 2)
    within = within + noise**2 * torch.eye(2 * num_landmarks, dtype=within.dtype, device=within.device)
    gain = torch.linalg.solve(within, across.mT).mT  # (F, 3N, 2N)
    moved = (gain @ rest[..., None]).squeeze(-1)
    unsure = faces * shapes.covariance - torch.einsum("fap,fbp->ab", gain, across)
    back = torch.einsum("fij,fnj->fni", camera, moved.view(faces, num_landmarks, 3)).flatten(1)
    error = (rest - back).view(faces, num_landmarks, 2).norm(dim=-1).mean(-1)
    return moved, unsure, error


def _rescaled(shapes: ShapeGaussian, like: ShapeGaussian) -> ShapeGaussian:
    """Shapes whose mean is as large as another one's: the size of a face is the camera's affair."""
    factor = like.mean.norm() / shapes.mean.norm()
    return ShapeGaussian(shapes.mean * factor, shapes.covariance * factor**2)
