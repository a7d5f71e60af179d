"""Calibrates the expected errors of landmarks: a regression of their errors on the spread of their responses."""

import torch
from torch import Tensor

from clnf_torch.models.landmark_error import LEAST_SPREAD, LandmarkErrorModel
from clnf_torch.models.landmark_model import LandmarkModel
from clnf_torch.training.data.crops import FaceCrops
from clnf_torch.training.data.trial_fits import fit_unseen

# Of logarithms of spreads: where these hardly differ, they tell nothing of errors, and the slope is small
LEAST_VARIANCE = 1e-4
# A steeper power law is one of noise: those of the models that ship have 1.7 to 2.1
STEEPEST = 5.0
# Millimetres that are added to an error, whose logarithm is taken
LEAST_ERROR = 0.1


def learn_error_model(spreads: Tensor, errors: Tensor) -> LandmarkErrorModel:
    """The power law of errors over spreads: one slope, and a factor for each landmark.

    Args:
        spreads: Of the responses to F faces that the experts were not trained on, millimetres, shape (F, N); NaN where
            a landmark has none.
        errors: Distances of these landmarks from the annotated ones, millimetres, shape (F, N).
    """
    known = spreads.isfinite() & errors.isfinite()
    x, y = (spreads + LEAST_SPREAD).log(), (errors + LEAST_ERROR).log()
    mean_x, mean_y = (_mean(values, known) for values in (x, y))
    away_x, away_y = torch.where(known, x - mean_x, 0), torch.where(known, y - mean_y, 0)
    steepness = (away_x * away_y).sum() / (away_x.square().sum() + LEAST_VARIANCE * known.sum()).clamp(min=1e-12)
    slope = steepness.clamp(-STEEPEST, STEEPEST)
    found = LandmarkErrorModel(mean_y - slope * mean_x, slope)
    # The mean of logarithms is not that of errors
    ratio = _mean(errors, known) / _mean(found(spreads), known)
    found.log_error.add_(ratio.log())
    return found


def _mean(values: Tensor, known: Tensor) -> Tensor:
    """The mean of each landmark's known values (F, N), shape (N,)."""
    return torch.where(known, values, 0).sum(0) / known.sum(0).clamp(min=1)


@torch.no_grad()
def with_error_model(model: LandmarkModel, unseen: FaceCrops, seed: int) -> LandmarkModel:
    """The model with expected errors that are calibrated on faces that it was not trained on; in place.

    A model that fits none of them stays without.

    Args:
        model: The trained model, with its refinement.
        unseen: Annotated faces, on the model's device.
        seed: Of where the fits start.
    """
    model.error_model = LandmarkErrorModel.of_spreads(unseen.landmarks.shape[1], model.pdm.mean)
    found, truth = fit_unseen(model, unseen, seed)
    pixels = found.params.scale[:, None]
    assert found.landmark_errors is not None
    # The model's errors are its spreads, a little more
    spreads = found.landmark_errors / pixels - LEAST_SPREAD
    errors = torch.linalg.vector_norm(found.landmarks - truth, dim=-1) / pixels
    model.error_model = learn_error_model(spreads, errors) if len(spreads) else None
    return model
