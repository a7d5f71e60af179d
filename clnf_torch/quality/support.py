"""What the experts say about landmarks: how the response where each lies compares with the best one nearby."""

import torch
from torch import Tensor

from clnf_torch.fitting.areas import Looking, Pictures
from clnf_torch.fitting.likelihood import landmark_likelihoods
from clnf_torch.geometry.similarity import invert_similarity, similarity_between
from clnf_torch.models.landmark_model import LandmarkModel
from clnf_torch.models.numerics import Numerics
from clnf_torch.models.shape_params import ShapeParams

WINDOW = 11  # cells of the response maps, 4 to 7 mm each at the coarsest scale: almost an eye distance
SIGMA = 1.0  # width of the kernel, cells


def expert_support(
    model: LandmarkModel, numerics: Numerics, pictures: Pictures, shape: ShapeParams, landmarks: Tensor
) -> tuple[Tensor, Tensor]:
    """The smoothed response of each landmark's expert at the landmark, as a share of the best one in a window.

    The experts of the coarsest scale are asked; a share, unlike a likelihood, means the same for every family of
    experts.

    Args:
        model: The model.
        numerics: How its experts compute.
        pictures: The pictures of the faces.
        shape: Pose and shape of the faces, around whose landmarks the experts look.
        landmarks: Where the landmarks are thought to be, pixels, shape (B, N, 2).

    Returns:
        Shares from 0 to 1, 0 where a landmark is outside its window or the picture cannot be read, shape (B, N); and
        the landmarks that have experts in the face's view, bool, shape (B, N).
    """
    experts, looking = model.experts_at(0), Looking(pictures, numerics.sample_on_32nds)
    seen, upright = model.pdm.landmarks(shape), model.pdm.reference_landmarks(shape.local, experts.scale)
    to_reference = similarity_between(seen, upright)
    view = experts.nearest_view(shape.rotation)
    responses, base = experts.around(seen, invert_similarity(to_reference), view, WINDOW, looking.cut_areas, numerics)
    middle = (WINDOW - 1) // 2
    positions = torch.bmm(landmarks - base, to_reference.mT) + middle
    visible = experts.visible[view]
    here = landmark_likelihoods(responses, positions, visible, SIGMA)
    best = smoothed(responses, SIGMA).amax((-2, -1))
    share = (here / best.clamp_min(torch.finfo(best.dtype).tiny)).clamp(0, 1)
    return torch.where(visible & looking.readable[:, None], share, 0), visible


def smoothed(responses: Tensor, sigma: float) -> Tensor:
    """Response maps (B, N, R, R), each cell the Gaussian-weighted sum of those around it; as `landmark_likelihoods`."""
    cells = torch.arange(responses.shape[-1], dtype=responses.dtype, device=responses.device)
    kernel = (-0.5 / sigma**2 * (cells[:, None] - cells).square()).exp()
    return kernel @ responses @ kernel
