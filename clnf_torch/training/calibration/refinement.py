"""Learns the refinement of a trained model: offsets of its shapes' landmarks and of its centroids, and their shares."""

from dataclasses import dataclass

import torch
from torch import Tensor

from clnf_torch.geometry.similarity import similarity_between
from clnf_torch.models.landmark_model import LandmarkModel
from clnf_torch.models.refinement import FARTHEST, Refinement
from clnf_torch.training.data.crops import FaceCrops
from clnf_torch.training.data.trial_fits import fit_unseen
from clnf_torch.training.evaluation.metrics import face_errors
from clnf_torch.training.trainer import Report

# Of L-BFGS, for a handful of shares
STEPS = 100


@dataclass(frozen=True, kw_only=True)
class FittedFaces:
    """Fits of F annotated faces, pixels of their crops."""

    shape: Tensor  # landmarks of the fitted shapes (F, N, 2)
    centroids: Tensor  # of the response maps of all scales (F, K, N, 2)
    to_image: Tensor  # from millimetres of the upright face (F, 2, 2)
    truth: Tensor  # annotated landmarks (F, N, 2)


def learn_refinement(faces: FittedFaces, mirror: Tensor) -> Refinement:
    """The refinement whose landmarks are nearest to the annotated ones; all landmarks have the same shares.

    Its offsets are the mean differences from the annotations. They are mirror images of each other on both sides of the
    face: where people annotate one side unlike the other, the mean face would get an asymmetry that is nobody's.

    Args:
        faces: Fits of faces that the experts were not trained on.
        mirror: Each landmark's partner on the other side of the face, int64, shape (N,).
    """
    # (F, 1 + K, N, 2) in millimetres of the upright face
    found = torch.cat((faces.shape[:, None], faces.centroids), 1).double()
    to_image, truth = faces.to_image[:, None].double(), faces.truth[:, None].double()
    missing = torch.linalg.solve(to_image, (truth - found).mT).mT
    # Only a model that has learned nothing is farther off
    means = missing.mean(0).clamp(-FARTHEST, FARTHEST)
    offsets = torch.stack([_symmetric(mean, mirror) for mean in means])
    shares = _best_shares(found + offsets @ to_image.mT, faces.truth.double())
    _, *others = shares.to(faces.shape)[:, None].expand(-1, len(mirror))
    shape_offset, *centroid_offsets = offsets.to(faces.shape)
    return Refinement(torch.stack(others), shape_offset, torch.stack(centroid_offsets))


@torch.enable_grad()
def _best_shares(found: Tensor, truth: Tensor) -> Tensor:
    """Shares (S,), together 1, of S places of landmarks (F, S, N, 2), whose mean is nearest to the truth (F, N, 2)."""
    logits = found.new_zeros(found.shape[1]).requires_grad_()
    optimiser = torch.optim.LBFGS([logits], max_iter=STEPS, line_search_fn="strong_wolfe")

    def error() -> Tensor:
        optimiser.zero_grad()
        mean = face_errors(torch.einsum("fsnd,s->fnd", found, logits.softmax(0)), truth).mean()
        mean.backward()
        return mean

    optimiser.step(error)
    return logits.detach().softmax(0)


def _symmetric(offset: Tensor, mirror: Tensor) -> Tensor:
    """The mean of offsets (N, 2) and those of the mirror image."""
    return (offset + offset[mirror] * offset.new_tensor([-1.0, 1.0])) / 2


@torch.no_grad()
def with_refinement(
    model: LandmarkModel, unseen: FaceCrops, mirror: Tensor, seed: int, report: Report = lambda *_: None
) -> LandmarkModel:
    """The model with a refinement that is learned from its fits of faces that it was not trained on; in place.

    A model that fits none of them stays without.

    Args:
        model: The trained model.
        unseen: Annotated faces, on the model's device.
        mirror: As for `learn_refinement`.
        seed: Of where the fits start.
        report: Told after the fits of each scale how far their centroids are off.
    """
    centroids: list[Tensor] = []
    for scales in range(model.num_scales, 0, -1):
        model.refinement = Refinement.of_centroids(len(mirror), model.pdm.mean, scales)
        found, truth = fit_unseen(model, unseen, seed)
        centroids.append(found.landmarks)
        report("refinement", len(centroids), model.num_scales, float(face_errors(found.landmarks, truth).mean()))
    shape = model.pdm.landmarks(found.params)
    to_image = similarity_between(model.pdm.reference_landmarks(found.params.local, 1.0), shape)
    faces = FittedFaces(shape=shape, centroids=torch.stack(centroids, 1), to_image=to_image, truth=truth)
    model.refinement = learn_refinement(faces, mirror.to(shape.device)) if len(truth) else None
    return model
