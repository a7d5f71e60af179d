"""Learns the refinement of a trained model: offsets of its shapes' landmarks and of its centroids."""

from dataclasses import dataclass

import torch
from torch import Tensor

from clnf_torch.geometry.similarity import similarity_between
from clnf_torch.models.landmark_model import LandmarkModel
from clnf_torch.models.refinement import FARTHEST, Refinement
from clnf_torch.training.data.crops import FaceCrops
from clnf_torch.training.data.trial_fits import fit_unseen
from clnf_torch.training.metrics import face_errors

# Shares of the centroids that are tried
SHARES = tuple(step / 10 for step in range(11))


@dataclass(frozen=True, kw_only=True)
class FittedFaces:
    """Fits of F annotated faces, pixels of their crops."""

    shape: Tensor  # landmarks of the fitted shapes (F, N, 2)
    centroids: Tensor  # of the response maps (F, N, 2)
    to_image: Tensor  # from millimetres of the upright face (F, 2, 2)
    truth: Tensor  # annotated landmarks (F, N, 2)


def learn_refinement(faces: FittedFaces, mirror: Tensor) -> Refinement:
    """The refinement whose landmarks are nearest to the annotated ones.

    Its offsets are the mean differences from the annotations. They are mirror images of each other on both sides of the
    face: where people annotate one side unlike the other, the mean face would get an asymmetry that is nobody's.

    Args:
        faces: Fits of faces that the experts were not trained on.
        mirror: Each landmark's partner on the other side of the face, int64, shape (N,).
    """
    # (F, N, 2) in millimetres of the upright face
    from_shape, from_centroids = (
        torch.linalg.solve(faces.to_image, (faces.truth - found).mT).mT for found in (faces.shape, faces.centroids)
    )
    # Only a model that has learned nothing is farther off
    means = [missing.mean(0).clamp(-FARTHEST, FARTHEST) for missing in (from_shape, from_centroids)]
    offsets = [_symmetric(mean, mirror) for mean in means]
    tried = [Refinement(offsets[0].new_full((len(mirror),), share), *offsets) for share in SHARES]
    errors = [_error(each, faces) for each in tried]
    return tried[errors.index(min(errors))]


def _symmetric(offset: Tensor, mirror: Tensor) -> Tensor:
    """The mean of offsets (N, 2) and those of the mirror image."""
    return (offset + offset[mirror] * offset.new_tensor([-1.0, 1.0])) / 2


def _error(refinement: Refinement, faces: FittedFaces) -> float:
    """Mean error (NME) of refined landmarks."""
    found = refinement(faces.shape, faces.centroids, faces.to_image)
    return face_errors(found, faces.truth).mean().item()


@torch.no_grad()
def with_refinement(model: LandmarkModel, unseen: FaceCrops, mirror: Tensor, seed: int) -> LandmarkModel:
    """The model with a refinement that is learned from its fits of faces that it was not trained on; in place.

    A model that fits none of them stays without.

    Args:
        model: The trained model.
        unseen: Annotated faces, on the model's device.
        mirror: As for `learn_refinement`.
        seed: Of where the fits start.
    """
    model.refinement = Refinement.of_centroids(len(mirror), model.pdm.mean)
    found, truth = fit_unseen(model, unseen, seed)
    shape = model.pdm.landmarks(found.params)
    to_image = similarity_between(model.pdm.reference_landmarks(found.params.local, 1.0), shape)
    faces = FittedFaces(shape=shape, centroids=found.landmarks, to_image=to_image, truth=truth)
    model.refinement = learn_refinement(faces, mirror.to(shape.device)) if len(truth) else None
    return model
