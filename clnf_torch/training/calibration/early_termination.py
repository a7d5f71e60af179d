"""Calibrates the early termination of multi-view fits: logistic regression of success on likelihood."""

from dataclasses import dataclass
from math import ceil

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from clnf_torch.fitting.config import FitConfig, preset_named
from clnf_torch.fitting.fitter import LandmarkFitter
from clnf_torch.fitting.hypotheses import MULTI_VIEW, Rotations, cross, start_in_boxes
from clnf_torch.fitting.images import ImageBatch
from clnf_torch.models.landmark_model import LandmarkModel
from clnf_torch.pipeline import LandmarkDetector
from clnf_torch.training.data.boxes import perturb_boxes
from clnf_torch.training.data.crops import FaceCrops
from clnf_torch.training.evaluation.metrics import face_errors

# A view's own regression counts as much as the common one where it has about so many fits
PULL = 10.0
# Regularises the common regression where likelihoods separate good from bad fits completely
RIDGE = 1e-2


@dataclass(frozen=True, kw_only=True)
class RotationTrials:
    """Fits of annotated faces from many rotations, one per row."""

    likelihood: Tensor  # (F,) mean log-likelihood after the first scale
    view: Tensor  # (F,) int64, of the first scale
    error: (
        Tensor  # (F,) NME after the last scale, by the distance of the outer eye corners; infinite where the fit failed
    )


def calibrate_early_termination(
    likelihood: Tensor, view: Tensor, good: Tensor, views: int, false_accepts: float = 0.05
) -> Tensor:
    """Early-termination numbers from fits that are known to be good or bad.

    A view's score of a likelihood is the logarithm of the odds that the fit is good (a logistic regression), so that
    scores of different views can be compared. Views with few fits lean on the regression over all of them.

    Args:
        likelihood: Of fits after the first scale, shape (F,). Those that are not finite are left out.
        view: View of each fit, int64, shape (F,).
        good: Whether it ended where it should, bool, shape (F,).
        views: Number of views V.
        false_accepts: Share of a view's bad fits that may end a search.

    Returns:
        Weight, bias and cutoff of every view, float64, on the CPU, shape (3, V).

    Raises:
        ValueError: There are no good or no bad fits to learn from, or the share is none.
    """
    if not 0 < false_accepts < 1:
        raise ValueError(f"false_accepts is {false_accepts}; give a share between 0 and 1")
    usable = likelihood.isfinite().cpu()
    likelihood, view, good = likelihood.cpu()[usable].double(), view.cpu()[usable], good.cpu()[usable]
    if not bool(good.any()) or bool(good.all()):
        raise ValueError(
            f"{int(good.sum())} of {len(good)} fits are good; give fits of which some are good and some bad"
        )
    middle, spread = likelihood.mean(), likelihood.std().clamp(min=1e-6)
    inputs = (likelihood - middle) / spread
    nothing = inputs.new_zeros(2)
    common = _logistic_regression(inputs, torch.zeros_like(view), good, nothing.expand(1, 2), RIDGE)
    slope, offset = _logistic_regression(inputs, view, good, common.expand(views, 2), PULL).unbind(-1)
    score = inputs * slope[view] + offset[view]
    bad = score[~good]
    common_cutoff = _exceeded_by(bad, false_accepts, otherwise=bad.amax())
    cutoffs = [_exceeded_by(score[~good & (view == v)], false_accepts, common_cutoff) for v in range(views)]
    return torch.stack((slope / spread, offset - slope * middle / spread, torch.stack(cutoffs)))


def try_rotations(
    detector: LandmarkDetector,
    faces: FaceCrops,
    boxes: Tensor,
    config: FitConfig,
    rotations: Rotations = MULTI_VIEW,
) -> RotationTrials:
    """Fits every face from every rotation, to the end, and tells how it went.

    Args:
        detector: Of 68 landmarks and at least two scales.
        faces: Annotated faces that the model was not trained on, F rows.
        boxes: Where the fits start: x, y, width, height, pixels of the crops, shape (F, 4).
        config: Settings of the fits.
        rotations: The hypotheses, K.

    Returns:
        F * K rows, face by face.

    Raises:
        ValueError: The settings leave one scale alone: there is nothing to terminate early.
    """
    fitter = LandmarkFitter(detector.model, config, detector.numerics)
    first, rest = fitter.first_scale(), fitter.after_first_scale()
    if rest is None:
        raise ValueError("only one scale is fitted; early termination needs at least two")
    numbers = torch.arange(len(faces), device=boxes.device)
    face, hypothesis = cross(numbers, torch.arange(len(rotations), device=boxes.device))
    images = ImageBatch(faces.gray, numbers).rows(face)
    with torch.inference_mode():
        start = start_in_boxes(detector.model.pdm, boxes[face], rotations, hypothesis)
        begun = first.fit(images, start)
        ended = rest.fit(images, begun)
        landmarks = detector.model.pdm.landmarks(ended.params)
    error = face_errors(landmarks, faces.landmarks[face].to(landmarks))
    return RotationTrials(
        likelihood=begun.likelihood, view=begun.view, error=torch.where(ended.active, error, torch.inf)
    )


def _logistic_regression(inputs: Tensor, group: Tensor, good: Tensor, around: Tensor, pull: float) -> Tensor:
    """Slope and offset of the log-odds of `good` in each of G groups, held near given ones (G, 2)."""
    lines = around.clone().requires_grad_()
    optimiser = torch.optim.LBFGS([lines], max_iter=200, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimiser.zero_grad()
        slope, offset = lines[group].unbind(-1)
        wrong = binary_cross_entropy_with_logits(slope * inputs + offset, good.to(inputs.dtype), reduction="sum")
        # A fit of even odds has a curvature of 1 / 4
        total = wrong + pull / 8 * (lines - around).square().sum()
        total.backward()
        return total

    with torch.enable_grad():
        optimiser.step(loss)
    return lines.detach()


def _exceeded_by(scores: Tensor, share: float, otherwise: Tensor) -> Tensor:
    """The score that such a share of scores like these exceeds; another one where they are too few to tell."""
    place = ceil((1 - share) * (len(scores) + 1)) - 1
    return scores.sort().values[place] if place < len(scores) else otherwise


# Distances of the outer eye corners: the error below which a fit has found its face
GOOD = 0.06
# Whose eleven rotations are fitted
FACES = 96


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
    model.early_termination = rules
    return model
