"""A CE-CLM of the published size, made in memory: random experts whose responses are smooth, for speed and agreement.

The published weights may not be passed on. Their sizes are known: networks of 300, 100 and 50 hidden neurons at scales
0.25 and 0.35, of 500, 200 and 100 at 0.5 and 1.0, on patches of 11 x 11 pixels, for seven views of which three are
mirrored: some 210 networks a scale, 430 MB in float32.
"""

from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from clnf_torch.models.bundle import build_model
from clnf_torch.models.landmark_model import LandmarkModel
from clnf_torch.models.patch_experts.mlp_stack import MLPStack
from clnf_torch.models.pdm import PDM
from clnf_torch.training.cen import TrainedExperts
from clnf_torch.training.cen_recipe import cen_record, landmarks_to_train, left_half
from clnf_torch.training.data.cen_samples import CenViews

HIDDEN = {0.25: (300, 100, 50), 0.35: (300, 100, 50), 0.5: (500, 200, 100), 1.0: (500, 200, 100)}
SUPPORT = 11  # side of a patch, reference pixels
COARSE = 4  # side of the random templates before they are enlarged to patches


def make_published_size(pdm: PDM, mirror: Tensor, dtype: torch.dtype, shrink: int = 1, seed: int = 0) -> LandmarkModel:
    """The model, on the CPU.

    Args:
        pdm: Shape model of 68 landmarks.
        mirror: Each landmark's partner on the other side of the face, int64, shape (68,).
        dtype: Number type of the arithmetic; the weights are float32.
        shrink: Divides the hidden widths, where only the code path counts.
        seed: Of the randomness.
    """
    rng = torch.Generator().manual_seed(seed)
    shape = {"mean": pdm.mean, "modes": pdm.modes, "variances": pdm.variances}
    model: dict[str, Any] = {
        "pdm": shape,
        "experts": [
            _scale_record(pdm, mirror, scale, tuple(max(8, width // shrink) for width in widths), rng)
            for scale, widths in HIDDEN.items()
        ],
        "early_termination": None,
        "triangulations": [],
    }
    return build_model({"model": model}, dtype).eval()


def _scale_record(
    pdm: PDM, mirror: Tensor, scale: float, widths: tuple[int, ...], rng: torch.Generator
) -> dict[str, Any]:
    """The bundle's record of one scale."""
    views, left = CenViews(), left_half(pdm, mirror)
    trained = {}
    for view in views.trained:
        count = len(landmarks_to_train(views, view, left, mirror))
        confidence = 0.2 + torch.rand(count, generator=rng, dtype=torch.float64)
        trained[view] = TrainedExperts(smooth_stack(count, widths, rng), confidence, torch.zeros(count))
    return cen_record(scale, views, left, mirror, trained)


def smooth_stack(count: int, widths: tuple[int, ...], rng: torch.Generator) -> MLPStack:
    """So many random networks of these hidden widths, whose answers change slowly over an image."""
    small = torch.randn(count * widths[0], 1, COARSE, COARSE, generator=rng)
    patches = interpolate(small, (SUPPORT, SUPPORT), mode="bilinear", align_corners=True).view(count, widths[0], -1)
    weights = [(2 * patches / patches.norm(dim=-1, keepdim=True)).mT.contiguous()]
    for before, after in pairwise((*widths, 1)):
        weights.append((2 / before) ** 0.5 * torch.randn(count, before, after, generator=rng))
    biases = [0.2 * torch.randn(count, weight.shape[-1], generator=rng) for weight in weights]
    weights[-1], biases[-1] = 4 * weights[-1], biases[-1] - 1
    return MLPStack(weights, biases, ["relu"] * len(widths) + ["sigmoid"])
