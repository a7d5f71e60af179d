"""Agreement of the patch experts with given landmarks: the response at a landmark, relative to the best one nearby."""

import torch
from torch import Tensor

from clnf_torch.fitting.images import ImageBatch
from clnf_torch.fitting.mean_shift import landmark_likelihoods
from clnf_torch.fitting.responses import respond
from clnf_torch.models.landmark_model import LandmarkModel
from clnf_torch.models.numerics import Numerics
from clnf_torch.models.pdm import ShapeParams

# Cells of the response maps, 4 to 7 mm each at the coarsest scale: almost an eye distance
WINDOW = 11
# Width of the Gaussian kernel, cells
SIGMA = 1.0


def expert_agreement(
    model: LandmarkModel, numerics: Numerics, images: ImageBatch, shape: ShapeParams, landmarks: Tensor
) -> tuple[Tensor, Tensor]:
    """The smoothed response of each landmark's expert at the landmark, divided by the largest one in a window.

    The experts of the coarsest scale are asked. A ratio, unlike a likelihood, means the same for every family of
    experts.

    Args:
        model: The landmark model.
        numerics: How its experts compute.
        images: The images of the faces.
        shape: Pose and shape of the faces; the windows lie around its landmarks.
        landmarks: The landmarks to judge, pixels, shape (B, N, 2).

    Returns:
        Ratios from 0 to 1, 0 where a landmark is outside its window or the image is not readable, shape (B, N); and
        the landmarks that have experts in the face's view, bool, shape (B, N).
    """
    experts = model.experts_at(0)
    view = experts.nearest_view(shape.rotation)
    visible = experts.visible[view]
    weight = visible.to(landmarks)
    field, readable = respond(experts, model.pdm, images, shape, view, weight, WINDOW, numerics)
    positions = field.positions(landmarks)
    at_landmark = landmark_likelihoods(field.responses, positions, visible, SIGMA)
    largest = smooth_responses(field.responses, SIGMA).amax((-2, -1))
    ratio = (at_landmark / largest.clamp_min(torch.finfo(largest.dtype).tiny)).clamp(0, 1)
    return torch.where(visible & readable[:, None], ratio, 0), visible


def smooth_responses(responses: Tensor, sigma: float) -> Tensor:
    """Response maps (B, N, R, R) convolved with a Gaussian, unnormalised, as `landmark_likelihoods` smooths them."""
    cells = torch.arange(responses.shape[-1], dtype=responses.dtype, device=responses.device)
    kernel = (-0.5 / sigma**2 * (cells[:, None] - cells).square()).exp()
    return kernel @ responses @ kernel
