"""Numbers of a trained model that only faces it has not seen can tell."""

import torch

from clnf_torch.fitting.config import preset_named
from clnf_torch.models.landmark_model import LandmarkModel
from clnf_torch.pipeline import LandmarkDetector
from clnf_torch.training.boxes import perturb_boxes
from clnf_torch.training.crops import FaceCrops
from clnf_torch.training.early_termination import calibrate_early_termination, try_rotations

GOOD = 0.06  # distances of the outer eye corners: the error below which a fit has found its face
FACES = 96  # whose eleven rotations are fitted


def with_early_termination(model: LandmarkModel, unseen: FaceCrops, seed: int) -> LandmarkModel:
    """The model with early-termination numbers from its fits of faces that it was not trained on.

    A model that failed nowhere, or everywhere, has nothing to learn from and stays without.

    Args:
        model: The trained model.
        unseen: Annotated faces.
        seed: Of where the fits start.
    """
    generator = torch.Generator().manual_seed(seed)
    some = unseen[torch.randperm(len(unseen), generator=generator)[:FACES]]
    boxes = perturb_boxes(some.landmarks, generator)
    detector = LandmarkDetector(model, "exact").to(some.landmarks.device).eval()
    trials = try_rotations(detector, some, boxes, preset_named("default", model.family))
    good = trials.error < GOOD
    if bool(good.all()) or not bool(good.any()):
        return model
    rules = calibrate_early_termination(trials.likelihood, trials.view, good, model.experts_at(0).num_views)
    scales = [model.experts_at(index) for index in range(model.num_scales)]
    return LandmarkModel(model.pdm, scales, model.family, rules, model.triangulations, model.parts)
